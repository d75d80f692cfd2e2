"""The autonomous loop as a state machine: events in, commands out, nothing else.

It has no sockets, files or clocks, so a thousand schedules can be simulated, each run of
the same events gives the same commands, and a crashed run is rebuilt by feeding its
journal again. `ahead` commands are kept in flight beyond the one being measured: the
instrument always has its next place while the policy thinks.

A failed or refused place is never asked for again. What is in flight when a stop rule is
reached is still measured; only a person's stop abandons it. A measurement of which nobody
knows how it ended is charged with its dose and asked for again under a new name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..core import Measurement, Policy, SettingsInvalid, Suggestion, UnknownName
from .stopping import Progress, StopRules


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement ended with a value."""

    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Refused:
    """The instrument refused a measurement before it began."""

    measurement_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A measurement was tried and gave no value."""

    measurement_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A measurement was cut off, with what it cost; whether it was done is not known, so it is not learnt from."""

    measurement_id: str
    reason: str
    electrons: float = 0.0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Issue nothing new until told to continue; what is in flight goes on."""


@dataclass(frozen=True, slots=True)
class ContinueAsked:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """End now and abandon what is in flight."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """Go on after a stop: what was abandoned is in flight again, and bad luck is forgotten."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Candidates that are not to be asked for any more, though nobody measured them: their dose is used up."""

    candidates: tuple[int, ...]


Event = Measured | Refused | Failed | Interrupted | Closed | PauseAsked | ContinueAsked | StopAsked | ResumeAsked


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure this candidate, after those asked for before."""

    measurement_id: str
    suggestion: Suggestion


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is in flight any more and nothing more will be asked."""

    reason: str


Command = Measure | Finish
REPEAT = "-"
"""Before the number of a repetition in a measurement's name: `m0004-2` is the second try at `m0004`."""

State = Literal["proposed", "done", "refused", "failed", "interrupted", "abandoned"]


@dataclass(frozen=True, slots=True)
class Record:
    """One suggestion and what became of it.

    Attributes
    ----------
    measurement_id
        Its name in the run.
    suggestion
        What was proposed, and why.
    state
        `proposed` until its end is known, then `done`, `refused`, `failed`, `interrupted` (and asked for again)
        or `abandoned`.
    reason
        Why it was not done; empty otherwise.
    measurement
        The value it gave, if it is done.
    """

    measurement_id: str
    suggestion: Suggestion
    state: State = "proposed"
    reason: str = ""
    measurement: Measurement | None = None


