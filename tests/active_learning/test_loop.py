from __future__ import annotations

import math

import numpy as np
import pytest

from beamloop.active_learning import (
    ContinueAsked,
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
    StopRules,
)
from beamloop.active_learning.loop import Closed
from beamloop.active_learning.policy import grid, random
from beamloop.core import Measurement, Pool, Prediction, SettingsInvalid, Suggestion, UnknownName


def pool_of(side: int) -> Pool:
    steps = np.arange(side) * 1e-9
    return Pool(np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2), shape=(side, side))


def measurement(command: Measure, value: float = 1.0, **cost: float) -> Measurement:
    s = command.suggestion
    return Measurement(
        measurement_id=command.measurement_id, candidate=s.candidate, position=s.position, value=value, **cost
    )


def finishes(commands: list) -> list[str]:
    return [command.reason for command in commands if isinstance(command, Finish)]


def schedule(seed: int) -> list:
    """Drive one loop through random news until it finishes; check the invariants; return all commands."""
    rng = np.random.default_rng(seed)
    ahead, points = int(rng.integers(0, 4)), int(rng.integers(1, 25))
    loop = Loop(random(pool_of(5), seed), StopRules(points=points), ahead=ahead, patience=6)
    odds = rng.dirichlet([6, 1, 1])
    said = list(loop.start())
    in_flight = [c for c in said if isinstance(c, Measure)]
    stopped, paused = False, False
    for _ in range(400):
        if finishes(said):
            break
        event = None
        dice = rng.random()
        if dice < 0.05:
            event, paused = PauseAsked(), True
        elif dice < 0.15 or not in_flight:
            event, paused = ContinueAsked(), False
        elif dice < 0.155:
            event, stopped = StopAsked("a person said so"), True
        else:
            # News may come in any order: the instrument's, the network's or a journal's.
            command = in_flight.pop(int(rng.integers(len(in_flight))))
            kind = rng.choice(3, p=odds)
            event = (
                Measured(measurement(command, float(rng.normal())))
                if kind == 0
                else (Refused, Failed)[kind - 1](command.measurement_id, "out of reach")
            )
        new = loop.handle(event)
        assert not (paused and any(isinstance(c, Measure) for c in new))
        said += new
        in_flight += [c for c in new if isinstance(c, Measure)]
        assert len(in_flight) <= 1 + ahead
        assert [r.measurement_id for r in loop.records if r.state == "proposed"] == (
            [] if stopped else sorted(c.measurement_id for c in in_flight)
        )
        assert loop.progress.points <= points
    assert len(finishes(said)) == 1
    assert isinstance(said[-1], Finish)
    assert stopped or not in_flight
    measures = [c for c in said if isinstance(c, Measure)]
    assert len({c.suggestion.candidate for c in measures}) == len(measures)
    assert [c.measurement_id for c in measures] == [f"m{i:04d}" for i in range(len(measures))]
    assert tuple(r.suggestion for r in loop.records) == tuple(c.suggestion for c in measures)
    for event in (PauseAsked(), ContinueAsked(), StopAsked("again"), *(Failed(c.measurement_id, "") for c in measures)):
        assert loop.handle(event) == []
    return said


def test_what_was_interrupted_is_charged_and_asked_for_again_under_a_new_name() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=3), ahead=0)
    first = loop.start()[0]
    assert isinstance(first, Measure)
    again = loop.handle(Interrupted(first.measurement_id, "the driver died", electrons=7.0, duration_s=0.5))
    assert again == [Measure("m0000-2", first.suggestion)]
    assert (loop.progress.points, loop.progress.electrons, loop.progress.duration_s) == (0, 7.0, 0.5)
    third = loop.handle(Interrupted("m0000-2", "and again", electrons=7.0))
    assert third == [Measure("m0000-3", first.suggestion)]
    assert loop.handle(Measured(measurement(third[0], electrons=2.0)))[0].measurement_id == "m0001"
    assert [(r.measurement_id, r.state) for r in loop.records] == [
        ("m0000", "interrupted"), ("m0000-2", "interrupted"), ("m0000-3", "done"), ("m0001", "proposed"),
    ]  # fmt: skip
    assert loop.progress.electrons == 16.0


def test_closed_candidates_are_never_asked_for_and_when_no_other_is_left_the_run_ends() -> None:
    loop = Loop(random(pool_of(3), 0), StopRules(points=9), ahead=0)
    first = loop.start()[0]
    assert isinstance(first, Measure)
    closed = tuple({0, 2, 4, 6, 8} - {first.suggestion.candidate})
    assert loop.handle(Closed(closed)) == []
    said = loop.handle(Measured(measurement(first)))
    asked = [first]
    while isinstance(said[0], Measure):
        asked.append(said[0])
        said = loop.handle(Measured(measurement(asked[-1])))
    assert {command.suggestion.candidate for command in asked} == set(range(9)) - set(closed)
    assert len(finishes(said)) == 1
    assert "no candidate is left" in finishes(said)[0]


