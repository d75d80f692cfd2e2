"""An exact Gaussian process served from a fixed pool of candidates, one row per measurement.

Only candidates are ever measured or predicted, so the pool is all there is. With K(X, X) +
noise = L Lᵀ for the measured places X, the belief over the pool X* needs only the rows of
V = L⁻¹ K(X, X*): the variance falls by the square of each row, the mean moves along it.
A new measurement adds one row in O(n m) and changes nothing before it; L itself is read
off V, whose columns at the measured candidates are its rows. Hyperparameters and the
standardisation of values change in `fit` only, or an added row would not be exact.

Source: Rasmussen & Williams 2006, section 2.2 and algorithm 2.1; Osborne, "Bayesian
Gaussian processes for sequential prediction, optimisation and quadrature", thesis,
Oxford 2010, section 4.2 (sequential Cholesky updates).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from ..core import FrameShapeWrong, NotEnoughData, Prediction
from .hyperparameters import Hyperparameters
from .kernel import covariance, prior_variance
from .marginal_likelihood import NOISE_BOUNDS, fit, ready
from .value_scale import ValueScale, standard_scale

COLD_STARTS_UP_TO = 100
"""With more measurements than this a refit trusts the last hyperparameters as its only start."""

LOST = 1e-8
"""A variance this far below zero (in prior variances) says that rounding has eaten the digits."""


class PoolGP:
    """Belief over a pool of candidates. Call it from one thread.

    Parameters
    ----------
    inputs
        What the kernel sees of each candidate, shape (m, d), each column spread like a unit interval.
    start
        Kernel and hyperparameters before any data; its families and columns stay.
    scale_of
        Makes the scale of values at each fit: `standard_scale`, or `asinh_scale` for values
        with heavy tails.

    Raises
    ------
    FrameShapeWrong
        If the inputs are no finite matrix.
    """

    def __init__(
        self,
        inputs: NDArray[np.float64],
        start: Hyperparameters,
        scale_of: Callable[[NDArray[np.float64]], ValueScale] = standard_scale,
    ) -> None:
        if inputs.ndim != 2 or not np.isfinite(inputs).all():
            raise FrameShapeWrong(f"a surrogate needs finite inputs of shape (m, d); got {inputs.shape}")
        ready()
        self._inputs = np.ascontiguousarray(inputs, dtype=np.float64)
        self._start = self._hyper = start
        self._scale_of, self._scale = scale_of, scale_of(np.zeros(1))
        self._rows = np.empty(0, dtype=np.intp)
        self._values = np.empty(0)
        self._noise = np.empty(0)
        self._v = np.empty((0, len(inputs)))
        self._mean = self._variance = np.empty(0)

    def __len__(self) -> int:
        """Return the number of measurements held."""
        return len(self._rows)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """What the last fit learnt, in standardised units."""
        return self._hyper

    @property
    def basis(self) -> str:
        """Empty: the inputs are what the policy's name says."""
        return ""

    def fit(self, rows: NDArray[np.intp], values: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Learn standardisation, hyperparameters and belief from all data anew.

        Raises
        ------
        NotEnoughData
            Without any measurement.
        FrameShapeWrong
            If the three do not have one length.
        """
        if not len(rows):
            raise NotEnoughData("a surrogate was asked to fit no measurements; it needs at least 1")
        if not len(rows) == len(values) == len(std):
            raise FrameShapeWrong(f"rows, values and std must pair up; got {len(rows)}, {len(values)}, {len(std)}")
        values = np.asarray(values, dtype=np.float64)
        self._scale = self._scale_of(values)
        self._rows = np.array(rows, dtype=np.intp)
        self._values = self._scale.forward(values)
        self._noise = np.maximum(self._scale.variance(values, std), NOISE_BOUNDS[0])
        self._hyper = self._learn()
        self._rebuild()

    def update(self, row: int, value: float, std: float) -> None:
        """Add one measurement; hyperparameters and standardisation stay.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        self._require_fit()
        measured = np.array([value])
        scaled = self._scale.forward(measured)[0]
        noise = np.maximum(self._scale.variance(measured, np.array([std])), NOISE_BOUNDS[0])[0]
        n = len(self._rows)
        self._rows = np.append(self._rows, row)
        self._values, self._noise = np.append(self._values, scaled), np.append(self._noise, noise)
        if self._variance[row] < -LOST * prior_variance(self._hyper.kernel):
            self._rebuild()
            return
        self._reserve(n + 1)
        pivot = self._append(n, self._variance, row, self._noise_at(n))
        step = (scaled - self._mean[row]) / pivot
        self._mean += step * self._v[n]

    def predict(self) -> Prediction:
        """Return the belief at all m candidates, in the target's units.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        self._require_fit()
        return self._prediction(self._variance)

    def predict_given(self, pending: Collection[int]) -> Prediction:
        """Return the belief as if these candidates had been measured and had given their present mean.

        The mean stays, the doubt around them goes; nothing is remembered.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        self._require_fit()
        n, variance = len(self._rows), self._variance.copy()
        self._reserve(n + len(pending))
        for row in sorted(pending):
            if variance[row] > LOST * prior_variance(self._hyper.kernel):
                self._append(n, variance, row, self._hyper.noise)
                n += 1
        return self._prediction(variance)

    def _learn(self) -> Hyperparameters:
        inputs = self._inputs[self._rows]
        starts = [self._hyper]
        if len(self._rows) <= COLD_STARTS_UP_TO and self._hyper is not self._start:
            starts.append(self._start)
        found = [fit(inputs, self._values, self._noise, start) for start in starts]
        return max(found, key=lambda pair: pair[1])[0]

    def _rebuild(self) -> None:
        kernel, n = self._hyper.kernel, len(self._rows)
        cross = covariance(kernel, self._inputs[self._rows], self._inputs)
        noise = np.array([self._noise_at(i) for i in range(n)])
        lower = cholesky(cross[:, self._rows] + np.diag(noise), lower=True)
        self._v = np.empty((_capacity(n), len(self._inputs)))
        self._v[:n] = solve_triangular(lower, cross, lower=True)
        weights = solve_triangular(lower, self._values - self._hyper.mean, lower=True)
        self._mean = self._hyper.mean + weights @ self._v[:n]
        self._variance = prior_variance(kernel) - np.einsum("nm,nm->m", self._v[:n], self._v[:n])

    def _append(self, n: int, variance: NDArray[np.float64], row: int, noise: float) -> float:
        """Write row n of V for a measurement at `row`, lower `variance` in place and return the pivot."""
        v = self._v
        pivot = float(np.sqrt(max(variance[row], 0.0) + noise))
        prior = covariance(self._hyper.kernel, self._inputs[row : row + 1], self._inputs)[0]
        v[n] = (prior - v[:n, row] @ v[:n]) / pivot
        variance -= v[n] ** 2
        return pivot

    def _noise_at(self, i: int) -> float:
        return self._hyper.noise if np.isnan(self._noise[i]) else float(self._noise[i])

    def _reserve(self, n: int) -> None:
        if n > len(self._v):
            grown = np.empty((_capacity(n), len(self._inputs)))
            grown[: len(self._v)] = self._v
            self._v = grown

    def _prediction(self, variance: NDArray[np.float64]) -> Prediction:
        return self._scale.back(self._mean, np.maximum(variance, 0.0))

    def _require_fit(self) -> None:
        if not len(self._rows):
            raise NotEnoughData("a surrogate has no belief before its first fit; measure a few points first")


def _capacity(n: int) -> int:
    """Return the rows to allocate for n: half as many again, so that growing stays rare."""
    return n + max(64, n // 2)
