"""CURVE on a connecting socket, and what became of its handshake.

ZeroMQ does not tell a client that it was refused: its messages wait for a connection that
never comes. The reason shows only in the socket's events, so these are watched.
"""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

import zmq

from .armour import HANDSHAKE_MS

MOST_FAILURES = 10
"""So many handshakes in a row may be ended without a reason, as a tunnel does while the server behind it restarts."""

UNANSWERED_S = 0.8 * HANDSHAKE_MS / 1000
"""A handshake that fails after this long was not refused: nobody answered it."""

_MISMATCH = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
_WATCHED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class CurveKey(NamedTuple):
    """A client's key for one socket, each part 40 characters of Z85.

    Attributes
    ----------
    public, secret
        The two halves of the client's own key.
    server
        Public half of the server's key for this socket.
    """

    public: str
    secret: str
    server: str


class Admittance:
    """Shows a key on a connecting socket and watches whether it is let in. One thread.

    Parameters
    ----------
    context, socket
        The socket, not yet connected, and its context.
    key
        The key to show; None shows none.

    Attributes
    ----------
    events
        Socket to poll; when it is readable, ask `refusal`.
    """

    def __init__(self, context: zmq.Context, socket: zmq.Socket, key: CurveKey | None) -> None:
        self._shown, self._failures, self._unanswered = key is not None, 0, False
        self._connected_s, self._refusal = 0.0, ""
        if key is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, key.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret.encode())
            socket.setsockopt(zmq.CURVE_SERVERKEY, key.server.encode())
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        endpoint = f"inproc://admittance-{id(self)}"
        socket.monitor(endpoint, _WATCHED)
        self.events = context.socket(zmq.PAIR)
        self.events.connect(endpoint)

    def refusal(self) -> str:
        """Return why this side is not let in; empty while that is not known to be so."""
        while self.events.poll(0):
            event, value = struct.unpack("=HI", self.events.recv_multipart()[0])
            self._refusal = self._judged(event, value) or self._refusal
        return self._refusal

    def doubt(self) -> str:
        """Return what speaks against being let in, beside a `refusal`, when no answer came; empty if nothing."""
        if self._failures:
            return _ENDED if self._shown else _ENDED_PLAIN
        return _UNANSWERED if self._unanswered else ""

    def close(self) -> None:
        """Stop watching."""
        self.events.close(linger=0)

    def _judged(self, event: int, value: int) -> str:
        if event == zmq.EVENT_CONNECTED:
            self._connected_s = time.monotonic()
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures, self._unanswered = 0, False
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return _UNLISTED
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == _MISMATCH:
            return _KEYLESS if self._shown else _LOCKED
        elif time.monotonic() - self._connected_s > UNANSWERED_S:
            self._unanswered = True
        else:
            self._failures += 1
            # Without a key it can as well be a tunnel with nothing behind it, which may come back.
            return _ENDED if self._shown and self._failures >= MOST_FAILURES else ""
        return ""


def answered(socket: zmq.Socket, admittance: Admittance, timeout_s: float) -> bool:
    """Wait for a message on a socket; False if it does not come in time, or this side is refused."""
    poller = zmq.Poller()
    for waited in (socket, admittance.events):
        poller.register(waited, zmq.POLLIN)
    until_s = time.monotonic() + timeout_s
    while (left_s := until_s - time.monotonic()) > 0:
        ready = dict(poller.poll(round(1e3 * left_s)))
        if socket in ready:
            return True
        if admittance.events in ready and admittance.refusal():
            return False
    return False


_UNLISTED = (
    "the key is not on its list: it is unknown there, revoked or expired, or has too many connections open; the "
    "server's audit says which. Ask an engineer of this instrument for a key (beamloop keys add)"
)
_LOCKED = "it wants a key; give --key FILE, or set BEAMLOOP_KEY"
_KEYLESS = "it serves without keys, so it cannot be the one that this key was made for; leave the key out: --key none"
_ENDED = (
    "it ends the handshake without a reason: it has other keys than the one that this key was made for, or none, or "
    "its authenticator is dead; see the server's audit"
)
_ENDED_PLAIN = (
    "it ends the handshake without a reason: it is a tunnel with nothing behind it, or it wants a key (--key FILE, or "
    "set BEAMLOOP_KEY)"
)
_UNANSWERED = "it takes the connection and does not answer the handshake: it hangs, or its authenticator does"
