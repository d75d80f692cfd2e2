"""What random sampling would have found: the best of k draws without replacement, exactly.

A learner's curve says little alone. Where the truth is known, the chance that the best of
k random candidates is at most the i-th smallest value v(i) of m is a ratio of two
binomials, so no simulation is needed:

    P(best of k <= v(i)) = C(i, k) / C(m, k) = prod_{j<k} (i - j) / (m - j)

Source: David & Nagaraja, Order Statistics, 3rd ed., 2003, section 3.7 (finite populations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEGLIGIBLE = 1e-20
"""Smallest chance that is still followed; what is left out moves no mean by more than this part of the range."""


@dataclass(frozen=True, slots=True)
class BestOfDraws:
    """The best value after 1, 2, ..., n random measurements; each shape (n,), in the target's units.

    Attributes
    ----------
    mean
        Expectation.
    low, median, high
        Quartiles: the smallest values reached with probability 1/4, 1/2, 3/4.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    median: NDArray[np.float64]
    high: NDArray[np.float64]


def best_of_draws(truth: ArrayLike, most: int, at: ArrayLike | None = None) -> BestOfDraws:
    """Return how the best of k = 1..`most` draws without replacement is distributed.

    Parameters
    ----------
    truth
        The value of every candidate, any shape; nan where it is unknown (left out).
    most
        Largest number of draws; beyond the number of candidates the best stays the maximum.
    at
        Only these numbers of draws, ascending, shape (n,); all of them if None.

    Raises
    ------
    ValueError
        If no value is finite or `most` is less than 1.

    >>> best_of_draws([0.0, 3.0, 6.0], 3).mean.round(6).tolist()
    [3.0, 5.0, 6.0]
    """
    values = np.sort(np.asarray(truth, dtype=np.float64)[np.isfinite(truth)].ravel())
    if not len(values) or most < 1:
        raise ValueError(f"the best of {most} draws from {len(values)} finite values is not defined")
    m, ranks = len(values), np.arange(1.0, len(values) + 1)
    wanted = list(range(1, most + 1)) if at is None else np.asarray(at).tolist()
    at_most = np.ones(m)
    mean, quartiles, done = np.empty(len(wanted)), np.empty((3, len(wanted))), 0
    for number, draws in enumerate(wanted):
        for k in range(done, min(draws, m)):
            at_most *= np.maximum(ranks - k, 0.0)
            at_most /= m - k
            # After many draws only the largest values still matter, which keeps long runs quick.
            if at_most[0] < NEGLIGIBLE:
                first = int(np.searchsorted(at_most, NEGLIGIBLE))
                at_most, ranks, values = at_most[first:], ranks[first:], values[first:]
        done = min(draws, m)
        mean[number] = values @ np.diff(at_most, prepend=0.0)
        # Rounding in the product must not push a quantile one rank up.
        quartiles[:, number] = values[np.searchsorted(at_most, np.array([0.25, 0.5, 0.75]) - 1e-12)]
    return BestOfDraws(mean, *quartiles)
