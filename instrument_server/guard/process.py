"""The guard process: owns the stop socket, the beam's permission and the line to beam and stage.

Small on purpose: no vendor code, no Pyro, no disk, one thread that never waits for anybody. It
answers a stop within milliseconds whatever server and driver are doing, and blanks by itself when
either goes silent or when the permission runs out.

Public line (port + 2, ROUTER): `{"word": "blank" | "stop" | "pause" | "state", "follow": true}` → `GuardReport`,
and a second one if parts were not at rest. Private line (token): `{"token", "who", "act": "beat" | "begin" | ...}`.
The two have threads of their own inside ZeroMQ, so that no crowd on the public one delays a beat.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import zmq

from ...core import Blanker, Frozen, KeyRefused, SettingsInvalid, WireInvalid
from ...core.registry import BLANKERS, find
from ...streaming.armour import Armour, armoured
from ..keys.armouring import armour_for
from ..processes.orders import take_orders
from ..processes.post import LOOPBACK, pack, unpack
from ..processes.word_home import WordHome
from .guard import SOMEBODY, Guard, Heard

POLL_MS = 10
MOST_BYTES = 4096
MOST_AT_ONCE = 32
"""Messages taken from one line before the guard looks at everything else again."""

MOST_WAITING = 256
"""Answers that may be outstanding; whoever comes then is told at once what is known, and no more."""

MOST_QUEUED = 16
"""Messages that a connection may have waiting, each way."""

PINGED_MS = 3000
"""A connection that is silent to a ping is dropped; so is, sooner, one that does not say what it is."""

Said = TypeVar("Said")
Envelope = list[bytes]


class GuardOrders(Frozen):
    """What a guard is told when it starts, as one line of JSON on its standard input."""

    port: int
    listen: str
    keys: Path | None
    token: str
    folder: Path
    blanker: str
    silence_s: float = 1.0


class Askers:
    """Who waits for a report of the guard: the first, then for those who follow it the last. Bounded."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._waiting: list[tuple[Envelope, Heard, bool]] = []

    def add(self, envelope: Envelope, heard: Heard, now_s: float) -> Iterator[tuple[Envelope, dict[str, Any]]]:
        """Let an asker wait; yield their report at once if there is no more room for waiting."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((envelope, heard, False))
        else:
            yield envelope, self._guard.report(heard._replace(follow=False), now_s).model_dump()

    def due(self, now_s: float) -> Iterator[tuple[Envelope, dict[str, Any]]]:
        """Yield the reports that can be given now, each to whom it is for."""
        waiting, self._waiting = self._waiting, []
        for envelope, heard, begun in waiting:
            if not (self._guard.over if begun else self._guard.settled)(heard, now_s):
                self._waiting.append((envelope, heard, begun))
                continue
            report = self._guard.report(heard, now_s)
            if report.follows_within_s:
                self._waiting.append((envelope, heard, True))
            yield envelope, report.model_dump()


def watch_over(orders: GuardOrders, orphaned: threading.Event) -> None:
    """Run the guard until the server is gone; the beam is blanked before and after."""
    guard = Guard(_line(orders), orders.token, orders.silence_s, time.monotonic())
    armour = armour_for("guard", orders.keys, WordHome().tell, reads=False)
    askers = Askers(guard)
    _let_many_connect()
    with zmq.Context(io_threads=2) as context, _public(context, orders, armour) as public, _private(context) as private:
        print(json.dumps({"private": private.getsockopt_string(zmq.LAST_ENDPOINT)}), flush=True)
        poller = zmq.Poller()
        poller.register(public, zmq.POLLIN)
        poller.register(private, zmq.POLLIN)
        while not orphaned.is_set():
            ready = dict(poller.poll(POLL_MS))
            for envelope, frame in _arrived(private) if private in ready else ():
                _send(private, envelope, _understood(frame, lambda message: guard.private(message, time.monotonic())))
            for envelope, frame in _arrived(public) if public in ready else ():
                heard = _heard(guard, armour, frame)
                if not isinstance(heard, Heard):
                    _send(public, envelope, heard)
                    continue
                for reply in askers.add(envelope, heard, time.monotonic()):
                    _send(public, *reply)
            guard.tick(time.monotonic())
            for reply in askers.due(time.monotonic()):
                _send(public, *reply)
        guard.leave()
        if armour is not None:
            armour.take_off()


def _line(orders: GuardOrders) -> Blanker:
    line = find(BLANKERS, orders.blanker)(orders.folder)
    if not isinstance(line, Blanker):
        raise SettingsInvalid(
            f"blanker {orders.blanker!r} is no line that a guard can use: it lacks methods of beamloop.core.Blanker; "
            "derive it from that class, which knows what to do where a line cannot halt motion"
        )
    return line


def _public(context: zmq.Context, orders: GuardOrders, armour: Armour | None) -> zmq.Socket:
    """Return the line on which anybody who is let in may say a word."""
    socket = _router(context, thread=1)
    armoured(context, socket, armour)
    for option, value in (
        (zmq.HEARTBEAT_IVL, PINGED_MS), (zmq.BACKLOG, 1024),
        (zmq.SNDHWM, MOST_QUEUED), (zmq.RCVHWM, MOST_QUEUED),
    ):  # fmt: skip
        socket.setsockopt(option, value)
    socket.bind(f"tcp://{orders.listen}:{orders.port}")
    return socket


def _private(context: zmq.Context) -> zmq.Socket:
    """Return the line of server and driver."""
    socket = _router(context, thread=2)
    socket.bind(LOOPBACK)
    return socket


def _router(context: zmq.Context, thread: int) -> zmq.Socket:
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    socket.setsockopt(zmq.AFFINITY, thread)
    socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
    return socket


def _let_many_connect() -> None:
    """Allow as many open connections as this system gives a process; Windows has no such bound to raise."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _arrived(socket: zmq.Socket) -> Iterator[tuple[Envelope, zmq.Frame]]:
    """Yield what has come in on a line, so many at most; ZeroMQ takes from every connection in turn."""
    with suppress(zmq.Again):
        for _ in range(MOST_AT_ONCE):
            *envelope, frame = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            yield [part.bytes for part in envelope], frame


def _heard(guard: Guard, armour: Armour | None, frame: zmq.Frame) -> Heard | dict[str, Any]:
    """Carry out a word whose key is let in at this moment; return what came of it, or why it is not heard."""
    by = SOMEBODY
    if armour is not None:
        try:
            by = armour.name_of(frame)
        except KeyRefused as refusal:
            armour.turned_away("a speaker", str(refusal))
            return {"error": str(refusal), "kind": KeyRefused.__name__}
    return _understood(frame, lambda message: guard.hear(message, time.monotonic(), by))


def _understood(frame: zmq.Frame, how: Callable[[dict[str, Any]], Said]) -> Said | dict[str, Any]:
    """Do what a message says and return what came of it; for a malformed one, what is wrong."""
    try:
        return how(unpack(frame.bytes))
    except (WireInvalid, KeyError, TypeError, ValueError) as error:
        return {"error": str(error)}


def _send(socket: zmq.Socket, envelope: Envelope, message: dict[str, Any]) -> None:
    # To a peer that is gone, or does not read, ROUTER drops it.
    socket.send_multipart([*envelope, pack(message)], zmq.NOBLOCK)


def main() -> None:
    """Take the orders from standard input and watch until it closes."""
    watch_over(*take_orders(GuardOrders))


if __name__ == "__main__":
    main()
