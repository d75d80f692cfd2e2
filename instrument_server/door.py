"""Where control connections come in: what a stranger may take is bounded, and proved before it is heard.

Every connection has a thread of its own from the first moment, so a silent or slow peer holds up
nobody. At each bound the one that was silent longest gives way, so that a flood of strangers cannot
shut the door: those who have not said anything against those who come, and the connections of one
key among themselves. An honest client whose idle connection gave way makes a new one.

With keys, a peer must finish a TLS 1.3 handshake with a certificate of the instrument's authority
before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .keys.place import Place

HANDSHAKE_S = 2.0
"""How long a peer may take until it has shown its key, or sent its first message where none is wanted."""

MOST_STRANGERS = 64
"""Connections that have not got so far."""

MOST_OF_ONE = 32
"""Connections of one key."""

PARTING_S = 0.5
"""How long a refused peer may take to read why."""

Told = Callable[[str, str], None]
"""Called with who was refused, and why."""


@dataclass(eq=False)
class Connection:
    """One peer.

    Attributes
    ----------
    socket
        Its socket, in TLS where there are keys.
    peer
        Its address.
    half
        SHA-256 of the certificate it has shown; empty where none is wanted.
    known
        Whether it is no stranger any more.
    heard_s
        When it was last heard.
    """

    socket: socket.socket
    peer: str
    half: str = ""
    known: bool = False
    heard_s: float = field(default_factory=time.monotonic)

    def cut(self) -> None:
        """End the connection, from any thread; whoever reads from it comes to its end."""
        with suppress(OSError):
            # Not the TLS socket's own shutdown, which throws away the state another thread reads with.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Door:
    """Lets connections in until it is closed, and hands each to `serve` in a thread of its own.

    Parameters
    ----------
    address
        Where to listen.
    serve
        Speaks with one connection until it ends; says `known()` on it when its first message is whole.
    keys
        The folder of keys; None lets everybody in without.
    refused
        Told of everybody who is refused.
    """

    def __init__(
        self, address: tuple[str, int], serve: Callable[[Connection], None], keys: Place | None, refused: Told
    ) -> None:
        self._serve, self._refused = serve, refused
        self._secure = None if keys is None else server_context(keys)
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server(address, backlog=256)
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="door")
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more and end every connection."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._lock:
            left = dict(self._open)
        for connection in left:
            connection.cut()
        for thread in left.values():
            thread.join(PARTING_S)

    def known(self, connection: Connection) -> None:
        """Note that a connection was heard."""
        connection.heard_s = time.monotonic()
        if not connection.known:
            with self._lock:
                connection.known = True
                self._bound(MOST_OF_ONE, [c for c in self._open if c.known and c.half == connection.half], connection)

    def _accept(self) -> None:
        while not self._closed:
            try:
                accepted, address = self._listener.accept()
            except OSError:
                # Closed, or out of file descriptors for a moment.
                time.sleep(0.01)
                continue
            self._admit(Connection(accepted, f"{address[0]}:{address[1]}"))

    def _admit(self, connection: Connection) -> None:
        thread = threading.Thread(target=self._receive, args=(connection,), name="control", daemon=True)
        with self._lock:
            self._bound(MOST_STRANGERS - 1, [c for c in self._open if not c.known], connection)
            self._open[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            self._forget(connection)

    def _bound(self, most: int, among: list[Connection], but: Connection) -> None:
        for connection in sorted(among, key=lambda c: c.heard_s)[: max(0, len(among) - most)]:
            if connection is not but:
                connection.cut()

    def _receive(self, connection: Connection) -> None:
        try:
            connection.socket.settimeout(HANDSHAKE_S)
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._secure is not None and not self._secured(connection, self._secure):
                return
            self._serve(connection)
        except OSError:
            # The peer is gone, or was cut.
            return
        finally:
            self._forget(connection)

    def _secured(self, connection: Connection, context: ssl.SSLContext) -> bool:
        """Shake hands, with a bound on the time for all of it; tell whether a key was shown."""
        plain = connection.socket
        try:
            connection.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            connection.socket.do_handshake()
        except OSError as error:
            self._refused(connection.peer, _reason(error))
            _part(connection.socket)
            return False
        shown = connection.socket.getpeercert(binary_form=True)
        assert shown is not None
        connection.half = hashlib.sha256(shown).hexdigest()
        self.known(connection)
        return True

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._open.pop(connection, None)
        connection.cut()
        connection.socket.close()


def server_context(keys: Place) -> ssl.SSLContext:
    """Return how the server shakes hands: TLS 1.3, both sides with certificates, nothing resumed."""
    keys.require()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(keys.server)
    context.load_verify_locations(keys.authority)
    # A resumed session would bring a certificate that nobody has looked at this time.
    context.num_tickets = 0
    return context


def _part(stream: socket.socket) -> None:
    """Leave a refused peer time to read why, before the connection is reset under it."""
    with suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_WR)
        until_s = time.monotonic() + PARTING_S
        while (left_s := until_s - time.monotonic()) > 0:
            stream.settimeout(left_s)
            if not socket.socket.recv(stream, 4096):
                return


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, TimeoutError):
        return f"it did not finish its handshake within {HANDSHAKE_S:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not of this instrument's authority: {error.verify_message}"
    if "CERTIFICATE" in reason and "RETURN" in reason:
        return "it came without a key"
    if reason in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "INVALID_RECORD"):
        return "it came without a key, in plain"
    if reason:
        return f"handshake failed: {reason.lower().replace('_', ' ')}"
    return f"it left during the handshake: {error}"
