"""The autonomous loop as a state machine: events in, commands out, nothing else.

It has no sockets, files or clocks, so a thousand schedules can be simulated, each run of
the same events gives the same commands, and a crashed run is rebuilt by feeding its
journal again. `ahead` commands are kept in flight beyond the one being measured: the
instrument always has its next place while the policy thinks.

A failed or refused place is never asked for again. What is in flight when a stop rule is
reached is still measured; only a person's stop abandons it.
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
class PauseAsked:
    """Issue nothing new until told to continue; what is in flight goes on."""


@dataclass(frozen=True, slots=True)
class ContinueAsked:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """End now and abandon what is in flight."""

    reason: str


Event = Measured | Refused | Failed | PauseAsked | ContinueAsked | StopAsked


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
State = Literal["proposed", "done", "refused", "failed", "abandoned"]


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
        `proposed` until its end is known, then `done`, `refused`, `failed` or `abandoned`.
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

        News of a measurement whose end is already known changes nothing.

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
            case Measured(measurement) if self._is_open(measurement.measurement_id):
                self._take_in(measurement)
            case Refused(measurement_id, reason) if self._is_open(measurement_id):
                self._give_up(measurement_id, "refused", reason)
            case Failed(measurement_id, reason) if self._is_open(measurement_id):
                self._give_up(measurement_id, "failed", reason)
        return self._next_commands()

    def _is_open(self, measurement_id: str) -> bool:
        if measurement_id not in self._records:
            last = next(reversed(self._records), "none")
            raise UnknownName(f"no measurement {measurement_id!r} was asked for; the last one asked for is {last!r}")
        return self._records[measurement_id].state == "proposed"

    def _take_in(self, measurement: Measurement) -> None:
        name, before = measurement.measurement_id, self._progress
        if not math.isfinite(measurement.value):
            self._give_up(name, "failed", f"its value is {measurement.value}")
            return
        self._policy.observe(measurement)
        self._unlucky = 0
        self._values = (min(self._values[0], measurement.value), max(self._values[1], measurement.value))
        self._records[name] = replace(self._records[name], state="done", measurement=measurement)
        self._progress = Progress(
            points=before.points + 1,
            electrons=before.electrons + measurement.electrons,
            duration_s=before.duration_s + measurement.duration_s,
            span=self._values[1] - self._values[0],
            closed=before.closed | {self._records[name].suggestion.candidate},
        )
        if self._ending is None:
            # A belief over a large pool is worth its cost only to the rule that reads it.
            belief = self._policy.belief() if self._stop.uncertainty is not None else None
            self._ending = self._stop.reached(self._progress, belief)

    def _give_up(self, name: str, state: Literal["refused", "failed"], reason: str) -> None:
        record = self._records[name] = replace(self._records[name], state=state, reason=reason)
        self._progress = replace(self._progress, closed=self._progress.closed | {record.suggestion.candidate})
        self._unlucky += 1
        if self._unlucky >= self._patience and self._ending is None:
            self._ending = f"{self._unlucky} measurements in a row were refused or failed; the last: {reason}"

    def _abandon(self, reason: str) -> list[Command]:
        if self._finished:
            return []
        for name, record in self._records.items():
            if record.state == "proposed":
                self._records[name] = replace(record, state="abandoned", reason=reason)
        self._finished = True
        self._ending = reason
        return [Finish(reason)]

    def _next_commands(self) -> list[Command]:
        if self._finished or not self._started:
            return []
        commands: list[Command] = []
        while self._has_room():
            suggestion = self._policy.suggest(self._taken())
            if suggestion is None:
                self._ending = "no candidate is left: each was measured, refused or failed"
                break
            name = f"{self._prefix}{len(self._records):04d}"
            self._records[name] = Record(name, suggestion)
            commands.append(Measure(name, suggestion))
        if self._ending is not None and not self._in_flight():
            self._finished = True
            commands.append(Finish(self._ending))
        return commands

    def _has_room(self) -> bool:
        in_flight = self._in_flight()
        points = self._stop.points
        wanted = self._width if points is None else min(self._width, points - self._progress.points)
        return self._ending is None and not self._paused and in_flight < wanted

    def _in_flight(self) -> int:
        return sum(record.state == "proposed" for record in self._records.values())

    def _taken(self) -> tuple[int, ...]:
        return tuple(r.suggestion.candidate for r in self._records.values() if r.state != "done")
