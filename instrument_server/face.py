"""What clients see through Pyro5: one object with one method, msgpack only.

Each connection has a face of its own, which knows by which key it came; all of them speak for the
same instrument. The key is looked up for every request, so that a revocation, an expiry or another
role is in force at once. This is the only file of the instrument side that imports Pyro5.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import Pyro5.api
import Pyro5.serializers
from pydantic import ValidationError
from Pyro5.errors import ConnectionClosedError, ProtocolError
from Pyro5.protocol import FLAGS_CORR_ID
from Pyro5.socketutil import SocketConnection
from Pyro5.svr_threads import ClientConnectionJob

from ..core import BeamloopError, KeyRefused, PlanInvalid, Reply, Request
from ..core.control import FACE, belongs
from .door import Connection, Door, Told
from .keys.key_list import KeyList
from .pace import Pace
from .rights import LOOPBACK, Caller

MOST_BYTES = 4 * 2**20
"""Largest message; a list of `core.plan.MOST_POINTS` points fits."""

IDLE_S = 600.0
"""How long a client may say nothing before its connection is closed; it makes a new one by itself."""

MESSAGE_S = 30.0
"""How long one message may take to arrive, or to be taken by the client."""

NO_TLS_HERE = b"\x15\x03\x03\x00\x02\x02\x47"
"""The TLS alert 'insufficient security', fatal: what a server without keys says to a client with one."""

MOST_TOLD = 500
"""Characters of a complaint about a request that go into the audit."""

_START, _REST = 6, 34
_PLAIN = (str, bool, int, float, type(None))

Answer = Callable[[Request, Caller], Reply]


@Pyro5.api.expose
class Face:
    """The registered object of one connection.

    Parameters
    ----------
    answer
        Answers one request of a caller; called from many threads.
    who
        Returns who speaks, or raises `KeyRefused`; asked for every request.
    refused
        Called with the reason when a request is not heard for its key.
    misheard
        Called with the reason when what came is no request.
    wait
        Returns when the next request may be answered; None: at once.
    """

    def __init__(
        self, answer: Answer, who: Callable[[], Caller], refused: Callable[[str], None],
        misheard: Callable[[str], None] = lambda reason: None, wait: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._answer, self._who, self._refused, self._misheard = answer, who, refused, misheard
        self._wait = wait

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; both are dumps of `core.control` records."""
        if self._wait is not None:
            self._wait()
        try:
            caller = self._who()
            asked = _request(request)
            _require_own(asked, caller)
        except KeyRefused as refusal:
            self._refused(str(refusal))
            return _refusal(refusal)
        except PlanInvalid as refusal:
            self._misheard(str(refusal)[:MOST_TOLD])
            return _refusal(refusal)
        reply = self._answer(asked, caller).model_dump()
        if asked.verb == "describe" and reply["status"] == "done":
            reply["value"] |= {"key": caller.name, "role": caller.role}
        return reply


@contextmanager
def shown(answer: Answer, address: tuple[str, int], keys: KeyList | None, refused: Told) -> Iterator[None]:
    """Answer clients on a control port until the context is left.

    Parameters
    ----------
    answer
        Answers one request of a caller; called from many threads.
    address
        Where to listen.
    keys
        Who is let in; None lets in everybody who reaches the address, which must be loopback.
    refused
        Called with the address of everybody who is refused, and why.
    """
    _speak_msgpack_only()
    # Without keys everybody is somebody of this computer, and all of them would share one pace.
    pace = Pace() if keys is not None else None

    def serve(connection: Connection) -> None:
        who = partial(_caller, keys, connection.half)
        stream = BoundedStream(connection.socket, lambda: door.known(connection))

        def turn_away(reason: str) -> None:
            refused(connection.peer, reason)
            stream.over = True

        with _Daemon(connection.socket, who, turn_away) as daemon:
            wait = None if pace is None else partial(pace.wait, connection.half)
            daemon.register(Face(answer, who, turn_away, partial(refused, connection.peer), wait), objectId=FACE)
            _Job(stream, daemon)()

    door = Door(address, serve, None if keys is None else keys.place, refused)
    try:
        yield
    finally:
        door.close()


