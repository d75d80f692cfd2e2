"""What the guard does with a word or a beat: it blanks, halts, and says what has come to rest.

A state machine without sockets or clock: every call is told the time, and `process.py` does
the talking. It never waits for anybody: what is not yet at rest is reported as commanded, and as
confirmed or unknown when it is asked again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from ...core import Blanker, GuardReport, NotArmed, WireInvalid
from ...core.control import Rest
from .spoken import Spoken
from .watch import Watch

PATIENCE_S = 0.08
"""How long an answer that none follows waits for the driver to say that it is at rest; it beats every 0.05 s."""

RECENT_S = 0.2
"""What the driver said this lately still holds for a question; one that is later than this hangs."""

Word = Literal["blank", "stop", "pause", "state"]

SOMEBODY = "a person"
"""Who said a word, where no keys tell."""

_WHY = {"stop": "stopped by {by}; arm the instrument to go on", "pause": "paused by {by}; arm to continue"}
_PROVING = "stopped for a moment, to prove the chain"
_BEFORE = "stopped before this server was started; arm the instrument to go on"


class Heard(NamedTuple):
    """A word, when it was heard, and whether a second report is to follow the first."""

    word: Word
    at_s: float
    follow: bool = False


class Guard:
    """Carries out words and beats, and keeps beam and motion as the watch says. One thread.

    Parameters
    ----------
    blanker
        The line to the beam and to what moves. Halted already, it was stopped under an earlier guard, and stays so.
    token
        What private messages must carry.
    silence_s
        How long server and driver may be silent while the beam is open.
    now_s
        Monotonic seconds, as in every call.
    """

    def __init__(self, blanker: Blanker, token: str, silence_s: float, now_s: float) -> None:
        self._blanker, self._token = blanker, token
        self._watch = Watch(("server", "driver"), silence_s, now_s)
        self._acquiring, self._told_s, self._stopping_s = False, -math.inf, 0.1
        self._spoken = Spoken()
        # Scans are numbered as they begin, so that a halt said of one is never taken for the next.
        self._scan, self._halted = 0, 0
        # Since when each part has been told to rest; None while it may work.
        self._beam_told_s: float | None = now_s
        self._scan_told_s: float | None = now_s
        self._motion_told_s: float | None = None
        # Stops are numbered too, so that a proof never arms what a person has stopped meanwhile.
        self._stops, self._proving = 0, False
        blanker.close()
        if blanker.is_halted():
            self._watch.stop(_BEFORE)
            self._motion_told_s = now_s

    def tick(self, now_s: float) -> None:
        """Blank if the permission is gone, and halt again what moves although it was stopped."""
        if not self._watch.may_be_open(now_s) and self._blanker.is_open() is not False:
            self._close(now_s)
        if self._watch.stopped and self._blanker.is_moving():
            self._blanker.halt()

    def leave(self) -> None:
        """Blank for good; a stop outlives this guard on its line, the moment of a proof does not."""
        self._blanker.close()
        if self._proving:
            self._blanker.free()

    def hear(self, message: Mapping[str, Any], now_s: float, by: str = SOMEBODY) -> Heard:
        """Carry out a word from anybody, at once; the answer is `report`, as soon as it is `settled`.

        Parameters
        ----------
        message, now_s
            What was said, and when.
        by
            Who said it: the name of their key.

        Raises
        ------
        WireInvalid
            If it is not one of the four words.
        """
        word = message.get("word")
        if word not in ("blank", "stop", "pause", "state"):
            raise WireInvalid(f"the guard knows blank, stop, pause and state; got {str(word)[:40]!r}")
        if word != "state":
            self._close(now_s)
            self._halt_scan(now_s)
            self._spoken.said(f"{word}, to prove the chain" if message.get("proof") is True else word, by, now_s)
        if word in _WHY:
            self._halt_motion(now_s)
            self._proving = message.get("proof") is True and not (self._watch.stopped and not self._proving)
            self._watch.stop(_PROVING if self._proving else _WHY[word].format(by=by))
            self._stops += 1
        return Heard(word, now_s, message.get("follow") is True)

    def settled(self, heard: Heard, now_s: float) -> bool:
        """Tell whether the first answer to a word can be given: all rests, more follows, or waiting is no use."""
        hopeless = now_s - self._told_s > RECENT_S or now_s >= heard.at_s + PATIENCE_S
        return heard.word == "state" or heard.follow or hopeless or self.over(heard, now_s)

    def over(self, heard: Heard, now_s: float) -> bool:
        """Tell whether a report can be the last: no part is on its way to rest, or its time is up."""
        return now_s >= heard.at_s + self._stopping_s or "commanded" not in self._rests(heard, now_s).values()

    def report(self, heard: Heard, now_s: float) -> GuardReport:
        """Return what is known of each part since a word was said."""
        rests, why = self._rests(heard, now_s), self._watch.reason(now_s)
        stuck = [f"the {part} was not read back at rest" for part, told in rests.items() if told == "unknown"]
        left_s = 0.0 if not heard.follow or self.over(heard, now_s) else heard.at_s + self._stopping_s - now_s
        reason = "; ".join([*filter(None, [why]), *(stuck if now_s >= heard.at_s + self._stopping_s else [])])
        return GuardReport(word=heard.word, **rests, armed=not why, reason=reason, follows_within_s=left_s)

    def private(self, message: Mapping[str, Any], now_s: float) -> dict[str, Any]:
        """Answer the server or the driver.

        What they say counts from when they said it (`said_s`, on the clock of this computer) and not from when it
        is heard: a guard that was held up finds old beats waiting, and whoever sent them may be silent since.

        Raises
        ------
        WireInvalid
            If the token or the act is wrong.
        """
        if message.get("token") != self._token:
            raise WireInvalid("wrong token on the guard's private line")
        act = message.get("act")
        said_s = min(now_s, float(message.get("said_s", now_s)))
        self._watch.heard(str(message.get("who")), said_s)
        if message.get("who") == "server":
            self._spoken.written(int(message.get("written", 0)))
        if message.get("who") == "driver":
            self._acquiring, self._told_s = bool(message.get("acquiring")), said_s
            self._stopping_s = float(message.get("stopping_time_s", self._stopping_s))
        if act in ("begin", "reopen", "move"):
            return self._begun(act, message, now_s, said_s)
        if act in ("close", "halt"):
            self._close(now_s)
            if act == "halt":
                self._halt_scan(now_s)
        elif act == "word":
            report = self.report(self.hear(message, now_s), now_s)
            return {**report.model_dump(), **self._facts(now_s)}
        elif act == "arm":
            self._arm(message.get("stops"))
        elif act == "beat":
            if "lease_s" in message:
                self._watch.renew(float(message["lease_s"]), now_s, said_s)
        else:
            raise WireInvalid(
                f"a guard knows beat, begin, reopen, move, close, halt, word and arm on its private line; got {act!r}"
            )
        return self._facts(now_s)

    def _begun(self, act: str, message: Mapping[str, Any], now_s: float, said_s: float) -> dict[str, Any]:
        """Number a scan and open the beam for it, or let a move begin; a scan that asks for no time needs no beam.

        A beam that the driver has blanked in the midst of its scan opens again only on the permission that the scan
        still has.
        """
        lease_s = float(message.get("lease_s", 0.0))
        is_over = act == "begin" and 0 < lease_s <= now_s - said_s
        if is_over or now_s > float(message.get("before_s", math.inf)):
            return {"refused": "the guard heard of it too late, when nobody waited for it any more; ask again"}
        if act == "move" and (why := self._watch.reason(now_s)):
            return {"refused": f"nothing may move: {why}"}
        if act == "begin" and lease_s > 0:
            try:
                self._watch.open(lease_s, now_s, said_s)
            except NotArmed as refusal:
                return {"refused": str(refusal)}
            # A proof that must not expose asks for the permission only.
            if message.get("dark") is not True:
                self._beam_told_s = None
                self._blanker.open()
        if act == "reopen" and self._watch.may_be_open(now_s):
            self._blanker.open()
        if act == "begin":
            self._scan, self._scan_told_s = self._scan + 1, None
        return {"scan": self._scan, **self._facts(now_s)}

    def _arm(self, only_stop: object) -> None:
        """Free what was stopped; where a stop is named, only if no other came after it."""
        if only_stop is None or only_stop == self._stops:
            self._watch.arm()
            self._blanker.free()
            self._motion_told_s, self._proving = None, False

    def _close(self, now_s: float) -> None:
        self._blanker.close()
        self._watch.close()
        self._beam_told_s = now_s if self._beam_told_s is None else self._beam_told_s

    def _halt_scan(self, now_s: float) -> None:
        self._halted = self._scan
        self._scan_told_s = now_s if self._scan_told_s is None else self._scan_told_s

    def _halt_motion(self, now_s: float) -> None:
        self._blanker.halt()
        self._motion_told_s = now_s if self._motion_told_s is None else self._motion_told_s

    def _facts(self, now_s: float) -> dict[str, Any]:
        return {
            "halted": self._halted, "reason": self._watch.reason(now_s), "open": self._blanker.is_open(),
            "permitted": self._watch.may_be_open(now_s), "until_s": self._watch.open_until_s, "said_s": now_s,
            "stops": self._stops, "words": self._spoken.unwritten(now_s),
        }  # fmt: skip

    def _rests(self, heard: Heard, now_s: float) -> dict[str, Rest]:
        # What the driver said before the word says nothing about now: it may have begun since.
        since_s = now_s - RECENT_S if heard.word == "state" else heard.at_s
        hangs = "driver" in self._watch.silent(now_s)
        heard_since = self._told_s > since_s
        acquires = None if hangs else self._acquiring or not heard_since

        def rest(works: bool | None, told_s: float | None) -> Rest:
            if works is not True:
                return "unknown" if works is None else "confirmed"
            if told_s is None:
                return "active"
            return "commanded" if now_s - min(told_s, heard.at_s) < self._stopping_s else "unknown"

        return {
            "beam": rest(self._blanker.is_open(), self._beam_told_s),
            "acquisition": rest(acquires, self._scan_told_s if self._acquiring else heard.at_s),
            "motion": rest(self._blanker.is_moving(), self._motion_told_s),
        }
