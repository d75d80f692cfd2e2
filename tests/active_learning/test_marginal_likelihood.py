from __future__ import annotations

from dataclasses import replace

import gpytorch
import numpy as np
import pytest
from scipy import stats

from beamloop.active_learning.hyperparameters import Hyperparameters, position_kernel, starting_part
from beamloop.active_learning.kernel import KernelPart, covariance
from beamloop.active_learning.marginal_likelihood import fit


def log_posterior(hyper: Hyperparameters, x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> float:
    """Likelihood times prior written out with scipy."""
    matrix = covariance(hyper.kernel, x, x) + np.diag(np.where(np.isnan(noise), hyper.noise, noise))
    total = stats.multivariate_normal(np.full(len(y), hyper.mean), matrix).logpdf(y)
    total += stats.lognorm(1.0, scale=np.exp(-4.0)).logpdf(hyper.noise) + stats.norm(0, 0.5).logpdf(hyper.mean)
    for part in hyper.kernel:
        median = np.exp(np.sqrt(2)) * np.sqrt(len(part.columns))
        total += stats.lognorm(np.sqrt(3), scale=median).logpdf(part.lengthscales).sum()
        total += stats.lognorm(1.0, scale=1 / len(hyper.kernel)).logpdf(part.variance)
    return float(total)


def drawn(seed: int, n: int, hyper: Hyperparameters) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2))
    matrix = covariance(hyper.kernel, x, x) + hyper.noise * np.eye(n)
    return x, np.linalg.cholesky(matrix) @ rng.normal(size=n)


TRUE = Hyperparameters((KernelPart("matern52", (0, 1), (0.2, 0.6), 1.0),), noise=0.01)


def test_the_density_found_is_likelihood_times_prior_and_a_maximum() -> None:
    x, y = drawn(0, 60, TRUE)
    noise = np.where(np.arange(60) % 3 == 0, 0.01, np.nan)
    found, density = fit(x, y, noise, Hyperparameters((starting_part("matern52", (0, 1)),)), steps=200)
    assert density == pytest.approx(log_posterior(found, x, y, noise), rel=1e-6)
    (part,) = found.kernel
    scales = part.lengthscales
    for factor in (0.9, 1.1):
        louder = replace(part, variance=part.variance * factor)
        longer = replace(part, lengthscales=(scales[0] * factor, scales[1]))
        for changed in (
            replace(found, noise=found.noise * factor),
            replace(found, mean=found.mean + factor - 1),
            replace(found, kernel=(louder,)),
            replace(found, kernel=(longer,)),
        ):
            assert log_posterior(changed, x, y, noise) < density + 1e-4


def test_scales_and_noise_of_a_drawn_function_are_found_again() -> None:
    x, y = drawn(1, 250, TRUE)
    found, _ = fit(x, y, np.full(250, np.nan), Hyperparameters((starting_part("matern52", (0, 1)),)))
    scales = np.array(found.kernel[0].lengthscales)
    np.testing.assert_allclose(np.log(scales), np.log([0.2, 0.6]), atol=0.45)
    assert found.noise == pytest.approx(0.01, rel=0.4)


def test_known_noise_is_used_as_given() -> None:
    x, y = drawn(2, 80, TRUE)
    start = Hyperparameters((starting_part("matern52", (0, 1)),))
    calm, _ = fit(x, y, np.full(80, 1e-4), start)
    rough, _ = fit(x, y, np.full(80, 0.5), start)
    assert max(calm.kernel[0].lengthscales) < max(rough.kernel[0].lengthscales)
    # Nothing is left to learn about noise, so it stays at the mode of its prior.
    assert calm.noise == pytest.approx(np.exp(-5.0), rel=0.05)


def test_a_fit_repeats_exactly_and_keeps_shared_scales_shared() -> None:
    x, y = drawn(3, 50, TRUE)
    start = Hyperparameters(position_kernel("matern52", (0, 1)))
    first, second = (fit(x, y, np.full(50, np.nan), start) for _ in range(2))
    assert first == second
    assert [len(part.lengthscales) for part in first[0].kernel] == [1, 1]


def test_switches_set_by_other_libraries_do_not_change_a_fit() -> None:
    x, y = drawn(4, 50, TRUE)
    start = Hyperparameters((starting_part("matern52", (0, 1)),))
    alone = fit(x, y, np.full(50, np.nan), start)
    with gpytorch.settings.max_cholesky_size(1), gpytorch.settings.cholesky_jitter(double_value=1e-2):
        assert fit(x, y, np.full(50, np.nan), start) == alone
        assert gpytorch.settings.max_cholesky_size.value() == 1


@pytest.mark.parametrize("y", [np.zeros(5), np.array([0.0, 0.0, 0.0, 0.0, 2.2])])
def test_values_without_information_still_give_finite_hyperparameters(y: np.ndarray) -> None:
    found, density = fit(np.zeros((5, 2)), y, np.full(5, np.nan), Hyperparameters(position_kernel("rbf", (0, 1))))
    assert np.isfinite(density)
    assert np.isfinite([found.noise, found.mean, *found.kernel[0].lengthscales, found.kernel[0].variance]).all()
