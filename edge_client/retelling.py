"""Tell a loop what its journal says, so that it stands where the run stood when it was cut off.

The journal is followed, not asked again: while it says what was suggested, that is what
is suggested, and the policy only learns. So a run goes on also where another version of a
package would decide otherwise in the last digit; `replaying` tells whether it would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..active_learning.loop import (
    REPEAT,
    Closed,
    Command,
    ContinueAsked,
    Event,
    Failed,
    Finish,
    Interrupted,
    Loop,
    Measure,
    Measured,
    PauseAsked,
    Refused,
    ResumeAsked,
    StopAsked,
)
from ..core import Measurement, Policy, Prediction, Suggestion
from .record import events
from .record.journal import Entry


class Script:
    """A policy that suggests what a journal says was suggested, and what it would itself once that is told.

    Parameters
    ----------
    policy
        Learns from everything that is observed, and decides when the script has ended.
    suggestions
        What was suggested, in the order of asking.
    """

    def __init__(self, policy: Policy, suggestions: Iterable[Suggestion] = ()) -> None:
        self._policy, self._suggestions = policy, deque(suggestions)

    def observe(self, measurement: Measurement) -> None:
        """Let the policy learn."""
        self._policy.observe(measurement)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        """Return the next line of the script, or what the policy chooses where it has ended."""
        return self._suggestions.popleft() if self._suggestions else self._policy.suggest(taken, closed)

    def belief(self) -> Prediction | None:
        """Return the policy's belief."""
        return self._policy.belief()


@dataclass(frozen=True, slots=True)
class Retold:
    """Where a loop stands when its journal has been told.

    Attributes
    ----------
    asked
        Every measurement that the journal says was asked for, by name, in the order of asking.
    unsettled
        Those of them whose end it does not tell.
    commands
        What the loop says beyond the journal: the run was cut off before it was written down.
    """

    asked: dict[str, events.Commanded]
    unsettled: tuple[events.Commanded, ...]
    commands: tuple[Command, ...]


def suggestions(entries: Iterable[Entry]) -> list[Suggestion]:
    """Return what a journal says was suggested, in order; a repetition was not suggested anew."""
    asked = (e.event for e in entries if isinstance(e.event, events.Commanded))
    return [event.suggestion for event in asked if REPEAT not in event.measurement_id]


def retell(loop: Loop, entries: Sequence[Entry]) -> Retold:
    """Start a loop, tell it everything that its journal says, and return where it then stands."""
    asked = {e.event.measurement_id: e.event for e in entries if isinstance(e.event, events.Commanded)}
    begun = next((i for i, e in enumerate(entries) if isinstance(e.event, events.Commanded)), len(entries))
    # What was closed before the first decision must be known to it.
    for entry in entries[:begun]:
        if isinstance(entry.event, events.Closed):
            loop.handle(Closed(entry.event.candidates))
    finish = _finish(loop.start())
    for entry in entries:
        event = loop_event(entry.event)
        # A side scan can be interrupted too, but is no step of the loop.
        if event is None or (isinstance(event, Interrupted) and event.measurement_id not in asked):
            continue
        said = _finish(loop.handle(event))
        finish = said or (None if isinstance(event, ResumeAsked) else finish)
    left = [record for record in loop.records if record.state == "proposed"]
    beyond = [Measure(r.measurement_id, r.suggestion) for r in left if r.measurement_id not in asked]
    return Retold(
        asked=asked,
        unsettled=tuple(asked[r.measurement_id] for r in left if r.measurement_id in asked),
        commands=(*beyond, *([] if finish is None else [finish])),
    )


def loop_event(event: events.Event) -> Event | None:
    """Return what an event of the journal means to the loop; None for one that enters no decision."""
    match event:
        case events.Arrived(measurement=measurement):
            return Measured(measurement)
        case events.Declined(outcome="refused"):
            return Refused(event.measurement_id, f"{event.error}: {event.message}")
        case events.Declined():
            return Failed(event.measurement_id, f"{event.error}: {event.message}")
        case events.Closed(candidates=candidates):
            return Closed(candidates)
        case events.Interrupted():
            return Interrupted(event.measurement_id, event.reason, event.electrons, event.duration_s)
        case events.Intervened(word="stop"):
            return StopAsked(event.reason)
        case events.Intervened(word="pause"):
            return PauseAsked()
        case events.Intervened():
            return ContinueAsked()
        case events.Resumed():
            return ResumeAsked()
    return None


def _finish(commands: Sequence[Command]) -> Finish | None:
    return next((command for command in commands if isinstance(command, Finish)), None)
