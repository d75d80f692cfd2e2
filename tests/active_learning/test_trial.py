from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pytest

from beamloop.active_learning.policy import gp_coordinates, random
from beamloop.active_learning.trial import KnownMap, quartiles, trial, visits
from beamloop.core import FrameShapeWrong, Measurement, NotEnoughData, Pool, Prediction, Suggestion

POOL = Pool(np.stack([np.arange(10.0), np.zeros(10)], axis=1))
TRUTH = np.array([2.0, 0.0, 4.0, 6.0, 10.0, 8.0, 1.0, 3.0, 5.0, 7.0])


class Walk:
    """Visits 0, 1, 2, ... and believes that every place is as high as the last one measured."""

    def __init__(self) -> None:
        self.seen: list[Measurement] = []

    def observe(self, measurement: Measurement) -> None:
        self.seen.append(measurement)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        shut = {m.candidate for m in self.seen} | set(taken) | set(closed)
        left = [i for i in range(10) if i not in shut]
        return Suggestion(candidate=left[0], position=(float(left[0]), 0.0), why="next") if left else None

    def belief(self) -> Prediction | None:
        return Prediction(np.full(10, self.seen[-1].value), np.ones(10)) if len(self.seen) > 1 else None


def test_regret_is_what_the_best_place_so_far_lacks_of_the_range() -> None:
    found = trial(KnownMap(POOL, TRUTH), Walk(), 6)
    np.testing.assert_array_equal(found.candidates, range(6))
    np.testing.assert_allclose(found.regret, [0.8, 0.8, 0.6, 0.4, 0.0, 0.0])
    assert found.area == pytest.approx(2.6 / 6)
    assert [found.needed(tolerance) for tolerance in (0.0, 0.4, 0.9)] == [5, 4, 1]
    assert trial(KnownMap(POOL, TRUTH), Walk(), 4).needed(0.02) == math.inf


def test_the_map_is_judged_where_nothing_was_measured_and_only_where_there_is_a_belief() -> None:
    found = trial(KnownMap(POOL, TRUTH), Walk(), 10)
    by_hand = np.sqrt(np.mean((TRUTH[3:] - 4.0) ** 2)) / TRUTH.std()
    assert found.map_error[2] == pytest.approx(by_hand)
    assert math.isnan(found.map_error[0])
    assert math.isnan(found.map_error[9])


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_place_without_a_value_fails_and_counts_nowhere(ahead: int) -> None:
    truth = np.where(np.isin(np.arange(10), (0, 2, 4)), np.nan, TRUTH)
    found = trial(KnownMap(POOL, truth), Walk(), 99, ahead=ahead)
    np.testing.assert_array_equal(found.candidates, [1, 3, 5, 6, 7, 8, 9])
    np.testing.assert_allclose(found.regret[:3], [1.0, 0.25, 0.0])


def test_noise_is_the_same_for_every_policy_and_order_and_the_regret_is_of_the_truth() -> None:
    known = KnownMap(POOL, TRUTH, std=0.5, noise=0.5)
    first, second = Walk(), Walk()
    found = trial(known, first, 10, seed=3)
    trial(known, second, 10, seed=3, ahead=4)
    by_place = [sorted((m.candidate, m.value) for m in walk.seen) for walk in (first, second)]
    assert by_place[0] == by_place[1]
    assert found.regret[4] == 0.0
    assert {m.std for m in first.seen} == {0.5}
    values = np.array([m.value for m in first.seen])
    assert 0.1 < (values - TRUTH).std() < 1.0
    other = Walk()
    trial(known, other, 10, seed=4)
    assert other.seen[0].value != first.seen[0].value


def test_a_map_without_noise_gives_the_value_itself() -> None:
    walk = Walk()
    trial(KnownMap(POOL, TRUTH), walk, 10)
    assert [m.value for m in walk.seen] == TRUTH.tolist()
    assert {m.std for m in walk.seen} == {None}


def test_a_trial_is_the_path_that_the_policy_takes_alone() -> None:
    steps = np.linspace(0.0, 1.0, 8)
    pool = Pool(np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2))
    truth = np.sin(5 * pool.positions[:, 0]) * pool.positions[:, 1]
    alone, path = gp_coordinates(pool, 2), []
    for number in range(20):
        place = alone.suggest(())
        assert place is not None
        row = place.candidate
        path.append(row)
        alone.observe(
            Measurement(measurement_id=str(number), candidate=row, position=place.position, value=float(truth[row]))
        )
    assert trial(KnownMap(pool, truth), gp_coordinates(pool, 2), 20, ahead=0).candidates.tolist() == path


def test_who_stops_asking_ends_the_loop() -> None:
    walk = Walk()
    for measurement in visits(KnownMap(POOL, TRUTH).answers(0), walk, 10, ahead=0):
        if measurement.value == 6.0:
            break
    assert len(walk.seen) == 4


def test_quartiles_are_numpys_where_all_got_there_and_infinite_where_too_few_did() -> None:
    curves = np.random.default_rng(0).normal(size=(11, 5))
    found = quartiles(list(curves))
    np.testing.assert_allclose((found.low, found.median, found.high), np.percentile(curves, [25, 50, 75], axis=0))
    most = quartiles([1.0, 2.0, 3.0, math.inf])
    assert (float(most.low), float(most.median), float(most.high)) == (1.75, 2.5, math.inf)
    assert np.isnan(quartiles([math.nan, math.nan]).median)


def test_random_needs_as_many_as_chance_says() -> None:
    known = KnownMap(POOL, TRUTH)
    needed = [trial(known, random(POOL, seed), 10).needed(0.0) for seed in range(400)]
    # The place of the maximum in a random order of m is uniform: mean (m + 1) / 2, variance (m^2 - 1) / 12.
    assert abs(np.mean(needed) - 5.5) < 4 * math.sqrt(99 / 12 / 400)


def test_a_map_on_which_nothing_can_be_compared_is_refused() -> None:
    with pytest.raises(FrameShapeWrong, match="does not fit 10 candidates"):
        KnownMap(POOL, TRUTH[:9])
    for truth in (np.full(10, 3.0), np.full(10, np.nan)):
        with pytest.raises(NotEnoughData, match="cannot be compared"):
            KnownMap(POOL, truth)
