"""Pyro as the programs use it: a call goes to a port, its reply comes back, or nobody knows what became of it.

A message that is lost breaks the connection, and the caller is told, or (a cable pulled) waits for its time-out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
from Pyro5.errors import ConnectionClosedError
from Pyro5.errors import TimeoutError as CallTimeout

from .hub import Killed, Node, current_node
from .sockets import Net
from .threads import Event

SILENT = 0.15
"""How likely a broken connection is not noticed before the time-out."""


class Faces:
    """What listens for calls, by port, and what is done to the replies.

    Attributes
    ----------
    eat
        Asked for every reply whether it is lost on its way.
    heard, answered
        Told each request as it comes in, and with its reply as it is answered.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.faces: dict[int, tuple[Node, Any]] = {}
        self.eat: Callable[[dict[str, Any]], bool] = lambda request: False
        self.heard: Callable[[dict[str, Any]], None] = lambda request: None
        self.answered: Callable[[dict[str, Any], dict[str, Any], float], None] = lambda request, reply, since: None

    @contextmanager
    def shown(self, face: Any, port: int) -> Iterator[None]:
        """Answer calls to a port until the context is left."""
        node = current_node()
        assert node is not None
        self.faces[port] = (node, face)
        node.at_death.append(lambda: self._gone(port, node))
        try:
            yield
        finally:
            self._gone(port, node)

    def _gone(self, port: int, node: Node) -> None:
        if self.faces.get(port, (None,))[0] is node:
            del self.faces[port]

    def proxy(self, port: int) -> Proxy:
        """Return what calls the object that answers at this port."""
        return Proxy(self, port)


class Proxy:
    """One connection to a face."""

    def __init__(self, faces: Faces, port: int) -> None:
        node = current_node()
        assert node is not None
        self._faces, self._port, self._node = faces, port, node
        self._pyroTimeout: float | None = None
        self._pyroSerializer = ""
        self._pyroMaxRetries = 0
        self._pyroHandshake: object = None

    def _pyroClaimOwnership(self) -> None:
        return

    def _pyroRelease(self) -> None:
        return

    def _pyroBind(self) -> None:
        return

    def call(self, request: Any) -> Any:
        """Call the face and wait for its reply."""
        if not self._node.alive:
            raise Killed
        call = Call(self._faces, self._port, self._node, msgpack.packb(request))
        call.begin()
        if not call.over.wait(self._pyroTimeout):
            call.given_up = True
            raise CallTimeout("receiving: timeout")
        if call.reply is None:
            raise ConnectionClosedError("receiving: connection lost")
        return msgpack.unpackb(call.reply)


class Call:
    """One call on its way."""

    def __init__(self, faces: Faces, port: int, caller: Node, request: bytes) -> None:
        self._faces, self._port, self._caller, self._request = faces, port, caller, request
        self._world = faces.net.world
        self._link = faces.net.way(caller.name, port)
        self.over, self.given_up = Event(), False
        self.reply: bytes | None = None

    def begin(self) -> None:
        """Send the request, if there is somebody to connect to."""
        face = self._faces.faces.get(self._port)
        if self._link.is_cut or face is None:
            self._breaks(told=True if not self._link.is_cut else None)
            return
        self._link.at_cut.append(self._cut)
        self._carry(self._arrive)

    def _carry(self, deliver: Callable[[], None]) -> None:
        rng, weather = self._world.rng, self._link.weather
        if weather.loss and rng.random() < weather.loss:
            self._breaks()
            return
        plain = weather.loss
        weather.loss = 0.0
        self._link.carry(deliver, 0.0)
        weather.loss = plain

    def _cut(self, told: bool) -> None:
        self._breaks(told)

    def _breaks(self, told: bool | None = None) -> None:
        """The connection is over: the caller learns it soon, or only by its patience."""
        if self.given_up or self.over.is_set():
            return
        if told is None:
            told = self._world.rng.random() > SILENT
        if told:
            self._world.after(self._link.delay(), self._end)
        self.given_up = not told

    def _end(self) -> None:
        if self._cut in self._link.at_cut:
            self._link.at_cut.remove(self._cut)
        self.over.set()

    def _arrive(self) -> None:
        """Reach the face: also when the caller has given up meanwhile, and maybe twice."""
        face = self._faces.faces.get(self._port)
        if face is None:
            self._breaks()
            return
        node, there = face
        node.at_death.append(self._breaks)
        node.spawn(lambda: self._answer(node, there))

    def _answer(self, node: Node, there: Any) -> None:
        request, since = msgpack.unpackb(self._request), self._world.now_s
        self._faces.heard(request)
        answer = there.call(request)
        self._faces.answered(request, answer, since)
        if self._breaks in node.at_death:
            node.at_death.remove(self._breaks)
        if self._faces.eat(request):
            self._breaks()
            return
        reply = msgpack.packb(answer)
        self._carry(lambda: self._back(reply))

    def _back(self, reply: bytes) -> None:
        if not self.given_up and not self.over.is_set():
            self.reply = reply
            self._end()
