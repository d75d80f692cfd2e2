"""The control line: one request, one reply, never done twice; the only file that knows Pyro.

A lost reply does not say whether the command ran. So every request has an id, and after a
broken connection the same id is sent once more, on a new connection: the server returns the
first answer if there was one. A Pyro proxy belongs to one thread at a time, hence the shelf of idle ones:
a heartbeat never waits behind a slow move.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from Pyro5.client import Proxy
from Pyro5.errors import CommunicationError, PyroError
from Pyro5.protocol import MSG_CONNECT, MSG_CONNECTFAIL, MSG_CONNECTOK, SendingMessage, recv_stub
from Pyro5.serializers import serializers
from Pyro5.socketutil import SocketConnection

from ...core import InstrumentUnreachable, KeyRefused, PlanInvalid, ProtocolMismatch, Reply, Request, error_named
from ...core.control import FACE, PROTOCOL, Verb
from ...core.hearing import heard
from .address import Address
from .control_stream import control_stream, raise_if_refused, wants_key
from .shown_key import ShownKey

ANSWER_WITHIN_S = 10.0
MOVE_WITHIN_S = 120.0
"""A stage may need long, and its reply comes when it has arrived."""


class ControlLine:
    """Requests to one instrument; any thread may ask.

    Parameters
    ----------
    address
        Where the instrument answers.
    client
        The asker's unique name.
    timeout_s
        How long one answer may take.
    key
        Shown to the instrument; None shows none.
    """

    def __init__(
        self, address: Address, client: str, timeout_s: float = ANSWER_WITHIN_S, key: ShownKey | None = None
    ) -> None:
        self.address, self.client, self._timeout_s, self._key = address, client, timeout_s, key
        # A client may come back under its name; its requests must not be taken for those from before.
        self._asker, self._numbers = f"{client}/{secrets.token_hex(4)}", itertools.count(1)
        self._idle: list[Proxy] = []
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, verb: Verb, arguments: dict[str, object] | None = None, request_id: str | None = None) -> dict:
        """Send one request and return the value of its reply.

        Parameters
        ----------
        verb, arguments
            What is asked.
        request_id
            Unique name of the request; made up where None.

        Raises
        ------
        BeamloopError
            The class that the instrument raised, with its message.
        InstrumentUnreachable
            If no answer came, also not on a second connection.
        KeyRefused
            If a key is wanted, or this one is not let in.
        ProtocolMismatch
            If the answer is none that this version knows.
        """
        request = Request(
            request_id=request_id or f"{self._asker}-{next(self._numbers)}",
            client=self.client,
            verb=verb,
            arguments=arguments or {},
        )
        reply = self._reply(request)
        if reply.error == PlanInvalid.__name__ and reply.message.startswith("not a request: verb:"):
            raise ProtocolMismatch(
                f"the server at {self.address} is older and knows no {verb!r}; install a newer beamloop there"
            )
        if reply.status != "done":
            raise error_named(reply.error)(reply.message)
        return reply.value

    def close(self) -> None:
        """Close every connection; a call that is under way ends first."""
        with self._lock:
            self._closed = True
        self._clear_shelf()

    def _clear_shelf(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for proxy in idle:
            _release(proxy)

    def _reply(self, request: Request) -> Reply:
        try:
            answer = self._sent(request)
        except CommunicationError:
            # What ended this connection may have ended the others; the second attempt has a new one.
            self._clear_shelf()
            answer = self._sent_again(request)
        try:
            return heard(Reply, answer)
        except ValidationError as error:
            raise ProtocolMismatch(
                f"{self.address} answered {request.verb!r} with no reply of protocol {PROTOCOL}: {error}; "
                "install the same beamloop on both sides"
            ) from None

    def _sent_again(self, request: Request) -> object:
        try:
            return self._sent(request)
        except CommunicationError as error:
            if self._key is None and wants_key(self.address):
                raise KeyRefused(
                    f"{self.address} wants a key; give --key FILE, or set BEAMLOOP_KEY. Ask an engineer of this "
                    "instrument for one (beamloop keys add)"
                ) from None
            raise InstrumentUnreachable(
                f"no answer from {self.address} to {request.verb!r} (request {request.request_id}): {error}; "
                "is `beamloop serve` running there, and is the port right?"
            ) from None

    def _sent(self, request: Request) -> object:
        with self._proxy() as proxy:
            proxy._pyroTimeout = MOVE_WITHIN_S if request.verb == "set" else self._timeout_s
            try:
                return proxy.call(request.model_dump())
            except CommunicationError:
                raise
            except PyroError as error:
                raise ProtocolMismatch(f"{self.address} does not speak our control protocol: {error}") from None

    @contextmanager
    def _proxy(self) -> Iterator[Proxy]:
        with self._lock:
            if self._closed:
                raise InstrumentUnreachable(f"the connection to {self.address} was closed by this side")
            proxy = self._idle.pop() if self._idle else None
        if proxy is None:
            proxy = self._connected()
        proxy._pyroClaimOwnership()
        try:
            yield proxy
        except BaseException:
            # After an error the connection may hold the reply of this call; nobody may read it as theirs.
            _release(proxy)
            raise
        with self._lock:
            if not self._closed:
                self._idle.append(proxy)
                return
        _release(proxy)

    def _connected(self) -> Proxy:
        """Return a proxy on a connection of our own, which Pyro's settings could secure for a whole process only."""
        try:
            stream = control_stream(self.address, self._key, self._timeout_s)
        except OSError as error:
            raise CommunicationError(str(error)) from None
        try:
            known = _greeted(SocketConnection(stream, keep_open=True))
        except BaseException as error:
            stream.close()
            raise_if_refused(self.address, self._key, str(error))
            raise
        # An address that nobody can reach: Pyro must never connect anew by itself, without the key.
        proxy = Proxy(f"PYRO:{FACE}@<<connected-socket>>:0")
        proxy._pyroSerializer = "msgpack"
        proxy._pyroConnection = SocketConnection(stream, FACE)
        proxy._pyroGetMetadata(known_metadata=known)
        return proxy


def _greeted(stream: SocketConnection) -> object:
    """Shake hands as Pyro does; return what the other side tells of its object."""
    serializer = serializers["msgpack"]
    hello = serializer.dumps({"handshake": "hello", "object": FACE})
    stream.send(SendingMessage(MSG_CONNECT, 0, 0, serializer.serializer_id, hello).data)
    answer = recv_stub(stream, [MSG_CONNECTOK, MSG_CONNECTFAIL])
    told = serializer.loads(answer.data)
    if answer.type == MSG_CONNECTOK:
        return told["meta"]
    name, _, message = str(told).partition(": ")
    if name == KeyRefused.__name__:
        raise KeyRefused(message)
    raise CommunicationError(f"connection refused: {told}")


def _release(proxy: Proxy) -> None:
    proxy._pyroClaimOwnership()
    proxy._pyroRelease()
