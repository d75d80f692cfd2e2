"""How much a measurement at each candidate is worth, given what is believed.

Plain functions of arrays, to be maximised: every surrogate that gives a mean and a
standard deviation can use them, and a cost or a penalty is an addition to them.

Source: Ament, Daulton, Eriksson, Balandat & Bakshy, "Unexpected improvements to expected
improvement for Bayesian optimization", NeurIPS 2023, eq. 9 and appendix A.1 (log-EI);
Srinivas, Krause, Kakade & Seeger, "Gaussian process optimization in the bandit setting",
ICML 2010 (upper confidence bound).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

Acquisition = Callable[[NDArray[np.float64], NDArray[np.float64], float], NDArray[np.float64]]
"""A function of mean (m,), std (m,) and the best value so far that returns scores (m,)."""

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_SQRT_HALF_PI = np.sqrt(np.pi / 2)


def log_expected_improvement(mean: NDArray[np.float64], std: NDArray[np.float64], best: float) -> NDArray[np.float64]:
    """Return the logarithm of the expected improvement over `best`, exact far into the tail.

    Parameters
    ----------
    mean, std
        Belief, each shape (m,), in the target's units.
    best
        Value to improve on.

    Returns
    -------
    NDArray
        log E[max(f - best, 0)], shape (m,); where `std` is 0, the logarithm of the certain improvement.

    Source: Ament et al. 2023, eq. 9.
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = log_standard_improvement((mean - best) / std) + np.log(std)
        certain = np.log(np.maximum(mean - best, 0.0))
    return np.where(std > 0, score, certain)


def upper_confidence_bound(
    mean: NDArray[np.float64], std: NDArray[np.float64], best: float, width: float = 2.0
) -> NDArray[np.float64]:
    """Return mean + `width` · std, shape (m,); `best` does not matter to it."""
    return mean + width * std


def uncertainty(mean: NDArray[np.float64], std: NDArray[np.float64], best: float) -> NDArray[np.float64]:
    """Return the standard deviation, shape (m,): measure where least is known."""
    return np.asarray(std, dtype=np.float64)


def log_standard_improvement(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(φ(z) + z Φ(z)) for standardised improvements z of any shape.

    Three branches keep every digit: the plain formula above -1; below it the common factor
    φ(z) is taken out, which leaves a difference of numbers near 1; far below, where that
    difference cancels as 1/z², its asymptotic series.

    Source: Ament et al. 2023, appendix A.1; the series is that of Mills' ratio, Abramowitz &
    Stegun 26.2.12.
    """
    z = np.asarray(z, dtype=np.float64)
    out = np.empty_like(z)
    near, far = z > -1.0, z < -1e3
    between = ~(near | far)
    x = z[near]
    out[near] = np.log(np.exp(-0.5 * x * x - _LOG_SQRT_2PI) + x * np.exp(log_ndtr(x)))
    x = z[between]
    # Φ(x)/φ(x) = sqrt(π/2) erfcx(-x/√2), free of underflow for negative x.
    out[between] = -0.5 * x * x - _LOG_SQRT_2PI + np.log1p(x * _SQRT_HALF_PI * erfcx(-x / np.sqrt(2)))
    x = z[far]
    out[far] = -0.5 * x * x - _LOG_SQRT_2PI - 2 * np.log(-x) + np.log1p(-3 / (x * x))
    return out


ACQUISITIONS = MappingProxyType(
    {"log-ei": log_expected_improvement, "max-std": uncertainty, "ucb": upper_confidence_bound}
)
"""The acquisitions by the names that an experiment file uses."""
