"""A message's parts through a ZeroMQ socket: what is small is copied, what is large is not.

Handing a part over without copying costs about 3 µs whatever its size, which is what
copying 16 KiB costs; of a message's parts only the frames are usually larger.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from .wire import Buffer

COPIED_PARTS = 3
"""Parts that are copied on arrival: header, indices and positions, before a batch's frames."""

COPIED_BYTES = 2**14

# As plain numbers: every operation on the enumeration of pyzmq costs as much as sending a small part.
_NOW, _MORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.POLLIN)


def put(socket: zmq.Socket[bytes], parts: Sequence[Buffer]) -> None:
    """Send a message without waiting.

    Raises
    ------
    zmq.ZMQError
        As `Socket.send`, at the first part or not at all.
    """
    last = len(parts) - 1
    for place, part in enumerate(parts):
        socket.send(part, _NOW if place == last else _MORE, copy=len(part) <= COPIED_BYTES)


def waits(socket: zmq.Socket[bytes]) -> bool:
    """Tell whether a message waits to be taken."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _POLLIN)


def take(socket: zmq.Socket[bytes], copied: int = COPIED_PARTS) -> list[Buffer]:
    """Return the next message, of which the first `copied` parts are copied.

    Raises
    ------
    zmq.Again
        If there is none.
    """
    first = socket.recv(_NOW, copy=False)
    return [_part(first, copied > 0), *_rest(socket, first, copied - 1)]


def take_routed(socket: zmq.Socket[bytes]) -> tuple[zmq.Frame, list[Buffer]]:
    """Return whence the next message came, with what its connection showed, and its parts.

    Raises
    ------
    zmq.Again
        If there is none.
    """
    route = socket.recv(_NOW, copy=False)
    return route, _rest(socket, route, COPIED_PARTS)


def _rest(socket: zmq.Socket[bytes], part: zmq.Frame, copied: int) -> list[Buffer]:
    """Return the parts after this one, of which the first `copied` are copied."""
    parts: list[Buffer] = []
    # The part itself knows whether more come; asking the socket costs more than receiving.
    while part.more:
        part = socket.recv(_NOW, copy=False)
        parts.append(_part(part, len(parts) < copied))
    return parts


def _part(part: zmq.Frame, copied: bool) -> Buffer:
    return part.bytes if copied else part.buffer
