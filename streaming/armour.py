"""CURVE on a listening socket, with the authenticator without which it serves nobody.

CURVE proves a connection once, and never asks again: a key that is taken off the list stays
connected, and a socket whose authenticator is dead lets everybody in. So the domain is
enforced (no authenticator, no new connection), and the owner of the socket asks `name_of` for
every message that it hears or is about to send.

The authenticator speaks ZAP (rfc.zeromq.org/spec/27) in a thread of the process that owns the
socket. It admits by the public half of a key and hands it on as the connection's user id.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Protocol

import zmq
from zmq.utils import z85

from ..core.errors import KeyRefused

ZAP = "inproc://zeromq.zap.01"
MONITOR = "inproc://handshakes"
DOMAIN = b"beamloop"
HANDSHAKE_MS = 1000
"""How long a peer may take over its handshake; a silent one is cut off."""

LOOK_MS = 200
"""How often the authenticator looks whether the list of keys has changed."""

_CRYPTOGRAPHIC = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


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
        self.authenticator: Authenticator | None = None

    def put_on(self, context: zmq.Context, socket: zmq.Socket) -> None:
        """Make a socket let in nobody but the admitted; call before it is bound. Ends with the context."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.monitor(MONITOR, _FAILED)
        self.authenticator = Authenticator(context, self._admission, self.turned_away)

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
        return self.still_admitted(user_id(frame))

    def still_admitted(self, user: str) -> str:
        """Return the name of the key of a connection, as `name_of`, by the connection's user id."""
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
    """Answers ZAP requests of one context until that context ends; any thread may call `stop`."""

    def __init__(self, context: zmq.Context, admission: Admission, turned_away: Callable[[str, str], None]) -> None:
        self._admission, self._turned_away = admission, turned_away
        self._over = threading.Event()
        self._requests, self._handshakes = context.socket(zmq.REP), context.socket(zmq.PAIR)
        self._requests.bind(ZAP)
        self._handshakes.connect(MONITOR)
        self._thread = threading.Thread(target=self._serve, name="authenticator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop admitting: whoever connects from now on is refused."""
        self._over.set()
        self._thread.join(1e-3 * 5 * LOOK_MS)

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (self._requests, self._handshakes):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._over.is_set():
                ready = dict(poller.poll(LOOK_MS))
                self._admission.look()
                if self._requests in ready:
                    self._answer(self._requests.recv_multipart())
                if self._handshakes in ready:
                    self._note(self._handshakes.recv_multipart())
        except zmq.ContextTerminated:
            pass
        finally:
            for socket in (self._requests, self._handshakes):
                socket.close(linger=0)

    def _answer(self, request: list[bytes]) -> None:
        version, number, domain, address, _, mechanism, *shown = request
        curve = z85.encode(shown[0]).decode() if mechanism == b"CURVE" and domain == DOMAIN and shown else ""
        try:
            self._admission.admit_new(curve)
            reply = [b"200", b"OK", curve.encode(), b""]
        except KeyRefused as refused:
            self._turned_away(address.decode(errors="replace"), str(refused))
            reply = [b"400", b"key refused", b"", b""]
        self._requests.send_multipart([version, number, *reply])

    def _note(self, event: list[bytes]) -> None:
        """Tell of a handshake that never came to a key."""
        _, value = struct.unpack("=HI", event[0])
        wrong = (
            "it was made for another server" if value == _CRYPTOGRAPHIC else "it came without a key, or said nothing"
        )
        self._turned_away("a peer", f"handshake failed: {wrong}")
