"""Lets the operating system notice a peer that vanished without a word.

Heartbeats of ZeroMQ's own would do it too, but they wait behind bulk data and would cut a
slow link in the middle of a large batch; the kernel looks at bytes.
"""

from __future__ import annotations

import zmq

IDLE_S = 5
INTERVAL_S = 3
PROBES = 3


def keep_alive(socket: zmq.Socket[bytes]) -> None:
    """Close connections whose peer's kernel is silent for about 15 s; call before bind or connect."""
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, INTERVAL_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, PROBES)
    socket.setsockopt(zmq.TCP_MAXRT, 1000 * (IDLE_S + INTERVAL_S * PROBES))
