from __future__ import annotations

import gpytorch
import numpy as np
import pytest
import torch

from beamloop.active_learning.hyperparameters import Hyperparameters, position_kernel, starting_part
from beamloop.active_learning.kernel import covariance
from beamloop.active_learning.marginal_likelihood import gpytorch_part, pinned_switches
from beamloop.active_learning.pool_gp import PoolGP
from beamloop.core import FrameShapeWrong, NotEnoughData, Prediction

RNG = np.random.default_rng(7)
INPUTS = RNG.random((120, 4))
VALUES = 300 + 20 * np.sin(6 * INPUTS[:, 0]) + 10 * INPUTS[:, 3] + RNG.normal(size=120)
ROWS = RNG.permutation(120)[:40].astype(np.intp)
KNOWN = np.where(np.arange(40) % 2 == 0, 1.0, np.nan)
START = Hyperparameters((starting_part("matern52", (0, 1), 0.5), *position_kernel("matern52", (2, 3), 0.5)))


def fitted(n: int = 40) -> PoolGP:
    gp = PoolGP(INPUTS, START)
    gp.fit(ROWS[:n], VALUES[ROWS[:n]], KNOWN[:n])
    return gp


def dense(gp: PoolGP, n: int, standardised_by: int) -> Prediction:
    """The textbook posterior by dense solves; no factor, no increments."""
    hyper, rows, y = gp.hyperparameters, ROWS[:n], VALUES[ROWS[:n]]
    shift, scale = VALUES[ROWS[:standardised_by]].mean(), VALUES[ROWS[:standardised_by]].std()
    noise = np.where(np.isnan(KNOWN[:n]), hyper.noise, (KNOWN[:n] / scale) ** 2)
    x = INPUTS[rows]
    matrix = covariance(hyper.kernel, x, x) + np.diag(noise)
    cross = covariance(hyper.kernel, x, INPUTS)
    mean = hyper.mean + cross.T @ np.linalg.solve(matrix, (y - shift) / scale - hyper.mean)
    variance = np.diag(covariance(hyper.kernel, INPUTS, INPUTS) - cross.T @ np.linalg.solve(matrix, cross))
    return Prediction(shift + scale * mean, scale * np.sqrt(variance))


def assert_same(left: Prediction, right: Prediction, tolerance: float) -> None:
    np.testing.assert_allclose(left.mean, right.mean, rtol=0, atol=tolerance * VALUES.std())
    np.testing.assert_allclose(left.std, right.std, rtol=0, atol=tolerance * VALUES.std())


def test_fit_equals_a_direct_dense_solve() -> None:
    gp = fitted()
    assert_same(gp.predict(), dense(gp, 40, standardised_by=40), 1e-9)


def test_updates_equal_a_direct_dense_solve_with_the_same_hyperparameters() -> None:
    gp = fitted(10)
    before = gp.hyperparameters
    for n in range(10, 40):
        gp.update(int(ROWS[n]), float(VALUES[ROWS[n]]), float(KNOWN[n]))
    assert gp.hyperparameters == before
    assert_same(gp.predict(), dense(gp, 40, standardised_by=10), 1e-9)


def test_growing_beyond_the_rows_first_reserved_changes_nothing() -> None:
    gp = fitted(3)
    rng = np.random.default_rng(0)
    rows, noise = rng.integers(0, 120, size=150), gp.hyperparameters.noise
    for row in rows:
        gp.update(int(row), float(VALUES[row]), float("nan"))
    every = np.concatenate([ROWS[:3], rows])
    shift, scale = VALUES[ROWS[:3]].mean(), VALUES[ROWS[:3]].std()
    known = np.concatenate([(KNOWN[:3] / scale) ** 2, np.full(150, np.nan)])
    matrix = covariance(gp.hyperparameters.kernel, INPUTS[every], INPUTS[every])
    matrix += np.diag(np.where(np.isnan(known), noise, known))
    cross = covariance(gp.hyperparameters.kernel, INPUTS[every], INPUTS)
    level = gp.hyperparameters.mean
    mean = shift + scale * (level + cross.T @ np.linalg.solve(matrix, (VALUES[every] - shift) / scale - level))
    np.testing.assert_allclose(gp.predict().mean, mean, atol=1e-7)
    assert len(gp) == 153


