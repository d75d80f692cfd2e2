from __future__ import annotations

import numpy as np
import pytest

from beamloop.active_learning.hyperparameters import Hyperparameters, position_kernel
from beamloop.active_learning.pool_gp import PoolGP
from beamloop.active_learning.value_scale import SCALES, asinh_scale, standard_scale

VALUES = np.random.default_rng(0).standard_t(2, size=200) * 3 + 40


@pytest.mark.parametrize("name", SCALES)
def test_values_come_out_standardised_in_the_same_order(name: str) -> None:
    scaled = SCALES[name](VALUES).forward(VALUES)
    assert scaled.mean() == pytest.approx(0, abs=1e-12)
    assert scaled.std() == pytest.approx(1)
    np.testing.assert_array_equal(np.argsort(scaled), np.argsort(VALUES))


@pytest.mark.parametrize("name", SCALES)
def test_a_certain_belief_comes_back_as_the_value(name: str) -> None:
    scale = SCALES[name](VALUES)
    back = scale.back(scale.forward(VALUES), np.zeros(200))
    np.testing.assert_allclose(back.mean, VALUES, rtol=1e-10)
    np.testing.assert_allclose(back.std, 0, atol=1e-8)


@pytest.mark.parametrize("name", SCALES)
def test_an_uncertain_belief_comes_back_with_the_moments_of_drawn_values(name: str) -> None:
    scale = SCALES[name](VALUES)
    drawn = np.random.default_rng(1).normal(0.7, 0.6, size=400_000)
    # The map back is monotone: interpolate it on a fine table of forward values.
    table = np.linspace(0, 100, 200_001)
    values = np.interp(drawn, scale.forward(table), table)
    back = scale.back(np.array([0.7]), np.array([0.36]))
    assert back.mean[0] == pytest.approx(values.mean(), rel=2e-3)
    assert back.std[0] == pytest.approx(values.std(), rel=1e-2)


@pytest.mark.parametrize("name", SCALES)
def test_errors_follow_the_slope_and_unknown_ones_stay_unknown(name: str) -> None:
    scale = SCALES[name](VALUES)
    step = 1e-5
    slope = (scale.forward(VALUES + step) - scale.forward(VALUES - step)) / (2 * step)
    np.testing.assert_allclose(scale.variance(VALUES, np.full(200, 0.3)), (0.3 * slope) ** 2, rtol=1e-6)
    assert np.isnan(scale.variance(VALUES[:1], np.array([np.nan]))).all()


def test_asinh_draws_in_a_far_value_and_leaves_the_middle_straight() -> None:
    spoilt = np.append(VALUES[np.abs(VALUES - 40) < 5], 4000.0)
    # One far value leaves the rest no room on a straight scale.
    assert standard_scale(spoilt).forward(spoilt)[:-1].std() < 0.01
    assert asinh_scale(spoilt).forward(spoilt)[:-1].std() > 0.5
    middle = np.array([39.9, 40.0, 40.1])
    steps = np.diff(asinh_scale(VALUES).forward(middle))
    assert steps[0] == pytest.approx(steps[1], rel=1e-2)


@pytest.mark.parametrize(
    "values", [np.full(9, 3.0), np.array([0.0] * 8 + [5.0]), np.array([1e-30, 2e-30]), np.zeros(1)]
)
@pytest.mark.parametrize("name", SCALES)
def test_values_of_little_variety_are_survived(name: str, values: np.ndarray) -> None:
    scale = SCALES[name](values)
    assert np.isfinite(scale.forward(values)).all()
    np.testing.assert_allclose(scale.back(scale.forward(values), np.zeros(len(values))).mean, values, rtol=1e-9)


def test_a_warped_gp_is_not_dragged_along_by_one_outlier() -> None:
    points = np.linspace(0, 1, 60)[:, None] * [1.0, 0.5]
    truth = np.sin(4 * points[:, 0])
    rows = np.arange(0, 60, 3, dtype=np.intp)
    measured = truth[rows].copy()
    measured[10] = 60.0
    errors = {}
    for name, scale_of in SCALES.items():
        gp = PoolGP(points, Hyperparameters(position_kernel("matern52", (0, 1))), scale_of)
        gp.fit(rows, measured, np.full(len(rows), np.nan))
        far = np.abs(points[:, 0] - points[rows[10], 0]) > 0.15
        errors[name] = np.sqrt(np.mean((gp.predict().mean - truth)[far] ** 2))
    assert errors["asinh"] < 0.5 * errors["none"]
