"""Wakes the one thread that owns a socket, from any other thread.

ZeroMQ sockets belong to one thread, so a caller leaves its message in memory and rings.
Rings that were not answered yet are one ring, so the bell never fills. Both ends of
the pair are touched under the owner's lock, except that the I/O thread polls `inner`.
"""

from __future__ import annotations

import zmq


class Doorbell:
    """A pair of inproc sockets: callers ring one end, the I/O thread polls the other.

    Parameters
    ----------
    context
        Context of the polling thread's sockets; one bell in each context.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.inner = context.socket(zmq.PAIR)
        self._outer = context.socket(zmq.PAIR)
        self.inner.bind("inproc://doorbell")
        self._outer.connect("inproc://doorbell")
        self._rung = False

    def ring(self) -> None:
        """Wake the I/O thread; hold the owner's lock."""
        if not self._rung:
            self._rung = True
            self._outer.send(b"", zmq.NOBLOCK)

    def answer(self) -> None:
        """Clear the ring that woke the I/O thread; hold the owner's lock."""
        self.inner.recv(zmq.NOBLOCK)
        self._rung = False

    def close(self) -> None:
        """Close both ends; nobody may ring or poll any more."""
        self.inner.close(linger=0)
        self._outer.close(linger=0)
