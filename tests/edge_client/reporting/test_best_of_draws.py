"""The best of k random draws, against counting every possible draw."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from beamloop.edge_client.reporting.best_of_draws import best_of_draws

VALUES = np.array([3.0, -1.0, 4.0, 1.5, 5.0, 1.5, 2.0])


@pytest.mark.parametrize("k", range(1, len(VALUES) + 1))
def test_expectation_and_quartiles_equal_those_over_all_subsets(k: int) -> None:
    best = np.sort([max(subset) for subset in combinations(VALUES, k)])
    found = best_of_draws(VALUES, k)
    assert found.mean[k - 1] == pytest.approx(best.mean(), rel=1e-12)
    for quartile, part in ((found.low, 0.25), (found.median, 0.5), (found.high, 0.75)):
        reached = next(v for v in np.unique(best) if (best <= v).mean() >= part - 1e-12)
        assert quartile[k - 1] == reached


def test_unknown_values_are_left_out() -> None:
    with_gaps = np.concatenate([VALUES, [np.nan, np.nan]]).reshape(3, 3)
    np.testing.assert_array_equal(best_of_draws(with_gaps, 5).mean, best_of_draws(VALUES, 5).mean)


def test_more_draws_than_candidates_find_the_maximum() -> None:
    found = best_of_draws([1.0, 2.0], 4)
    assert found.mean[2:].tolist() == [2.0, 2.0]
    assert found.low[2:].tolist() == [2.0, 2.0]


def test_a_pool_of_thousands_keeps_its_precision() -> None:
    # The best of all m but one is the maximum with probability (m - 1) / m.
    m = 4096
    values = np.arange(m, dtype=float)
    assert best_of_draws(values, m - 1).mean[-1] == pytest.approx(m - 1 - 1 / m, rel=1e-12)


def test_leaving_out_negligible_chances_changes_nothing() -> None:
    m, k = 300, 120
    values = np.sort(np.random.default_rng(0).normal(size=m))
    # Exact whole numbers: C(i, k) ways in which the best of k is at most the i-th.
    ways = [comb(i, k) for i in range(m + 1)]
    mean = sum(v * (ways[i + 1] - ways[i]) for i, v in enumerate(values)) / ways[m]
    assert best_of_draws(values, k).mean[-1] == pytest.approx(mean, rel=1e-12)


def test_some_numbers_of_draws_give_what_all_of_them_give() -> None:
    values = np.random.default_rng(1).normal(size=500)
    all_of_them, some = best_of_draws(values, 520), best_of_draws(values, 520, [1, 7, 300, 499, 520])
    for name in ("mean", "low", "median", "high"):
        np.testing.assert_array_equal(getattr(some, name), getattr(all_of_them, name)[[0, 6, 299, 498, 519]])


@pytest.mark.parametrize(("truth", "most"), [([np.nan], 1), ([], 1), ([1.0], 0)])
def test_nothing_to_draw_from_is_refused(truth: list[float], most: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        best_of_draws(truth, most)
