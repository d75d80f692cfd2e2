"""The server's hand on the beam: asks the guard for it, believes only what that answers, blanks where it is silent.

It opens just before an acquisition and closes when the driver says that the scan has ended. No sockets, clocks or
threads of its own; one scan at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ..core import NotArmed
from .guard.spoken import Word
from .voices import GuardVoice

BEAM_LEASE_S = 1.0
"""How long the beam stays open without being renewed."""

Activity = Literal["idle", "acquiring", "stopped", "paused", "lost"]


class Beam:
    """The scan under way, and what the guard last said of the beam; any thread may call.

    Parameters
    ----------
    guard
        The line to the guard.
    blank
        Blanks the beam without the guard, for when the guard is silent.
    on_silence
        Told once when the guard goes silent.
    on_word
        Told each word that somebody said at the guard; returns whether it is written down.

    Attributes
    ----------
    running
        Name of the scan under way; None between scans.
    keeper
        The client whose lease lets the scan under way go on.
    """

    def __init__(
        self, guard: GuardVoice, blank: Callable[[], None], on_silence: Callable[[], None],
        on_word: Callable[[Word], bool] = lambda word: True,
    ) -> None:  # fmt: skip
        self._guard, self._blank, self._on_silence, self._on_word = guard, blank, on_silence, on_word
        self._lock, self._written = threading.Lock(), 0
        self._facts: Mapping[str, Any] | None = {}
        self.running: str | None = None
        self.keeper = ""

    def begin(self, open_s: float) -> int:
        """Let the guard open the beam, unless for no time, and return the guard's number for the scan.

        It stays open for `open_s`, never longer than a lease of the beam, unless a beat prolongs it.

        Raises
        ------
        NotArmed
            If the guard refuses or does not answer.
        """
        facts = self._guard.say("begin", lease_s=min(open_s, BEAM_LEASE_S))
        return int(self._allowed(facts, "the beam stays blanked")["scan"])

    def let_move(self) -> None:
        """Let something move, if nothing is stopped; a stop that comes later reaches it on the guard's own line.

        Raises
        ------
        NotArmed
            If the guard refuses or does not answer.
        """
        self._allowed(self._guard.say("move"), "nothing is moved")

    def close(self) -> None:
        """Blank: a scan has ended."""
        self._hear(self._guard.say("close"))

    def halt(self) -> None:
        """Blank, and end the scan under way."""
        self._hear(self._guard.say("halt"))

    def arm(self) -> None:
        """Let the beam be opened again after a stop.

        Raises
        ------
        NotArmed
            If the guard does not answer.
        """
        facts = self._guard.say("arm")
        self._hear(facts)
        if facts is None:
            raise NotArmed("the guard does not answer; the instrument cannot be armed. Restart the server")

    def beat(self, keep_s: float = 0.0) -> None:
        """Tell the guard that this process lives, and how long an open beam may stay so, at most a lease."""
        lease_s = min(keep_s, BEAM_LEASE_S)
        keep = {"lease_s": lease_s} if lease_s > 0 else {}
        self._hear(self._guard.say("beat", written=self._written, **keep))

    def seen(self) -> Literal["blanked", "open", "unknown"]:
        """Return the beam as it was last read back."""
        is_open = None if self._facts is None else self._facts.get("open")
        return "unknown" if is_open is None else "open" if is_open else "blanked"

    def activity(self) -> Activity:
        """Return what the instrument is doing, as far as the guard knows."""
        reason = "guard silent" if self._facts is None else str(self._facts.get("reason", ""))
        if "driver silent" in reason or self._facts is None:
            return "lost"
        if reason:
            return "paused" if reason.startswith("paused") else "stopped"
        return "acquiring" if self.running is not None else "idle"

    def _allowed(self, facts: Mapping[str, Any] | None, instead: str) -> Mapping[str, Any]:
        """Return what the guard said; raise if it was silent or refused."""
        if facts is not None and "refused" in facts:
            raise NotArmed(str(facts["refused"]))
        self._hear(facts)
        if facts is None:
            raise NotArmed(f"the guard does not answer; {instead}. Restart the server")
        return facts

    def _hear(self, facts: Mapping[str, Any] | None) -> None:
        before, self._facts = self._facts, facts
        if facts is None:
            self._blank()
        if facts is None and before is not None:
            self._on_silence()
        self._write_down((facts or {}).get("words", ()))

    def _write_down(self, words: Iterable[Any]) -> None:
        """Have each word that was said at the guard written down once; what the disk does not take comes again."""
        with self._lock:
            for said in (Word(*facts) for facts in words):
                if said.number > self._written and not self._on_word(said):
                    return
                self._written = max(self._written, said.number)