def test_a_candidate_that_is_closed_while_it_is_measured_is_taken_in_all_the_same() -> None:
    loop = Loop(random(pool_of(3), 0), StopRules(points=9), ahead=0)
    first = loop.start()[0]
    assert isinstance(first, Measure)
    loop.handle(Closed((first.suggestion.candidate,)))
    (second,) = loop.handle(Measured(measurement(first)))
    assert isinstance(second, Measure)
    assert second.suggestion.candidate != first.suggestion.candidate
    assert loop.progress.points == 1


def test_a_repetition_is_asked_for_although_the_run_is_about_to_end() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(dose_electrons=5.0), ahead=1)
    one, two = loop.start()
    assert loop.handle(Measured(measurement(one, electrons=6.0))) == []
    assert loop.handle(Interrupted(two.measurement_id, "cut off")) == [Measure("m0001-2", two.suggestion)]
    assert finishes(loop.handle(Measured(measurement(Measure("m0001-2", two.suggestion)))))


@pytest.mark.parametrize("points", [6, None])
def test_a_stopped_run_goes_on_with_what_it_had_in_flight(points: int | None) -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=points), ahead=1)
    one, two = loop.start()
    loop.handle(Measured(measurement(one)))
    loop.handle(StopAsked("the server died"))
    assert [r.state for r in loop.records] == ["done", "abandoned", "abandoned"]
    assert loop.handle(ResumeAsked()) == []
    assert [r.state for r in loop.records] == ["done", "proposed", "proposed"]
    new = loop.handle(Measured(measurement(two)))
    assert [c.measurement_id for c in new] == ["m0003"]


def test_resuming_what_has_finished_by_its_rule_finishes_it_again() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=1), ahead=0)
    assert finishes(loop.handle(Measured(measurement(loop.start()[0]))))
    assert finishes(loop.handle(ResumeAsked())) == ["1 of 1 points measured"]


def test_a_step_costs_the_same_after_many() -> None:
    """A journal of 100,000 events is fed through a loop; nothing in it may look at all that went before."""

    class Counting(dict):
        looked = 0

        def __iter__(self):  # pragma: no cover -- must not be called
            Counting.looked += 1
            return super().__iter__()

        def values(self):
            Counting.looked += 1
            return super().values()

        def items(self):
            Counting.looked += 1
            return super().items()

    loop = Loop(random(pool_of(10), 0), StopRules(points=50), ahead=1)
    loop._records = Counting()
    queue = loop.start()
    while queue and isinstance(command := queue.pop(0), Measure):
        queue += loop.handle(Measured(measurement(command)))
    assert loop.progress.points == 50
    assert Counting.looked == 0


@pytest.mark.parametrize("block", range(8))
def test_random_schedules_keep_every_promise_and_repeat_exactly(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        assert schedule(seed) == schedule(seed)


def test_start_issues_one_and_those_ahead_and_only_once() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(), ahead=2)
    assert [c.measurement_id for c in loop.start()] == ["m0000", "m0001", "m0002"]
    assert loop.start() == []


def test_start_issues_no_more_than_the_points_asked_for() -> None:
    assert len(Loop(random(pool_of(4), 0), StopRules(points=2), ahead=5).start()) == 2


def test_points_are_never_overshot_and_failures_are_made_up_for() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=2), ahead=1)
    first, second = loop.start()
    (third,) = loop.handle(Failed(first.measurement_id, "dark"))
    assert loop.handle(Measured(measurement(second))) == []
    assert finishes(loop.handle(Measured(measurement(third)))) == ["2 of 2 points measured"]
    assert [r.state for r in loop.records] == ["failed", "done", "done"]
    assert loop.records[0].reason == "dark"
    assert loop.records[1].measurement == measurement(second)


def test_dose_reached_lets_the_one_in_flight_end_first() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(dose_electrons=10.0), ahead=1)
    first, second = loop.start()
    assert loop.handle(Measured(measurement(first, electrons=12.0, duration_s=1.0))) == []
    (end,) = loop.handle(Measured(measurement(second, electrons=12.0, duration_s=1.0)))
    assert end == Finish("dose of 12 electrons reached the budget of 10")
    assert loop.progress.electrons == 24.0