class Loop:
    """Turn what happened into what to do next. Call it from one thread.

    Parameters
    ----------
    policy
        Chooses the places; it learns only through this loop.
    stop
        When the run has measured enough.
    ahead
        Commands kept in flight beyond the one being measured.
    prefix
        Measurement ids are this and a number of at least four digits, from 0.
    patience
        After so many refusals and failures in a row, the run ends instead of spinning.

    Raises
    ------
    SettingsInvalid
        If `ahead` is negative or `patience` is less than 1.
    """

    def __init__(self, policy: Policy, stop: StopRules, ahead: int = 1, prefix: str = "m", patience: int = 10) -> None:
        if ahead < 0 or patience < 1:
            raise SettingsInvalid(f"a loop needs ahead >= 0 and patience >= 1; got ahead = {ahead}, {patience = }")
        self._policy = policy
        self._stop = stop
        self._width = 1 + ahead
        self._prefix = prefix
        self._patience = patience
        self._records: dict[str, Record] = {}
        self._progress = Progress()
        self._values: tuple[float, float] = (math.inf, -math.inf)
        # Kept beside the records, so that a step costs the same however many there were.
        self._taken: dict[str, int] = {}
        self._in_flight: set[str] = set()
        self._closed: set[int] = set()
        self._passed_over: set[int] = set()
        self._repeats: list[Record] = []
        self._suggested = 0
        self._unlucky = 0
        self._started = self._paused = self._finished = False
        self._ending: str | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """Every suggestion ever made with what became of it, in the order of asking."""
        return tuple(self._records.values())

    @property
    def progress(self) -> Progress:
        """What the run has done so far."""
        return self._progress

    def start(self) -> list[Command]:
        """Return the first commands, `1 + ahead` of them if the pool has so many; later calls return none."""
        if self._started:
            return []
        self._started = True
        return self._next_commands()

    def handle(self, event: Event) -> list[Command]:
        """Take in what happened and return what to do now.

        News of a measurement whose end is already known changes nothing; of one that a stop has abandoned it is
        still taken in, since it was paid for with dose.

        Raises
        ------
        UnknownName
            If the event names a measurement that this loop never asked for.
        """
        match event:
            case PauseAsked():
                self._paused = True
            case ContinueAsked():
                self._paused = False
            case StopAsked(reason):
                return self._abandon(reason)
            case ResumeAsked():
                self._take_up()
            case Closed(candidates):
                self._passed_over.update(candidates)
            case Measured(measurement) if self._is_open(measurement.measurement_id):
                self._take_in(measurement)
            case Refused(measurement_id, reason) if self._is_open(measurement_id):
                self._give_up(measurement_id, "refused", reason)
            case Failed(measurement_id, reason) if self._is_open(measurement_id):
                self._give_up(measurement_id, "failed", reason)
            case Interrupted(measurement_id, reason) if self._is_open(measurement_id):
                self._charge(event)
        return self._next_commands()

    def _is_open(self, measurement_id: str) -> bool:
        if measurement_id not in self._records:
            last = next(reversed(self._records), "none")
            raise UnknownName(f"no measurement {measurement_id!r} was asked for; the last one asked for is {last!r}")
        return self._records[measurement_id].state in ("proposed", "abandoned")

    def _take_in(self, measurement: Measurement) -> None:
        name, before = measurement.measurement_id, self._progress
        if not math.isfinite(measurement.value):
            self._give_up(name, "failed", f"its value is {measurement.value}")
            return
        self._policy.observe(measurement)
        self._unlucky = 0
        self._values = (min(self._values[0], measurement.value), max(self._values[1], measurement.value))
        record = self._settle(name, "done", measurement=measurement)
        del self._taken[name]
        self._progress = Progress(
            points=before.points + 1,
            electrons=before.electrons + measurement.electrons,
            duration_s=before.duration_s + measurement.duration_s,
            span=self._values[1] - self._values[0],
        )
        self._closed.add(record.suggestion.candidate)
        if self._ending is None:
            # A belief over a large pool is worth its cost only to the rule that reads it.
            belief = self._policy.belief() if self._stop.uncertainty is not None else None
            self._ending = self._stop.reached(self._progress, belief, self._closed | self._passed_over)

    def _give_up(self, name: str, state: Literal["refused", "failed"], reason: str) -> None:
        self._closed.add(self._settle(name, state, reason).suggestion.candidate)
        self._unlucky += 1
        if self._unlucky >= self._patience and self._ending is None:
            self._ending = f"{self._unlucky} measurements in a row were refused or failed; the last: {reason}"

    def _charge(self, event: Interrupted) -> None:
        before = self._progress
        self._progress = replace(
            before, electrons=before.electrons + event.electrons, duration_s=before.duration_s + event.duration_s
        )
        # Its candidate stays taken, for it is asked for again.
        self._repeats.append(self._settle(event.measurement_id, "interrupted", event.reason))

    def _settle(self, name: str, state: State, reason: str = "", measurement: Measurement | None = None) -> Record:
        record = replace(self._records[name], state=state, reason=reason, measurement=measurement)
        self._records[name] = record
        self._in_flight.discard(name)
        return record

    def _take_up(self) -> None:
        if not self._finished:
            return
        for name, record in self._records.items():
            if record.state == "abandoned":
                self._records[name] = replace(record, state="proposed", reason="")
                self._in_flight.add(name)
        self._finished = self._paused = False
        self._unlucky = 0
        self._ending = self._stop.reached(self._progress)

    def _abandon(self, reason: str) -> list[Command]:
        if self._finished:
            return []
        for name in sorted(self._in_flight):
            self._settle(name, "abandoned", reason)
        self._finished = True
        self._ending = reason
        return [Finish(reason)]

    def _next_commands(self) -> list[Command]:
        if self._finished or not self._started:
            return []
        commands: list[Command] = self._again()
        while self._has_room():
            suggestion = self._policy.suggest(tuple(self._taken.values()), tuple(self._passed_over))
            if suggestion is None:
                self._ending = self._nothing_left()
                break
            commands.append(self._asked(f"{self._prefix}{self._suggested:04d}", suggestion))
            self._suggested += 1
        if self._ending is not None and not self._in_flight and not self._repeats:
            self._finished = True
            commands.append(Finish(self._ending))
        return commands

    def _nothing_left(self) -> str:
        left_over = self._passed_over - self._closed - set(self._taken.values())
        why = f", or has no dose left ({len(left_over)} of them)" if left_over else ""
        return f"no candidate is left: each was measured, refused or failed{why}"

    def _again(self) -> list[Command]:
        """Ask anew for what was cut off, also if an ending is reached: it was decided and partly paid for."""
        if self._paused:
            return []
        repeats, self._repeats = self._repeats, []
        for record in repeats:
            del self._taken[record.measurement_id]
        return [self._asked(_next_name(record.measurement_id), record.suggestion) for record in repeats]

    def _asked(self, name: str, suggestion: Suggestion) -> Measure:
        self._records[name] = Record(name, suggestion)
        self._taken[name] = suggestion.candidate
        self._in_flight.add(name)
        return Measure(name, suggestion)

    def _has_room(self) -> bool:
        in_flight = len(self._in_flight) + len(self._repeats)
        points = self._stop.points
        wanted = self._width if points is None else min(self._width, points - self._progress.points)
        return self._ending is None and not self._paused and in_flight < wanted


def _next_name(measurement_id: str) -> str:
    """Return the name under which an interrupted measurement is asked for again.

    >>> _next_name("m0004"), _next_name("m0004-2")
    ('m0004-2', 'm0004-3')
    """
    name, _, times = measurement_id.partition(REPEAT)
    return f"{name}{REPEAT}{int(times or 1) + 1}"
