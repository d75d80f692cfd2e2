"""A smooth random field that has a value anywhere, made of plane waves with random directions.

A sum of many waves whose wave vectors are normally distributed is a Gaussian field with
Gaussian correlation, and unlike a filtered grid it can be evaluated at any point, however
far the stage moves.

Source: Rahimi & Recht, "Random features for large-scale kernel machines", 2007 (the same
construction, used there to approximate a kernel).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WAVES = 96


@dataclass(frozen=True, slots=True)
class RandomField:
    """A stationary field of mean 0 and variance 1 (over all seeds).

    Attributes
    ----------
    vectors
        Wave vectors `(y, x)` in rad/m, shape (waves, 2).
    phases
        Phase of each wave in radians, shape (waves,).
    """

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field at points `(y, x)` in metres, shape (n, 2); shape (n,)."""
        return np.cos(points @ self.vectors.T + self.phases).sum(axis=1) * np.sqrt(2 / len(self.phases))

    def on_grid(self, y_m: NDArray[np.float64], x_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field on a grid of rows `y_m` and columns `x_m`, shape (len(y_m), len(x_m))."""
        along_y = np.outer(y_m, self.vectors[:, 0]) + self.phases
        along_x = np.outer(self.vectors[:, 1], x_m)
        waves = np.cos(along_y) @ np.cos(along_x) - np.sin(along_y) @ np.sin(along_x)
        return waves * np.sqrt(2 / len(self.phases))


def random_field(correlation_m: float, rng: np.random.Generator) -> RandomField:
    """Return a field whose correlation falls as exp(-r^2 / (2 correlation_m^2))."""
    vectors = rng.normal(scale=1 / correlation_m, size=(WAVES, 2))
    return RandomField(vectors, rng.uniform(0, 2 * np.pi, WAVES))
