"""A run as it is told: journal and run file put together, for the report and for `/run`.

Pure data: the journal says what was decided and why, the run file what was seen. Nothing
here knows how either is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...core import Measurement, Pool, Prediction, RecordingUnreadable, Signal
from ..experiment import Experiment
from .events import (
    Acquired,
    Arrived,
    Clocked,
    Closed,
    Commanded,
    Declined,
    Described,
    Ended,
    Installed,
    Interrupted,
    Intervened,
    Noted,
    Opened,
    Resumed,
)
from .journal import Entry

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run file holds beside the raw frames.

    Attributes
    ----------
    pool
        The candidates.
    overview
        The first picture; None if there was none.
    belief
        The last belief over the pool; None where the policy has none.
    truth
        The noise-free property at every candidate, shape (m,); None where nobody knows it.
    best_frame
        What the detector gave at the best place; None before anything was measured.
    dose
        The dose on the specimen at the end, over the field of view, electrons per square nanometre, from everything
        that was ever done there; None where nobody counts it.
    notes
        What a reader should know of these: what is missing, rebuilt or not as the journal says.
    """

    pool: Pool
    overview: Signal | None = None
    belief: Prediction | None = None
    truth: NDArray[np.float64] | None = None
    best_frame: Signal | None = None
    dose: Signal | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One suggestion and what became of it: an arrival, a refusal or failure, a cut, or nothing (abandoned)."""

    commanded: Commanded
    time_s: float
    arrived: Arrived | None = None
    declined: Declined | None = None
    interrupted: Interrupted | None = None

    @property
    def outcome(self) -> str:
        """`done`, `refused`, `failed`, `interrupted` (and repeated under another name) or `abandoned`."""
        if self.arrived is not None:
            return "done"
        if self.interrupted is not None:
            return "interrupted"
        return "abandoned" if self.declined is None else self.declined.outcome


@dataclass(frozen=True, slots=True)
class Story:
    """One run from its question to its answer.

    Attributes
    ----------
    opened, described, installed, ended
        The events of those kinds, the last of each; `ended` is None if the run, or its last resumption, never
        came to its end.
    experiment
        What was asked, with what the command line changed.
    steps
        In the order of asking.
    interventions, notes, resumptions, interruptions
        What people and the guard did, what a reader should know, when the run went on after it was cut off, and
        what was cut off, with the time of each.
    duration_s
        Wall seconds from the first event to the last.
    acquired
        The scans that were no steps, overview and truth, with the time of each.
    closings
        Candidates that were closed without being measured, for want of dose, with the time of each.
    clocks
        By how much the instrument's time of day was ahead, each time it was measured.
    """

    opened: Opened
    described: Described
    installed: Installed
    experiment: Experiment
    steps: tuple[Step, ...]
    interventions: tuple[tuple[float, Intervened], ...]
    notes: tuple[tuple[float, Noted], ...]
    ended: Ended | None
    duration_s: float
    acquired: tuple[tuple[float, Acquired], ...] = ()
    resumptions: tuple[tuple[float, Resumed], ...] = ()
    interruptions: tuple[tuple[float, Interrupted], ...] = ()
    closings: tuple[tuple[float, Closed], ...] = ()
    clocks: tuple[tuple[float, Clocked], ...] = ()

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Every finished measurement, in the order of arrival."""
        return tuple(step.arrived.measurement for step in self.steps if step.arrived is not None)

    @property
    def electrons(self) -> float:
        """Electrons that measuring brought to the specimen, with what interrupted measurements are charged."""
        charged = sum(event.electrons for _, event in self.interruptions)
        return charged + sum(measurement.electrons for measurement in self.measurements)

    @property
    def best(self) -> Measurement | None:
        """The measurement of the largest value; None before anything was measured."""
        return max(self.measurements, key=lambda m: m.value, default=None)


def story_of(entries: Iterable[Entry]) -> Story:
    """Return the story that a journal tells.

    Raises
    ------
    RecordingUnreadable
        If the run ended before it was set up, so that there is nothing to tell.
    """
    found = list(entries)
    opened, described, installed = _last(found, Opened), _last(found, Described), _last(found, Installed)
    if opened is None or described is None or installed is None:
        kinds = ", ".join(entry.event.kind for entry in found) or "none"
        raise RecordingUnreadable(f"the run ended before its loop was set up; the journal's events are: {kinds}")
    return Story(
        opened=opened,
        described=described,
        installed=installed,
        experiment=Experiment.model_validate(opened.settings),
        steps=_steps(found),
        interventions=_timed(found, Intervened),
        notes=_timed(found, Noted),
        ended=_ended(found),
        duration_s=found[-1].time_s - found[0].time_s,
        acquired=_timed(found, Acquired),
        resumptions=_timed(found, Resumed),
        interruptions=_timed(found, Interrupted),
        closings=_timed(found, Closed),
        clocks=_timed(found, Clocked),
    )


def _timed(entries: list[Entry], kind: type[Kind]) -> tuple[tuple[float, Kind], ...]:
    return tuple((e.time_s, e.event) for e in entries if isinstance(e.event, kind))


def _ended(entries: list[Entry]) -> Ended | None:
    last = next((e.event for e in reversed(entries) if isinstance(e.event, (Ended, Resumed))), None)
    return last if isinstance(last, Ended) else None


def _last(entries: list[Entry], kind: type[Kind]) -> Kind | None:
    return next((e.event for e in reversed(entries) if isinstance(e.event, kind)), None)


def _steps(entries: list[Entry]) -> tuple[Step, ...]:
    arrived = {e.event.measurement.measurement_id: e.event for e in entries if isinstance(e.event, Arrived)}
    declined = {e.event.measurement_id: e.event for e in entries if isinstance(e.event, Declined)}
    interrupted = {e.event.measurement_id: e.event for e in entries if isinstance(e.event, Interrupted)}
    return tuple(
        Step(
            e.event,
            e.time_s,
            arrived.get(e.event.measurement_id),
            declined.get(e.event.measurement_id),
            interrupted.get(e.event.measurement_id),
        )
        for e in entries
        if isinstance(e.event, Commanded)
    )