def test_stop_abandons_what_is_in_flight_and_its_late_news_commands_nothing() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(), ahead=1)
    first, second = loop.start()
    assert loop.handle(StopAsked("lunch")) == [Finish("lunch")]
    assert loop.handle(Measured(measurement(first))) == []
    assert [(r.state, r.reason) for r in loop.records] == [("done", ""), ("abandoned", "lunch")]
    assert loop.progress.points == 1
    assert second.measurement_id == "m0001"


def test_pause_lets_what_is_in_flight_end_and_continue_fills_up_again() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(), ahead=1)
    first, second = loop.start()
    assert loop.handle(PauseAsked()) == []
    assert loop.handle(Measured(measurement(first))) == []
    assert loop.handle(Measured(measurement(second))) == []
    assert len(loop.handle(ContinueAsked())) == 2


def test_a_rule_reached_while_paused_ends_the_run() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=1), ahead=0)
    (first,) = loop.start()
    loop.handle(PauseAsked())
    assert finishes(loop.handle(Measured(measurement(first)))) == ["1 of 1 points measured"]


def test_an_exhausted_pool_ends_the_run_with_that_reason() -> None:
    loop = Loop(grid(pool_of(2), 0), StopRules(), ahead=7)
    commands = loop.start()
    assert len(commands) == 4
    for command in commands[:3]:
        assert loop.handle(Measured(measurement(command))) == []
    assert loop.handle(Measured(measurement(commands[3]))) == [
        Finish("no candidate is left: each was measured, refused or failed")
    ]


def test_refusals_in_a_row_end_the_run_instead_of_spinning() -> None:
    loop = Loop(random(pool_of(10), 0), StopRules(), ahead=0, patience=3)
    commands = loop.start()
    for _ in range(2):
        commands = loop.handle(Refused(commands[0].measurement_id, "outside the limits"))
    assert loop.handle(Failed(commands[0].measurement_id, "dark")) == [
        Finish("3 measurements in a row were refused or failed; the last: dark")
    ]


def test_a_success_forgives_the_refusals_before_it() -> None:
    loop = Loop(random(pool_of(10), 0), StopRules(), ahead=0, patience=2)
    commands = loop.start()
    for _ in range(4):
        commands = loop.handle(Refused(commands[0].measurement_id, "no"))
        commands = loop.handle(Measured(measurement(commands[0])))
    assert isinstance(commands[0], Measure)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_a_failure(value: float) -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(points=1), ahead=0)
    (command,) = loop.start()
    broken = Measurement.model_construct(**{**measurement(command).model_dump(), "value": value})
    (again,) = loop.handle(Measured(broken))
    assert again.suggestion.candidate != command.suggestion.candidate
    assert loop.records[0].state == "failed"
    assert loop.records[0].reason == f"its value is {value}"
    assert loop.progress.points == 0


def test_news_of_an_unknown_measurement_is_an_error() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(), prefix="run7-")
    loop.start()
    with pytest.raises(UnknownName, match=r"'m0000'.*'run7-0001'"):
        loop.handle(Failed("m0000", ""))


def test_news_told_twice_counts_once() -> None:
    loop = Loop(random(pool_of(4), 0), StopRules(), ahead=0)
    (command,) = loop.start()
    assert len(loop.handle(Measured(measurement(command)))) == 1
    assert loop.handle(Measured(measurement(command))) == []
    assert loop.progress.points == 1


@pytest.mark.parametrize("wrong", [{"ahead": -1}, {"patience": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsInvalid, match=r"-1|0"):
        Loop(random(pool_of(4), 0), StopRules(), **wrong)


class Certain:
    """A policy that is sure of everything except one candidate, which it visits last but one."""

    def __init__(self) -> None:
        self.doubt = np.array([1.0, 1.0, 1.0, 1.0])

    def observe(self, measurement: Measurement) -> None:
        self.doubt[measurement.candidate] = 0.0

    def suggest(self, taken: tuple[int, ...], closed: tuple[int, ...] = ()) -> Suggestion | None:
        left = [i for i in range(4) if self.doubt[i] and i not in taken]
        return Suggestion(candidate=left[0], position=(0.0, 0.0), why="") if left else None

    def belief(self) -> Prediction:
        return Prediction(np.zeros(4), self.doubt.copy())


def test_uncertainty_counts_only_candidates_still_open() -> None:
    policy = Certain()
    policy.doubt[3] = 0.01
    loop = Loop(policy, StopRules(uncertainty=0.01), ahead=0)
    (command,) = loop.start()
    (command,) = loop.handle(Measured(measurement(command, 0.0)))
    (command,) = loop.handle(Failed(command.measurement_id, "dark"))
    # Candidate 1 failed and stays in doubt for ever; only candidate 3 is open.
    (end,) = loop.handle(Measured(measurement(command, 2.0)))
    assert end == Finish("largest uncertainty is 0.005 of the range of values, within the 0.01 asked for")
