"""CURVE on a listening socket, with the authenticator without which it serves nobody.

CURVE proves a connection once, and never asks again: a key that is taken off the list stays
connected, and a socket whose authenticator is dead lets everybody in. So the domain is
enforced (no authenticator, no new connection), and the owner of the socket asks `name_of` for
every message that it hears, and `still_admitted` for those it is about to send.

The authenticator speaks ZAP (rfc.zeromq.org/spec/27) in a thread of the process that owns the
socket. It admits by the public half of a key and hands it on as the connection's user id. It bounds the
number of connections as well (`crowd`), since it hears of each that is made and ended.
"""

from __future__ import annotations

import socket as sockets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

import zmq
from zmq.utils import z85

from ..core.errors import KeyRefused
from .crowd import MOST_OF_KEY, Crowd

ZAP = "inproc://zeromq.zap.01"
MONITOR = "inproc://handshakes"
DOMAIN = b"beamloop"
HANDSHAKE_MS = 1000
"""How long a peer may take over its handshake; a silent one is cut off."""

LOOK_MS = 200
"""How often the authenticator looks whether the list of keys has changed."""

_CRYPTOGRAPHIC = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WATCHED = _FAILED | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


class Admission(Protocol):
    """Who is let in; asked from several threads."""

    def look(self) -> object:
        """Read the list of keys again if it has changed; may wait for a disk."""
        ...

    def admit_new(self, curve: str) -> str:
        """Return the name of the key that a new connection shows, or raise `KeyRefused` with the reason."""
        ...

    def admit(self, curve: str) -> str:
        """Return the name of the key of an open connection, or raise `KeyRefused` with the reason."""
        ...


class Armour:
    """The keys of one listening socket.

    Parameters
    ----------
    secret
        Secret half of the socket's own CURVE key, as 40 characters of Z85.
    admission
        Who is let in.
    turned_away
        Called with the address of whoever was refused before being let in, and why; from the
        authenticator's thread.
    """

    def __init__(self, secret: str, admission: Admission, turned_away: Callable[[str, str], None]) -> None:
        self._secret, self._admission, self.turned_away = secret, admission, turned_away
        self._crowd = Crowd()
        self.authenticator: Authenticator | None = None

    def put_on(self, context: zmq.Context, socket: zmq.Socket) -> None:
        """Make a socket let in nobody but the admitted; call before it is bound. Ends with the context."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.monitor(MONITOR, _WATCHED)
        self.authenticator = Authenticator(context, socket, self._admission, self._crowd, self.turned_away)

    def take_off(self) -> None:
        """End the authenticator; for an owner that destroys its context instead of letting it end."""
        if self.authenticator is not None:
            self.authenticator.stop()

    def name_of(self, frame: zmq.Frame) -> str:
        """Return the name of the key that a frame came under, as the list of keys is now.

        Raises
        ------
        KeyRefused
            If it is revoked, expired, or the list cannot be read.
        """
        user = user_id(frame)
        name = self.still_admitted(user)
        self._crowd.heard(int(frame.get(zmq.SRCFD)), user)
        return name

    def still_admitted(self, user: str) -> str:
        """Return the name of the key of a connection, as `name_of`, by the connection's user id."""
        if self.authenticator is not None and not self.authenticator.is_alive:
            # Nobody else reads the list any more, and a revocation must still be felt.
            self._admission.look()
        return self._admission.admit(user)


def armoured(context: zmq.Context, socket: zmq.Socket, armour: Armour | None) -> None:
    """Bound the handshakes of a listening socket and put its armour on; call before it is bound."""
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    if armour is not None:
        armour.put_on(context, socket)


