"""The contract of `core.Surrogate`: every surrogate passes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from beamloop.active_learning.deep_kernel import DeepKernel
from beamloop.active_learning.fine_tuning import FineTuning
from beamloop.active_learning.hyperparameters import Hyperparameters, feature_kernel, position_kernel
from beamloop.active_learning.pool_gp import PoolGP
from beamloop.core import NotEnoughData, Surrogate

POINTS = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9), indexing="ij"), axis=-1).reshape(-1, 2)
TRUTH = 5.0 + np.sin(3 * POINTS[:, 0]) * np.cos(2 * POINTS[:, 1])
ROWS = np.random.default_rng(0).permutation(81)[:25].astype(np.intp)

SURROGATES: dict[str, Callable[[np.ndarray], Surrogate]] = {
    "deep-kernel": lambda inputs: DeepKernel(
        inputs, inputs, Hyperparameters(feature_kernel("matern52", 2, shared=True)), FineTuning(2, steps=20), 16
    ),
    "pool-gp": lambda inputs: PoolGP(inputs, Hyperparameters(position_kernel("matern52", (0, 1)))),
}


@pytest.fixture(params=SURROGATES)
def surrogate(request: pytest.FixtureRequest) -> Surrogate:
    return SURROGATES[request.param](POINTS)


def test_there_is_no_belief_before_a_fit(surrogate: Surrogate) -> None:
    with pytest.raises(NotEnoughData):
        surrogate.predict()
    with pytest.raises(NotEnoughData):
        surrogate.update(0, 1.0, float("nan"))


def test_belief_covers_the_pool_in_the_targets_units(surrogate: Surrogate) -> None:
    surrogate.fit(ROWS, TRUTH[ROWS], np.full(25, np.nan))
    belief = surrogate.predict()
    assert belief.mean.shape == belief.std.shape == (81,)
    assert belief.mean.dtype == belief.std.dtype == np.float64
    assert np.sqrt(np.mean((belief.mean - TRUTH) ** 2)) < 0.3 * TRUTH.std()
    left = np.setdiff1d(np.arange(81), ROWS)
    assert belief.std[left].mean() > belief.std[ROWS].mean()


def test_an_update_moves_the_belief_towards_what_was_measured(surrogate: Surrogate) -> None:
    surrogate.fit(ROWS[:10], TRUTH[ROWS[:10]], np.full(10, np.nan))
    before, row = surrogate.predict(), int(np.setdiff1d(np.arange(81), ROWS)[0])
    surrogate.update(row, TRUTH[row] + 0.5, 0.01)
    after = surrogate.predict()
    assert after.std[row] < before.std[row]
    assert abs(after.mean[row] - TRUTH[row] - 0.5) < abs(before.mean[row] - TRUTH[row] - 0.5)


def test_an_uncertain_measurement_counts_less(surrogate: Surrogate) -> None:
    beliefs = []
    for std in (1e-3, 10.0):
        surrogate.fit(ROWS[:10], TRUTH[ROWS[:10]], np.full(10, np.nan))
        surrogate.update(40, 9.0, std)
        beliefs.append(surrogate.predict())
    assert beliefs[0].mean[40] == pytest.approx(9.0, abs=0.1)
    assert beliefs[1].mean[40] < 7.0


def test_a_belief_already_given_does_not_change(surrogate: Surrogate) -> None:
    surrogate.fit(ROWS[:10], TRUTH[ROWS[:10]], np.full(10, np.nan))
    belief = surrogate.predict()
    mean, std = belief.mean.copy(), belief.std.copy()
    surrogate.update(40, 9.0, 0.1)
    np.testing.assert_array_equal(belief.mean, mean)
    np.testing.assert_array_equal(belief.std, std)


def test_the_same_calls_give_the_same_belief() -> None:
    for make in SURROGATES.values():
        twins = make(POINTS), make(POINTS)
        for twin in twins:
            twin.fit(ROWS[:10], TRUTH[ROWS[:10]], np.full(10, np.nan))
            twin.update(40, 5.5, float("nan"))
            twin.fit(ROWS, TRUTH[ROWS], np.full(25, 0.1))
        np.testing.assert_array_equal(twins[0].predict().mean, twins[1].predict().mean)
        np.testing.assert_array_equal(twins[0].predict().std, twins[1].predict().std)
