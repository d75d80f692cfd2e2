"""A journal cut off anywhere puts a loop where it stood, and going on gives what an uninterrupted run gives."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from beamloop.active_learning.loop import Finish, Loop, Measure
from beamloop.active_learning.stopping import StopRules
from beamloop.core import Measurement, Prediction, Suggestion
from beamloop.edge_client.record.events import (
    Arrived,
    Budget,
    Commanded,
    Declined,
    Event,
    Interrupted,
    Intervened,
    Resumed,
)
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.retelling import Script, loop_event, retell, suggestions

NO_TIME = Budget(wait_s=0, move_s=0, acquire_s=0, produce_s=0, transfer_s=0, reduce_s=0, store_s=0)
POINTS = 12


class Learner:
    """Decides by everything it has learnt, in its order: a policy without the cost of one."""

    def __init__(self, seed: int) -> None:
        self._state, self._measured = float(seed), set[int]()

    def observe(self, measurement: Measurement) -> None:
        self._state = 0.7 * self._state + measurement.value
        self._measured.add(measurement.candidate)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        left = sorted(set(range(36)) - self._measured - set(taken) - set(closed))
        candidate = left[int(abs(self._state) * 1e6) % len(left)]
        return Suggestion(candidate=candidate, position=(float(candidate), 0.0), why=f"{self._state}")

    def belief(self) -> Prediction | None:
        return None


def new_loop(script: list[Suggestion]) -> Loop:
    return Loop(Script(Learner(3), script), StopRules(points=POINTS), ahead=1)


def value_at(candidate: int) -> float:
    return float(np.sin(candidate / 3.0) + candidate / 20.0)


def commanded(command: Measure, step: int) -> Commanded:
    return Commanded(
        step=step, measurement_id=command.measurement_id, request_id=f"me/{command.measurement_id}",
        suggestion=command.suggestion, decide_s=0.0, react_s=0.0,
    )  # fmt: skip


def outcome(asked: Commanded, step: int) -> Event:
    """The fourth place is refused, the seventh fails, the ninth is cut off once; the rest give a value."""
    name, candidate = asked.measurement_id, asked.suggestion.candidate
    if step == 3:
        return Declined(measurement_id=name, outcome="refused", error="LimitRefused", message="too far")
    if step == 6:
        return Declined(measurement_id=name, outcome="failed", error="DriverFailed", message="a cough")
    if name == "m0008":
        return Interrupted(measurement_id=name, reason="cut off", electrons=5.0, duration_s=0.1, estimated=True)
    measured = Measurement(
        measurement_id=name, candidate=candidate, position=asked.suggestion.position, value=value_at(candidate),
        std=0.01, electrons=10.0,
    )  # fmt: skip
    return Arrived(measurement=measured, scan_id=f"s{name}", budget=NO_TIME)


def whole_run() -> list[Event]:
    """Return the journal of a run that nobody interrupted: one measurement ahead, in order."""
    loop, events, queue = new_loop([]), [], []
    said = loop.start()
    while True:
        for command in said:
            if isinstance(command, Finish):
                return events
            events.append(commanded(command, sum(isinstance(e, Commanded) for e in events)))
            queue.append(events[-1])
        asked = queue.pop(0)
        events.append(outcome(asked, asked.step))
        meant = loop_event(events[-1])
        assert meant is not None
        said = loop.handle(meant)


def entries_of(events: list[Event]) -> list[Entry]:
    return [Entry(seq, float(seq), event) for seq, event in enumerate(events, start=1)]


@pytest.fixture(scope="module")
def run() -> list[Event]:
    return whole_run()


def test_the_run_holds_what_is_to_be_survived(run: list[Event]) -> None:
    kinds = [type(event).__name__ for event in run]
    assert kinds.count("Arrived") == POINTS
    assert (kinds.count("Declined"), kinds.count("Interrupted")) == (2, 1)


def test_a_journal_cut_off_anywhere_goes_on_to_the_same_end(run: list[Event]) -> None:
    for cut in range(len(run) + 1):
        events = run[:cut]
        events.append(Resumed(instrument="here", started="", versions={}))
        entries = entries_of(events)
        loop = new_loop(suggestions(entries))
        told = retell(loop, entries)
        queue, said = list(told.unsettled), list(told.commands)
        while not any(isinstance(command, Finish) for command in said):
            for command in said:
                assert isinstance(command, Measure)
                events.append(commanded(command, sum(isinstance(e, Commanded) for e in events)))
                queue.append(events[-1])
            asked = queue.pop(0)
            events.append(outcome(asked, asked.step))
            meant = loop_event(events[-1])
            assert meant is not None
            said = loop.handle(meant)
        without = [event for event in events if not isinstance(event, Resumed)]
        key = lambda e: e.model_dump_json()  # noqa: E731
        assert sorted(map(key, without)) == sorted(map(key, run)), f"cut after {cut} events"


def test_a_stopped_run_takes_up_what_it_had_in_flight(run: list[Event]) -> None:
    cut = next(i for i, event in enumerate(run) if isinstance(event, Arrived)) + 1
    stopped = [*run[:cut], Intervened(word="stop", reason="the server died")]
    told = retell(new_loop(suggestions(entries_of(stopped))), entries_of(stopped))
    assert [type(command) for command in told.commands] == [Finish]
    assert told.unsettled == ()
    resumed = entries_of([*stopped, Resumed(instrument="here", started="", versions={})])
    told = retell(new_loop(suggestions(resumed)), resumed)
    assert [asked.measurement_id for asked in told.unsettled] == ["m0001"]
    assert [type(command) for command in told.commands] == [Measure]


def test_the_journal_is_followed_also_where_the_policy_would_decide_otherwise(run: list[Event]) -> None:
    entries = entries_of(run)
    loop = Loop(Script(Learner(99), suggestions(entries)), StopRules(points=POINTS), ahead=1)
    told = retell(loop, entries)
    assert [type(command) for command in told.commands] == [Finish]
    assert [record.suggestion.candidate for record in loop.records] == [
        event.suggestion.candidate for event in run if isinstance(event, Commanded)
    ]
