from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from beamloop.active_learning import Progress, StopRules
from beamloop.core import Prediction

BELIEF = Prediction(np.zeros(3), np.array([0.1, 0.4, 0.2]))


@pytest.mark.parametrize(
    ("rules", "progress", "reason"),
    [
        (StopRules(), Progress(points=10**6, electrons=1e30, duration_s=1e9), None),
        (StopRules(points=5), Progress(points=4), None),
        (StopRules(points=5), Progress(points=5), "5 of 5 points measured"),
        (StopRules(dose_electrons=1e6), Progress(electrons=9.9e5), None),
        (
            StopRules(dose_electrons=1e6),
            Progress(electrons=1e6),
            "dose of 1e+06 electrons reached the budget of 1e+06",
        ),
        (StopRules(time_s=60), Progress(duration_s=59.9), None),
        (StopRules(time_s=60), Progress(duration_s=61.5), "61.5 s of measuring reached the budget of 60 s"),
        (
            StopRules(points=5, time_s=60),
            Progress(points=1, duration_s=60),
            "60 s of measuring reached the budget of 60 s",
        ),
    ],
)
def test_each_budget_ends_the_run_when_it_is_used_up(rules: StopRules, progress: Progress, reason: str | None) -> None:
    assert rules.reached(progress, None) == reason


@pytest.mark.parametrize(
    ("span", "closed", "is_reached"),
    [(4.0, frozenset(), True), (3.9, frozenset(), False), (2.0, frozenset({1}), True), (0.0, frozenset(), False)],
)
def test_uncertainty_is_the_largest_open_std_in_ranges(span: float, closed: frozenset[int], is_reached: bool) -> None:
    reason = StopRules(uncertainty=0.1).reached(Progress(points=2, span=span), BELIEF, closed)
    assert (reason is not None) == is_reached


def test_uncertainty_never_stops_a_policy_without_belief() -> None:
    assert StopRules(uncertainty=10.0).reached(Progress(points=2, span=1.0), None) is None


@pytest.mark.parametrize("wrong", [{"points": 0}, {"time_s": -1.0}, {"dose_electrons": float("inf")}, {"pionts": 3}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        StopRules.model_validate(wrong)
