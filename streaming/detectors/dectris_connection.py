"""A connection to a DECTRIS detector's stream: ZeroMQ, the detector listens and pushes.

A detector pushes each message to one of those who listen, in turn: a second receiver takes every other frame
away. Whether it speaks V1 or V2 its messages show.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from ...core.errors import SettingsInvalid
from .address import Address
from .dectris_v1 import StreamV1
from .dectris_v2 import MARK, StreamV2
from .events import Event
from .live_scan import BATCH_BYTES

V1_PORT, V2_PORT = 9999, 31001
MOST_BYTES = 1 << 29
"""Of one message part; the pixel mask of the largest detector has a seventh of it."""

WAITING = 256
"""Messages that wait here; further ones wait at the detector."""


class DectrisConnection:
    """Frames as SIMPLON streams them; for one thread.

    Parameters
    ----------
    address
        `HOST`, `HOST:PORT` or `HOST:PORT/CHANNEL`; the channel is a threshold's name, V2 only.

    Raises
    ------
    SettingsInvalid
        If it is no address.
    """

    tells_end = True
    is_over = False

    def __init__(self, address: str) -> None:
        at = Address.parsed(address, V2_PORT)
        self.address = f"DECTRIS detector at {at.host}:{at.port}"
        self._v1, self._v2 = StreamV1(), StreamV2(at.rest)
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.set(zmq.RCVHWM, WAITING)
        self._socket.set(zmq.MAXMSGSIZE, MOST_BYTES)
        self._socket.set(zmq.LINGER, 0)
        try:
            self._socket.connect(at.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsInvalid(f"dectris://{address} is no address: {error}; write dectris://HOST:PORT") from None

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what comes next; nothing if nothing came in time."""
        events: list[Event] = []
        size, left_ms = 0, round(timeout_s * 1000)
        while size < BATCH_BYTES and self._socket.poll(left_ms):
            parts = self._socket.recv_multipart()
            size += sum(map(len, parts))
            is_v2 = len(parts) == 1 and parts[0].startswith(MARK)
            events += self._v2.feed(parts[0]) if is_v2 else self._v1.feed(parts)
            left_ms = 0
        return events

    def close(self) -> None:
        """Close it; may be called twice."""
        self._context.destroy(linger=0)
