"""The guard process: owns the stop socket, the beam's permission and the blanker.

Small on purpose: no vendor code, no Pyro, one thread that never waits for anybody. It answers
a stop within milliseconds whatever server and driver are doing, and blanks by itself when
either goes silent or when the permission runs out.

Public line (port + 2, ROUTER): `{"word": "blank" | "stop" | "pause" | "state"}` → `GuardReport`.
Private line (token): `{"token", "who", "act": "beat" | "open" | "close" | "halt" | "arm", ...}`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import zmq

from ..core import Blanker, Frozen, GuardReport, NotArmed, WireInvalid
from ..core.control import Rest
from ..core.registry import BLANKERS, find
from .orders import take_orders
from .post import LOOPBACK, pack, unpack
from .watch import Watch

POLL_MS = 10

_WHY = {"stop": "stopped by a person; arm the instrument to go on", "pause": "paused by a person; arm to continue"}


class GuardOrders(Frozen):
    """What a guard is told when it starts, as one line of JSON on its standard input."""

    port: int
    token: str
    folder: Path
    blanker: str
    silence_s: float = 1.0


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
        self._acquiring = False
        self.halted = False
        blanker.close()

    def tick(self) -> None:
        """Blank if the permission is gone."""
        if not self._watch.may_be_open(self._clock()) and self._blanker.is_open() is not False:
            self._blanker.close()

    def public(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer a word from anybody.

        Raises
        ------
        WireInvalid
            If it is not one of the four words.
        """
        word = message.get("word")
        if word not in ("blank", "stop", "pause", "state"):
            raise WireInvalid(f"the guard knows blank, stop, pause and state; got {word!r}")
        if word != "state":
            self._blanker.close()
            self._watch.close()
            self.halted = True
        if word in _WHY:
            self._watch.stop(_WHY[word])
        return self._report(word).model_dump()

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
            self._acquiring = bool(message.get("acquiring"))
        if act == "open":
            return self._open(float(message["lease_s"]), now_s)
        if act in ("close", "halt"):
            self._watch.close()
            self._blanker.close()
            self.halted = self.halted or act == "halt"
        elif act == "arm":
            self._watch.arm()
        elif act == "beat":
            if "lease_s" in message:
                self._watch.renew(float(message["lease_s"]), now_s)
        else:
            raise WireInvalid(f"the guard's private line knows beat, open, close, halt and arm; got {act!r}")
        return self._facts(now_s)

    def _open(self, lease_s: float, now_s: float) -> dict[str, Any]:
        try:
            self._watch.open(lease_s, now_s)
        except NotArmed as refusal:
            return {"refused": str(refusal)}
        self.halted = False
        self._blanker.open()
        return self._facts(now_s)

    def _facts(self, now_s: float) -> dict[str, Any]:
        reason = self._watch.reason(now_s)
        return {"halt": self.halted, "reason": reason, "open": self._blanker.is_open()}

    def _report(self, word: Literal["blank", "stop", "pause", "state"]) -> GuardReport:
        now_s = self._clock()
        is_open = self._blanker.is_open()
        beam: Rest = "unknown" if is_open is None else "commanded" if is_open else "confirmed"
        acquisition: Rest = "commanded" if self._acquiring else "confirmed"
        if "driver" in self._watch.silent(now_s):
            acquisition = "unknown"
        reason = self._watch.reason(now_s)
        return GuardReport(word=word, beam=beam, acquisition=acquisition, armed=not reason, reason=reason)


def answer(payload: bytes, how: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """Return the reply to one message; a malformed one is answered with what is wrong."""
    try:
        return pack(how(unpack(payload)))
    except (WireInvalid, KeyError, TypeError, ValueError) as error:
        return pack({"error": str(error)})


def watch_over(orders: GuardOrders, orphaned: threading.Event) -> None:
    """Run the guard until the server is gone; the beam is blanked before and after."""
    blanker: Blanker = find(BLANKERS, orders.blanker)(orders.folder)
    guard = Guard(blanker, orders.token, orders.silence_s)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as public, context.socket(zmq.ROUTER) as private:
        for socket in (public, private):
            socket.linger = 0
            socket.setsockopt(zmq.MAXMSGSIZE, 4096)
        public.bind(f"tcp://127.0.0.1:{orders.port}")
        private.bind(LOOPBACK)
        print(json.dumps({"private": private.getsockopt_string(zmq.LAST_ENDPOINT)}), flush=True)
        poller = zmq.Poller()
        poller.register(public, zmq.POLLIN)
        poller.register(private, zmq.POLLIN)
        lines = {public: guard.public, private: guard.private}
        while not orphaned.is_set():
            for socket, _ in poller.poll(POLL_MS):
                *envelope, payload = socket.recv_multipart()
                socket.send_multipart([*envelope, answer(payload, lines[socket])], zmq.NOBLOCK)
            guard.tick()
    blanker.close()


def main() -> None:
    """Take the orders from standard input and watch until it closes."""
    watch_over(*take_orders(GuardOrders))


if __name__ == "__main__":
    main()
