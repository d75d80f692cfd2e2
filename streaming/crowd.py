"""How many connections a socket has open: strangers that have said nothing yet, and those of each key.

ZeroMQ bounds neither. A stranger is cut off when it stays silent, or when there are too many and it
is the oldest; a key that has its number of connections open gets no further one. So one key,
or a crowd of strangers, keeps out nobody else. No sockets and clocks are in here.
"""

from __future__ import annotations

import threading

MOST_STRANGERS = 256
"""Connections at a time that have said nothing yet, most of them in their handshake."""

MOST_OF_KEY = 32
"""Connections of one key at a time."""

SILENT_S = 3.0
"""How long a connection may say nothing after it was made; a client of ours speaks at once."""


class Crowd:
    """The connections of one listening socket, by descriptor; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._strangers: dict[int, float] = {}
        self._known: dict[int, str] = {}
        # When each key was let in to connections on which it has said nothing yet.
        self._let_in_s: dict[str, list[float]] = {}

    def came(self, connection: int, now_s: float) -> None:
        """Note a new connection."""
        with self._lock:
            self._known.pop(connection, None)
            self._strangers.pop(connection, None)
            self._strangers[connection] = now_s

    def left(self, connection: int) -> None:
        """Note that a connection is gone."""
        with self._lock:
            self._known.pop(connection, None)
            self._strangers.pop(connection, None)

    def let_in(self, key: str, now_s: float) -> bool:
        """Let a key in to one more connection; False if it has too many."""
        with self._lock:
            silent = [since for since in self._let_in_s.get(key, ()) if now_s - since < SILENT_S]
            is_room = len(silent) + sum(known == key for known in self._known.values()) < MOST_OF_KEY
            self._let_in_s[key] = [*silent, now_s] if is_room else silent
            return is_room

    def heard(self, connection: int, key: str) -> None:
        """Note that something was said on a connection of a key."""
        if self._known.get(connection) == key:
            return
        with self._lock:
            self._known[connection] = key
            self._strangers.pop(connection, None)
            if silent := self._let_in_s.get(key):
                silent.pop(0)

    def unwelcome(self, now_s: float) -> list[int]:
        """Return the strangers to be cut off, the oldest first."""
        with self._lock:
            too_many = max(0, len(self._strangers) - MOST_STRANGERS)
            return [
                connection
                for place, (connection, since) in enumerate(self._strangers.items())
                if place < too_many or now_s - since > SILENT_S
            ]