def user_id(frame: zmq.Frame) -> str:
    """Return the user id of the connection that a frame came by; empty where no key was shown."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


class Authenticator:
    """Answers ZAP requests for one socket until its context ends; any thread may call `stop`."""

    def __init__(
        self, context: zmq.Context, socket: zmq.Socket, admission: Admission, crowd: Crowd,
        turned_away: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self._socket = socket
        self._admission, self._crowd, self._turned_away = admission, crowd, turned_away
        self._over, self._port = threading.Event(), 0
        self._requests, self._handshakes = context.socket(zmq.REP), context.socket(zmq.PAIR)
        self._requests.bind(ZAP)
        # ZeroMQ's own thread waits where an event finds no room, and with it everybody who is connected.
        self._handshakes.setsockopt(zmq.RCVHWM, 0)
        self._handshakes.connect(MONITOR)
        self._thread = threading.Thread(target=self._serve, name="authenticator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop admitting: whoever connects from now on is refused."""
        self._over.set()
        self._thread.join(1e-3 * 5 * LOOK_MS)

    @property
    def is_alive(self) -> bool:
        """Whether it still admits anybody, and reads the list of keys."""
        return self._thread.is_alive()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (self._requests, self._handshakes):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._over.is_set():
                self._turn(dict(poller.poll(LOOK_MS)))
        except zmq.ContextTerminated:
            pass
        except BaseException:
            self._turned_away("everybody new", "its authenticator has ended: nobody is let in until it is restarted")
            raise
        finally:
            # First no event more: with nobody to take them ZeroMQ's own thread would wait, and all who are connected.
            with suppress(zmq.ZMQError):
                self._socket.disable_monitor()
            for socket in (self._requests, self._handshakes):
                socket.close(linger=0)

    def _turn(self, ready: dict[zmq.Socket, int]) -> None:
        self._admission.look()
        # Who has left makes room for who comes.
        for event in _arrived(self._handshakes):
            self._note(event)
        if self._requests in ready:
            self._answer(self._requests.recv_multipart())
        for connection in self._crowd.unwelcome(time.monotonic()):
            self._cut(connection)

    def _answer(self, request: list[bytes]) -> None:
        version, number, domain, address, _, mechanism, *shown = request
        curve = z85.encode(shown[0]).decode() if mechanism == b"CURVE" and domain == DOMAIN and shown else ""
        try:
            name = self._admission.admit_new(curve)
            if not self._crowd.let_in(curve, time.monotonic()):
                raise KeyRefused(f"the key {name!r} has {MOST_OF_KEY} connections open here, the most; close some")
            reply = [b"200", b"OK", curve.encode(), b""]
        except KeyRefused as refused:
            self._turned_away(address.decode(errors="replace"), str(refused))
            reply = [b"400", b"key refused", b"", b""]
        self._requests.send_multipart([version, number, *reply])

    def _note(self, event: list[bytes]) -> None:
        """Take in that a connection came or left, or tell of a handshake that never came to a key."""
        kind, value = struct.unpack("=HI", event[0])
        if kind == zmq.EVENT_ACCEPTED:
            self._port = int(event[1].rpartition(b":")[2])
            self._crowd.came(value, time.monotonic())
        elif kind == zmq.EVENT_DISCONNECTED:
            self._crowd.left(value)
        else:
            wrong = (
                "it was made for another server"
                if value == _CRYPTOGRAPHIC
                else "it came without a key, or said nothing"
            )
            self._turned_away("a peer", f"handshake failed: {wrong}")

    def _cut(self, connection: int) -> None:
        """End a connection; ZeroMQ tells then that it has left."""
        self._crowd.left(connection)
        with suppress(OSError), sockets.fromfd(connection, sockets.AF_INET, sockets.SOCK_STREAM) as peer:
            # The descriptor may be another's by now; what is not of this socket is left alone.
            if peer.getsockname()[1] == self._port:
                peer.shutdown(sockets.SHUT_RDWR)
                self._turned_away("a peer", "it said nothing after it had connected, or too many others came")


def _arrived(socket: zmq.Socket) -> Iterator[list[bytes]]:
    with suppress(zmq.Again):
        while True:
            yield socket.recv_multipart(zmq.NOBLOCK)
