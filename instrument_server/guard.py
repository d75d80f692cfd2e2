"""The guard process: owns the stop socket, the beam's permission and the blanker.

Small on purpose: no vendor code, no Pyro, one thread that never waits for anybody. It answers
a stop within milliseconds whatever server and driver are doing, and blanks by itself when
either goes silent or when the permission runs out.

Public line (port + 2, ROUTER): `{"word": "blank" | "stop" | "pause" | "state"}` → `GuardReport`.
Private line (token): `{"token", "who", "act": "beat" | "begin" | "close" | "halt" | "arm", ...}`.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import zmq

from ..core import Blanker, Frozen, GuardReport, KeyRefused, NotArmed, WireInvalid
from ..core.control import Rest
from ..core.registry import BLANKERS, find
from ..streaming.armour import Armour, armoured
from .keys.armouring import armour_for
from .orders import take_orders
from .post import LOOPBACK, pack, unpack
from .watch import Watch
from .word_home import WordHome

POLL_MS = 10
PATIENCE_S = 0.08
"""How long an answer waits for the driver to say that it is at rest; it beats every 0.05 s."""

RECENT_S = 0.2
"""What the driver said this lately still holds for a question; one that is later than this hangs."""

Word = Literal["blank", "stop", "pause", "state"]
Said = TypeVar("Said")

_WHY = {"stop": "stopped by a person; arm the instrument to go on", "pause": "paused by a person; arm to continue"}


class GuardOrders(Frozen):
    """What a guard is told when it starts, as one line of JSON on its standard input."""

    port: int
    listen: str
    keys: Path | None
    token: str
    folder: Path
    blanker: str
    silence_s: float = 1.0


class Heard(NamedTuple):
    """A word, and since when the rest that it asks for counts."""

    word: Word
    since_s: float


class Guard:
    """Answers words and beats, and keeps the blanker as the watch says. One thread.

    Parameters
    ----------
    blanker
        The line to the beam blanker.
    token
        What private messages must carry.
    silence_s
        How long server and driver may be silent while the beam is open.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, blanker: Blanker, token: str, silence_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blanker, self._token, self._clock = blanker, token, clock
        self._watch = Watch(("server", "driver"), silence_s, clock())
        self._acquiring, self._told_s = False, -math.inf
        # Scans are numbered as they begin, so that a halt said of one is never taken for the next.
        self._scan, self._halted = 0, 0
        blanker.close()

    def tick(self) -> None:
        """Blank if the permission is gone."""
        if not self._watch.may_be_open(self._clock()) and self._blanker.is_open() is not False:
            self._blanker.close()

    def hear(self, message: dict[str, Any]) -> Heard:
        """Carry out a word from anybody, at once; the answer is `report`, as soon as it is `settled`.

        Raises
        ------
        WireInvalid
            If it is not one of the four words.
        """
        word = message.get("word")
        if word not in ("blank", "stop", "pause", "state"):
            raise WireInvalid(f"the guard knows blank, stop, pause and state; got {word!r}")
        now_s = self._clock()
        if word == "state":
            return Heard(word, now_s - RECENT_S)
        self._blanker.close()
        self._watch.close()
        self._halted = self._scan
        if word in _WHY:
            self._watch.stop(_WHY[word])
        return Heard(word, now_s)

    def settled(self, heard: Heard) -> bool:
        """Tell whether the answer to a word can be given: all is at rest, or waiting for the driver is no use."""
        now_s = self._clock()
        hopeless = now_s - self._told_s > RECENT_S or now_s >= heard.since_s + PATIENCE_S
        return heard.word == "state" or hopeless or self._rests(heard)

    def report(self, heard: Heard) -> GuardReport:
        """Return what is known of each part since a word was said."""
        now_s, is_open = self._clock(), self._blanker.is_open()
        beam: Rest = "unknown" if is_open is None else "commanded" if is_open else "confirmed"
        acquisition: Rest = "confirmed" if self._rests(heard) else "commanded"
        if "driver" in self._watch.silent(now_s):
            acquisition = "unknown"
        reason = self._watch.reason(now_s)
        return GuardReport(word=heard.word, beam=beam, acquisition=acquisition, armed=not reason, reason=reason)

    def _rests(self, heard: Heard) -> bool:
        # What the driver said before the word says nothing about now: it may have begun since.
        return self._told_s > heard.since_s and not self._acquiring

    def private(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer the server or the driver.

        Raises
        ------
        WireInvalid
            If the token or the act is wrong.
        """
        if message.get("token") != self._token:
            raise WireInvalid("wrong token on the guard's private line")
        now_s, act = self._clock(), message.get("act")
        self._watch.heard(str(message.get("who")), now_s)
        if message.get("who") == "driver":
            self._acquiring, self._told_s = bool(message.get("acquiring")), now_s
        if act == "begin":
            return self._begin(float(message.get("lease_s", 0.0)), now_s)
        if act in ("close", "halt"):
            self._watch.close()
            self._blanker.close()
            self._halted = self._scan if act == "halt" else self._halted
        elif act == "arm":
            self._watch.arm()
        elif act == "beat":
            if "lease_s" in message:
                self._watch.renew(float(message["lease_s"]), now_s)
        else:
            raise WireInvalid(f"the guard's private line knows beat, begin, close, halt and arm; got {act!r}")
        return self._facts(now_s)

    def _begin(self, lease_s: float, now_s: float) -> dict[str, Any]:
        """Number a scan and open the beam for it; a scan that asks for no time needs no beam."""
        if lease_s > 0:
            try:
                self._watch.open(lease_s, now_s)
            except NotArmed as refusal:
                return {"refused": str(refusal)}
            self._blanker.open()
        self._scan += 1
        return {"scan": self._scan, **self._facts(now_s)}

    def _facts(self, now_s: float) -> dict[str, Any]:
        reason = self._watch.reason(now_s)
        return {"halted": self._halted, "reason": reason, "open": self._blanker.is_open()}


def watch_over(orders: GuardOrders, orphaned: threading.Event) -> None:
    """Run the guard until the server is gone; the beam is blanked before and after."""
    blanker: Blanker = find(BLANKERS, orders.blanker)(orders.folder)
    guard = Guard(blanker, orders.token, orders.silence_s)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as public, context.socket(zmq.ROUTER) as private:
        for socket in (public, private):
            socket.linger = 0
            socket.setsockopt(zmq.MAXMSGSIZE, 4096)
        armour = armour_for("guard", orders.keys, WordHome().tell, reads=False)
        armoured(context, public, armour)
        public.bind(f"tcp://{orders.listen}:{orders.port}")
        private.bind(LOOPBACK)
        print(json.dumps({"private": private.getsockopt_string(zmq.LAST_ENDPOINT)}), flush=True)
        poller = zmq.Poller()
        poller.register(public, zmq.POLLIN)
        poller.register(private, zmq.POLLIN)
        waiting: list[tuple[list[bytes], Heard]] = []
        while not orphaned.is_set():
            ready = dict(poller.poll(POLL_MS))
            if private in ready:
                *envelope, payload = private.recv_multipart()
                _send(private, envelope, _understood(payload, guard.private))
            if public in ready:
                *parts, payload = public.recv_multipart(copy=False)
                envelope = [part.bytes for part in parts]
                heard = refused(armour, payload) or _understood(payload.bytes, guard.hear)
                if isinstance(heard, Heard):
                    waiting.append((envelope, heard))
                else:
                    _send(public, envelope, heard)
            guard.tick()
            for envelope, heard in [w for w in waiting if guard.settled(w[1])]:
                _send(public, envelope, guard.report(heard).model_dump())
                waiting.remove((envelope, heard))
        blanker.close()
        if armour is not None:
            armour.take_off()


def refused(armour: Armour | None, frame: zmq.Frame) -> dict[str, Any] | None:
    """Return the answer to a word that is not heard for its key; None if it is."""
    try:
        if armour is not None:
            armour.name_of(frame)
    except KeyRefused as refusal:
        return {"error": str(refusal), "kind": KeyRefused.__name__}
    return None


def _understood(payload: bytes, how: Callable[[dict[str, Any]], Said]) -> Said | dict[str, Any]:
    """Do what a message says and return what came of it; for a malformed one, what is wrong."""
    try:
        return how(unpack(payload))
    except (WireInvalid, KeyError, TypeError, ValueError) as error:
        return {"error": str(error)}


def _send(socket: zmq.Socket, envelope: list[bytes], message: dict[str, Any]) -> None:
    socket.send_multipart([*envelope, pack(message)], zmq.NOBLOCK)


def main() -> None:
    """Take the orders from standard input and watch until it closes."""
    watch_over(*take_orders(GuardOrders))


if __name__ == "__main__":
    main()