class BoundedStream(SocketConnection):
    """Pyro's connection, with a bound on the time of each message and without its risky ways.

    Refused are compressed messages, which may unpack to any size, and calls that want no reply, each
    of which would start a thread.

    Attributes
    ----------
    over
        Set to end the connection after the reply that is under way.
    """

    def __init__(self, stream: socket.socket, heard: Callable[[], None]) -> None:
        super().__init__(stream, keep_open=True)
        self._heard, self._until_s = heard, 0.0
        self._patience_s = stream.gettimeout() or IDLE_S
        self.over = False

    def recv(self, size: int) -> bytes:
        """Receive so many bytes; Pyro asks for the start of a header, its rest, then the message."""
        if self.over:
            raise ConnectionClosedError("refused")
        if size == _START:
            self._until_s = time.monotonic() + self._patience_s
        data = self._received(size)
        if size == _START:
            self._begin(data)
        elif size == _REST and len(data) == _REST:
            _require_simple(data)
        return data

    def send(self, data: bytes) -> None:
        """Send a reply; a client that does not take it is left."""
        self.sock.settimeout(MESSAGE_S)
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise ConnectionClosedError(f"sending: {error}") from None

    def _begin(self, start: bytes) -> None:
        if start.startswith(b"\x16\x03"):
            self.send(NO_TLS_HERE)
            raise ConnectionClosedError("a client with a key; this server has none")
        self._patience_s, self._until_s = IDLE_S, time.monotonic() + MESSAGE_S
        if start.startswith(b"PYRO"):
            self._heard()

    def _received(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self.sock.settimeout(max(1e-3, self._until_s - time.monotonic()))
            try:
                chunk = self.sock.recv(min(65_536, size - len(data)))
            except OSError as error:
                raise ConnectionClosedError(f"receiving: {error}") from None
            if not chunk:
                raise ConnectionClosedError("receiving: the other side has closed")
            data += chunk
        return bytes(data)


class _Daemon(Pyro5.api.Daemon):
    """Pyro's dispatcher for one connection, which it neither accepts nor closes."""

    def __init__(self, stream: socket.socket, who: Callable[[], Caller], refused: Callable[[str], None]) -> None:
        super().__init__(connected_socket=stream)
        self._who, self._refused = who, refused

    def validateHandshake(self, conn: SocketConnection, data: object) -> Literal["hello"]:  # noqa: N802, Pyro's name
        try:
            self._who()
        except KeyRefused as refusal:
            self._refused(str(refusal))
            raise KeyRefused(f"{KeyRefused.__name__}: {refusal}") from None
        return "hello"


class _Job(ClientConnectionJob):
    """Pyro's loop over the requests of one connection."""

    def __init__(self, stream: BoundedStream, daemon: _Daemon) -> None:
        self.csock, self.caddr, self.daemon = stream, "", daemon


def _caller(keys: KeyList | None, half: str) -> Caller:
    if keys is None:
        return LOOPBACK
    key = keys.key_of(half)
    return Caller(name=key.name, role=key.role)


def _request(request: Mapping[str, Any]) -> Request:
    if not _is_plain(request):
        # Pyro makes objects of its own out of some maps; nothing of that kind goes further than here.
        raise PlanInvalid("not a request: it holds something else than text, numbers, lists and maps")
    try:
        return Request.model_validate(request)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise PlanInvalid(f"not a request: {wrong}") from None


def _is_plain(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) in _PLAIN


def _require_own(asked: Request, caller: Caller) -> None:
    """Raise if a request claims to be another key's, or repeats one that was."""
    if not caller.name:
        return
    for what, name in (("client", asked.client), ("request", asked.request_id)):
        if not belongs(name, caller.name):
            raise KeyRefused(
                f"the key {caller.name!r} cannot speak for the {what} {name!r}; its own are named {caller.name}/..."
            )


def _refusal(error: BeamloopError) -> dict[str, Any]:
    return Reply(status="refused", error=type(error).__name__, message=str(error)).model_dump()


def _require_simple(rest: bytes) -> None:
    """Raise if the rest of a header asks for more than a call and its reply."""
    (flags,) = struct.unpack_from("!H", rest, 2)
    if flags & ~FLAGS_CORR_ID:
        raise ProtocolError(f"message with flags {flags:#x}; plain calls only")


def _speak_msgpack_only() -> None:
    """Remove every other serializer; Pyro would else accept any that a client names, marshal included."""
    settings = {"SERIALIZER": "msgpack", "MAX_MESSAGE_SIZE": MOST_BYTES}
    for name, value in settings.items():
        setattr(Pyro5.config, name, value)
    for name, serializer in list(Pyro5.serializers.serializers.items()):
        if name != "msgpack":
            del Pyro5.serializers.serializers[name]
            Pyro5.serializers.serializers_by_id.pop(serializer.serializer_id, None)
