"""What a learner works on and what it says: candidates, beliefs, suggestions.

Letters of shapes: m candidates, n measurements, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from .errors import FrameShapeWrong
from .frozen import Frozen


@dataclass(frozen=True, slots=True)
class Pool:
    """All places that may be measured; fixed for a run.

    Attributes
    ----------
    positions
        `(y, x)` of each candidate in metres, shape (m, 2).
    features
        What is known of each before it is measured, shape (m, d); None without an overview.
    shape
        `(ny, nx)` where the candidates are a full grid in row order, so maps can be drawn.
    """

    positions: NDArray[np.float64]
    features: NDArray[np.float64] | None = None
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        m = len(self.positions)
        if self.positions.shape != (m, 2) or (self.features is not None and len(self.features) != m):
            found = None if self.features is None else self.features.shape
            raise FrameShapeWrong(
                f"a pool needs positions (m, 2) and features (m, d); got {self.positions.shape}, {found}"
            )
        if self.shape is not None and self.shape[0] * self.shape[1] != m:
            raise FrameShapeWrong(f"a pool of {m} candidates is no grid of {self.shape}")

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Belief about the noise-free property at some candidates.

    Attributes
    ----------
    mean, std
        Mean and standard deviation in the target's units, each shape (m,).
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


class Suggestion(Frozen):
    """Where to measure next, and why.

    Attributes
    ----------
    candidate
        Index into the pool.
    position
        `(y, x)` in metres.
    why
        One line for a person: which rule chose it.
    score
        The acquisition value that won; None where nothing was scored.
    mean, std
        Belief at this candidate before measuring; None without a surrogate.
    """

    candidate: NonNegativeInt
    position: tuple[float, float]
    why: str
    score: float | None = None
    mean: float | None = None
    std: float | None = None
