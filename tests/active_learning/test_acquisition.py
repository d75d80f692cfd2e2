from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from beamloop.active_learning.acquisition import (
    ACQUISITIONS,
    log_expected_improvement,
    log_standard_improvement,
    uncertainty,
    upper_confidence_bound,
)

EDGES = [-1.0 - 1e-12, -1.0 + 1e-12, -1e3 - 1e-9, -1e3 + 1e-9]


@pytest.mark.parametrize("z", [-1e8, -1e4, -999.0, -50.0, -38.0, -5.0, -0.5, 0.0, 0.3, 4.0, 40.0, 1e6, *EDGES])
def test_log_improvement_equals_mpmath(z: float) -> None:
    # The plain sum loses 2 log10|z| of the digits; of so many, enough are left.
    with mpmath.workdps(70):
        x = mpmath.mpf(z)
        exact = mpmath.log(mpmath.npdf(x) + x * mpmath.ncdf(x))
    assert float(log_standard_improvement(np.array([z]))[0]) == pytest.approx(float(exact), rel=1e-11, abs=1e-10)


@pytest.mark.parametrize(("mean", "std", "best"), [(0.0, 1.0, 0.5), (3.0, 0.2, 2.0), (-1.0, 2.0, 4.0)])
def test_expected_improvement_equals_its_integral(mean: float, std: float, best: float) -> None:
    improvement = quad(lambda f: (f - best) * stats.norm(mean, std).pdf(f), best, mean + 12 * std)[0]
    ours = log_expected_improvement(np.array([mean]), np.array([std]), best)
    assert np.exp(ours[0]) == pytest.approx(improvement, rel=1e-8)


def test_log_improvement_grows_everywhere_even_where_improvement_underflows() -> None:
    z = -np.geomspace(1e9, 1e-3, 4000)
    values = log_standard_improvement(z)
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


def test_a_certain_candidate_is_worth_its_certain_gain() -> None:
    score = log_expected_improvement(np.array([2.0, 1.0, 0.0]), np.zeros(3), 1.0)
    np.testing.assert_array_equal(score, [0.0, -np.inf, -np.inf])


def test_improvement_does_not_depend_on_units_except_by_their_logarithm() -> None:
    mean, std = np.array([0.1, 0.5, 2.0]), np.array([1.0, 0.01, 3.0])
    scaled = log_expected_improvement(1e-12 * mean, 1e-12 * std, 0.3e-12)
    np.testing.assert_allclose(scaled, log_expected_improvement(mean, std, 0.3) + np.log(1e-12), rtol=1e-12)


def test_upper_bound_and_uncertainty_are_what_they_say() -> None:
    mean, std = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    np.testing.assert_array_equal(upper_confidence_bound(mean, std, 99.0), [2.0, 2.5])
    np.testing.assert_array_equal(upper_confidence_bound(mean, std, 99.0, width=4.0), [3.0, 3.0])
    np.testing.assert_array_equal(uncertainty(mean, std, 99.0), std)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_more_doubt_is_never_worth_less(name: str) -> None:
    std = np.linspace(1e-6, 5, 200)
    assert (np.diff(ACQUISITIONS[name](np.zeros(200), std, 1.0)) >= 0).all()
