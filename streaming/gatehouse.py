"""Which connections of a data channel are let in, asked again for every message.

A connection shows its key once; the key may be revoked while frames flow. So whoever sends
asks here before each turn, and tells a refused receiver why before dropping its route.
"""

from __future__ import annotations

from collections.abc import Container

import zmq

from ..core.control import belongs
from ..core.errors import KeyRefused
from .armour import Armour, user_id
from .wire import Hello, Message, Refused

LOOK_S = 0.2
"""How often connections on which nothing moves are asked for."""


class Gatehouse:
    """The connections that are let in, by route. One thread.

    Parameters
    ----------
    armour
        The keys of the socket.
    """

    def __init__(self, armour: Armour) -> None:
        self._armour = armour
        self._users: dict[bytes, str] = {}

    def heard(self, route: zmq.Frame, message: Message) -> Refused | None:
        """Return why a message is not heard; None if it may be."""
        try:
            key = self._armour.name_of(route)
            if isinstance(message, Hello):
                _require_own(message.receiver, key)
                self._users[route.bytes] = user_id(route)
        except KeyRefused as refused:
            return self._refused(str(refused))
        return None

    def expelled(self, routes: Container[bytes]) -> list[tuple[bytes, Refused]]:
        """Return the routes in use whose key is not let in any more, and why."""
        self._users = {route: user for route, user in self._users.items() if route in routes}
        gone = []
        for route, user in self._users.items():
            try:
                self._armour.still_admitted(user)
            except KeyRefused as refused:
                gone.append((route, self._refused(str(refused))))
        return gone

    def _refused(self, reason: str) -> Refused:
        self._armour.turned_away("a receiver", reason)
        return Refused(reason, KeyRefused.__name__)


def _require_own(receiver: str, key: str) -> None:
    if not belongs(receiver, key):
        raise KeyRefused(f"a receiver of the name {receiver!r} cannot have the key {key!r}; it must be named {key}/...")
