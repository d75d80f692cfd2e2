"""The smooth random field: moments, correlation, and one value however it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.random_field import random_field


def test_grid_and_points_agree() -> None:
    field = random_field(2.0, np.random.default_rng(0))
    y, x = np.linspace(-3, 4, 5), np.linspace(10, 20, 7)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    points = np.column_stack([rows.ravel(), columns.ravel()])
    np.testing.assert_allclose(field.on_grid(y, x).ravel(), field.at(points), atol=1e-12)


@pytest.mark.parametrize(("distance", "expected"), [(0.0, 1.0), (1.0, np.exp(-0.125)), (3.0, np.exp(-1.125))])
def test_correlation_over_seeds_is_gaussian(distance: float, expected: float) -> None:
    rng = np.random.default_rng(1)
    here, there = np.zeros((1, 2)), np.array([[0.6 * distance, 0.8 * distance]])
    pairs = np.array([(f.at(here)[0], f.at(there)[0]) for f in (random_field(2.0, rng) for _ in range(6000))])
    assert np.mean(pairs[:, 0] * pairs[:, 1]) == pytest.approx(expected, abs=0.05)
    assert np.mean(pairs[:, 0]) == pytest.approx(0.0, abs=0.05)
