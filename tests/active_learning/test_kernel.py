from __future__ import annotations

import numpy as np
import pytest
import torch

from beamloop.active_learning.hyperparameters import position_kernel, starting_part
from beamloop.active_learning.kernel import FAMILIES, Family, Kernel, KernelPart, covariance, prior_variance
from beamloop.active_learning.marginal_likelihood import gpytorch_part, pinned_switches
from beamloop.core import SettingsInvalid


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengthscales", [(0.3, 0.7), (0.4,)])
def test_covariance_equals_gpytorch(family: Family, lengthscales: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random((7, 3)), rng.random((5, 3))
    part = KernelPart(family, (0, 2), lengthscales, 1.7)
    with pinned_switches(), torch.no_grad():
        theirs = gpytorch_part(part)(torch.tensor(left), torch.tensor(right)).to_dense().numpy()
    np.testing.assert_allclose(covariance((part,), left, right), theirs, rtol=1e-10, atol=1e-12)


def test_parts_add_and_see_only_their_columns() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((6, 3))
    first, second = KernelPart("rbf", (0,), (0.2,), 0.5), KernelPart("matern32", (1, 2), (0.3, 0.4), 2.0)
    both = covariance((first, second), x, x)
    np.testing.assert_allclose(both, covariance((first,), x, x) + covariance((second,), x, x), rtol=1e-14)
    moved = x.copy()
    moved[:, 1:] += rng.random((6, 2))
    np.testing.assert_array_equal(covariance((first,), x, x), covariance((first,), moved, moved))


@pytest.mark.parametrize(
    "kernel",
    [position_kernel("matern52", (0, 1)), (starting_part("rbf", (0, 1), 0.3), starting_part("matern32", (1,)))],
)
def test_diagonal_is_the_prior_variance_and_the_matrix_is_positive(kernel: Kernel) -> None:
    x = np.random.default_rng(2).random((40, 2))
    matrix = covariance(kernel, x, x)
    np.testing.assert_allclose(np.diag(matrix), prior_variance(kernel), rtol=1e-14)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


def test_close_neighbours_keep_their_digits() -> None:
    # 1 - k for Matérn 5/2 is 5/6 r^2 to leading order; from inner products r^2 would be lost here.
    x = np.array([[1.0, 1.0], [1.0 + 1e-6, 1.0]])
    kernel = (KernelPart("matern52", (0, 1), (1.0, 1.0)),)
    assert 1 - covariance(kernel, x, x)[0, 1] == pytest.approx(5 / 6 * 1e-12, rel=1e-3)


@pytest.mark.parametrize(
    ("columns", "lengthscales", "variance"),
    [((), (), 1.0), ((0, 1, 2), (1.0, 1.0), 1.0), ((0,), (0.0,), 1.0), ((0,), (1.0,), -1.0), ((0,), (np.nan,), 1.0)],
)
def test_a_part_that_makes_no_sense_is_refused(
    columns: tuple[int, ...], lengthscales: tuple[float, ...], variance: float
) -> None:
    with pytest.raises(SettingsInvalid):
        KernelPart("rbf", columns, lengthscales, variance)
