"""Covariance functions over candidates: a sum of stationary parts, each on its own columns.

A kernel is a value. Each part says how smooth the property is along its columns; parts
add, so that what an image shows and what only position tells are two beliefs with one
sum. Distances are computed directly, not from inner products, which would lose half of
the digits for neighbours.

Source: Rasmussen & Williams, "Gaussian processes for machine learning", 2006, sections
4.2.1 (Matérn, RBF) and 2.7 (sums).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ..core import SettingsInvalid

Family = Literal["matern32", "matern52", "rbf"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True, slots=True)
class KernelPart:
    """One stationary term.

    Attributes
    ----------
    family
        Its smoothness: Matérn 3/2, Matérn 5/2 or the infinitely smooth RBF.
    columns
        Which columns of the inputs it sees.
    lengthscales
        In the inputs' units: one for each of those columns, or a single one that all share.
    variance
        Its share of the variance of the property.

    Raises
    ------
    SettingsInvalid
        If columns and length scales do not fit together, or a scale or variance is not positive.
    """

    family: Family
    columns: tuple[int, ...]
    lengthscales: tuple[float, ...]
    variance: float = 1.0

    def __post_init__(self) -> None:
        if not self.columns or len(self.lengthscales) not in (1, len(self.columns)):
            raise SettingsInvalid(
                f"a kernel part on columns {self.columns} needs one length scale for each or one for all; "
                f"got {self.lengthscales}"
            )
        if not (min(self.lengthscales) > 0 and self.variance > 0):
            raise SettingsInvalid(
                f"length scales and variance must be positive; got {self.lengthscales} and {self.variance}"
            )


Kernel = tuple[KernelPart, ...]
"""A sum of parts."""


def covariance(kernel: Kernel, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of the property at two sets of inputs, (n, d) and (m, d); shape (n, m)."""
    total = np.zeros((len(left), len(right)))
    for part in kernel:
        columns, scales = list(part.columns), np.array(part.lengthscales, dtype=np.float64)
        distance = np.asarray(cdist(left[:, columns] / scales, right[:, columns] / scales), dtype=np.float64)
        total += part.variance * correlation(part.family, distance)
    return total


def prior_variance(kernel: Kernel) -> float:
    """Return the variance of the property at any one place before anything is measured."""
    return sum(part.variance for part in kernel)


def correlation(family: Family, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation at scaled distances of any shape, same shape.

    >>> float(correlation("rbf", np.array(0.0)))
    1.0
    """
    if family == "rbf":
        return np.exp(-0.5 * distance**2)
    scaled = np.sqrt(3.0 if family == "matern32" else 5.0) * distance
    polynomial = 1 + scaled if family == "matern32" else 1 + scaled + scaled**2 / 3
    return polynomial * np.exp(-scaled)