def test_belief_equals_gpytorchs_own_exact_gp() -> None:
    gp = fitted()
    hyper, scale = gp.hyperparameters, VALUES[ROWS].std()
    y = (VALUES[ROWS] - VALUES[ROWS].mean()) / scale
    noise = np.where(np.isnan(KNOWN), hyper.noise, (KNOWN / scale) ** 2)

    class Exact(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(torch.tensor(noise))
            super().__init__(torch.tensor(INPUTS[ROWS]), torch.tensor(y), likelihood)
            self.level = gpytorch.means.ConstantMean().double()
            self.level.initialize(constant=torch.tensor(hyper.mean, dtype=torch.float64))
            self.parts = torch.nn.ModuleList([gpytorch_part(part) for part in hyper.kernel])

        def forward(self, x: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
            total = sum(part(x).to_dense() for part in self.parts)
            return gpytorch.distributions.MultivariateNormal(self.level(x), total)

    # Candidates that were measured would make the joint covariance singular.
    left = np.setdiff1d(np.arange(120), ROWS)
    with pinned_switches(), torch.no_grad():
        theirs = Exact().eval()(torch.tensor(INPUTS[left]))
        mean, std = theirs.mean.numpy(), theirs.stddev.numpy()
    ours = gp.predict()
    theirs = Prediction(VALUES[ROWS].mean() + scale * mean, scale * std)
    assert_same(Prediction(ours.mean[left], ours.std[left]), theirs, 1e-8)


def test_what_is_pending_lowers_doubt_as_if_measured_at_its_mean_and_is_forgotten() -> None:
    gp, pending = fitted(), [5, 17, 90]
    before = gp.predict()
    given = gp.predict_given(pending)
    after = gp.predict()
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.std, after.std)
    for row in pending:
        gp.update(row, float(before.mean[row]), float("nan"))
    assert_same(given, gp.predict(), 1e-9)


def test_thousands_of_pending_candidates_next_to_each_other_keep_a_valid_belief() -> None:
    given = fitted().predict_given(range(120))
    assert np.isfinite(given.mean).all()
    assert (given.std >= 0).all()


def test_lost_pivots_are_rebuilt() -> None:
    # Copies of one place with tiny noise: every pivot is pure rounding.
    inputs = np.repeat(np.linspace(0, 1, 4)[:, None], 30, axis=0) + np.linspace(0, 1e-9, 120)[:, None]
    gp = PoolGP(inputs, Hyperparameters((starting_part("rbf", (0,)),)))
    gp.fit(np.array([0, 40, 80], dtype=np.intp), np.array([0.0, 1.0, 4.0]), np.zeros(3))
    for row in range(120):
        gp.update(row, float(np.round(3 * inputs[row, 0]) ** 2 / 1.0), 0.0)
    belief = gp.predict()
    assert np.isfinite(belief.std).all()
    assert belief.std.max() < 0.05
    np.testing.assert_allclose(belief.mean, np.round(3 * inputs[:, 0]) ** 2, atol=2.0)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-12), (1e9, 1.0), (0.0, 1e12)])
def test_belief_follows_the_units_of_the_values(shift: float, scale: float) -> None:
    plain, moved = PoolGP(INPUTS, START), PoolGP(INPUTS, START)
    y = VALUES[ROWS] - 300
    plain.fit(ROWS, y, np.full(40, np.nan))
    moved.fit(ROWS, shift + scale * y, np.full(40, np.nan))
    np.testing.assert_allclose((moved.predict().mean - shift) / scale, plain.predict().mean, atol=1e-2)
    np.testing.assert_allclose(moved.predict().std / scale, plain.predict().std, rtol=1e-2)


def test_equal_values_are_believed() -> None:
    gp = PoolGP(INPUTS, START)
    gp.fit(ROWS, np.full(40, 3.25), np.full(40, np.nan))
    np.testing.assert_allclose(gp.predict().mean, 3.25, atol=1e-6)


def test_one_measurement_is_enough_to_begin() -> None:
    gp = PoolGP(INPUTS, START)
    gp.fit(ROWS[:1], VALUES[ROWS[:1]], np.array([np.nan]))
    assert gp.predict().mean[ROWS[0]] == pytest.approx(VALUES[ROWS[0]], abs=0.5)


def test_mistakes_are_named() -> None:
    gp = PoolGP(INPUTS, START)
    with pytest.raises(NotEnoughData, match="first fit"):
        gp.predict()
    with pytest.raises(NotEnoughData, match="no measurements"):
        gp.fit(np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))
    with pytest.raises(FrameShapeWrong, match="2, 1, 2"):
        gp.fit(ROWS[:2], VALUES[:1], KNOWN[:2])
    with pytest.raises(FrameShapeWrong, match="finite"):
        PoolGP(np.full((3, 2), np.nan), START)
