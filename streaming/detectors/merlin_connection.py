"""A connection to Merlin's data port: TCP, Merlin listens."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from ...core.errors import InstrumentUnreachable
from .address import Address
from .events import Event
from .merlin import DATA_PORT
from .merlin_stream import MerlinStream

CONNECT_S = 5.0
CHUNK_BYTES = 1 << 21
PAUSE_S = 0.05
"""After this silence a frame is taken to be followed by nothing for now."""


class MerlinConnection:
    """Frames as Merlin sends them; for one thread.

    Parameters
    ----------
    address
        `HOST` or `HOST:PORT` of the data port.

    Raises
    ------
    SettingsInvalid
        If it is no address.
    InstrumentUnreachable
        If nobody listens there.
    """

    tells_end = False

    def __init__(self, address: str) -> None:
        at = Address.parsed(address, DATA_PORT)
        if at.rest:
            raise at.refused("merlin://HOST:PORT")
        self.address = f"Merlin at {at.host}:{at.port}"
        self.is_over = False
        self._stream = MerlinStream()
        self._is_pending = False
        self._chunk = memoryview(bytearray(CHUNK_BYTES))
        try:
            self._socket = socket.create_connection((at.host, at.port), CONNECT_S)
        except OSError as error:
            raise InstrumentUnreachable(
                f"{self.address} cannot be reached within {CONNECT_S:g} s: {error}; see that Merlin's data port is "
                f"{at.port} and its remote control is on"
            ) from None
        self._socket.setblocking(False)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what comes next; nothing if nothing came in time or the other side closed the connection."""
        until = time.monotonic() + timeout_s
        while not self.is_over:
            left_s = max(0.0, until - time.monotonic())
            if self._comes(min(left_s, PAUSE_S) if self._is_pending else left_s):
                events = self._received()
            else:
                events, self._is_pending = self._stream.pause(), False
            if events or (left_s == 0 and not self._is_pending):
                return events
        return ()

    def close(self) -> None:
        """Close it; may be called twice."""
        self._socket.close()
        self.is_over = True

    def _comes(self, timeout_s: float) -> bool:
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def _received(self) -> Sequence[Event]:
        try:
            size = self._socket.recv_into(self._chunk)
        except OSError:
            # The other side was killed; what it sent until then counts.
            size = 0
        if size:
            self._is_pending = True
            return self._stream.feed(self._chunk[:size])
        self.is_over = True
        return self._stream.close()
