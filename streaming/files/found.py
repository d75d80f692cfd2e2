"""What a reader finds in a file, before anything is decided about it: numbers, axes, facts.

Every file family has one reader, and all of them return this one kind of value; turning it
into a detector of an instrument is the work of `placing`, the same for all. So a new format
needs one function, and a guess about axes is made in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .scales import Scale


class Numbers(Protocol):
    """An array that is read where it is sliced: of numpy, of an HDF5 file, or of our own."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each dimension."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers as the file holds them."""
        ...

    def __getitem__(self, place: tuple[slice, ...], /) -> NDArray:
        """Read one rectangle; one slice for each dimension, steps of one."""
        ...


@dataclass(frozen=True, eq=False)
class Found:
    """One dataset as its file tells it.

    Attributes
    ----------
    path
        Where it is in its file.
    data
        The numbers, axes in the file's order.
    scales
        Its axes, one for each dimension.
    quantity, units
        What the numbers measure, as the file spells it.
    detector
        Name of the detector, where the file tells one; it is kept.
    title
        What the file calls the dataset, or empty.
    metadata
        Facts about the acquisition, nested.
    valid
        Which positions hold frames, in the file's order; None if all do.
    positions
        `(y, x)` in metres of each frame of a list of points, shape (n, 2); None on a grid.
    notes
        What its reader had to guess; one line each.
    why
        Why it cannot be played back, and what to do; empty where only its axes decide.
    """

    path: str
    data: Numbers
    scales: tuple[Scale, ...]
    quantity: str = ""
    units: str = ""
    detector: str = ""
    title: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    valid: NDArray[np.bool_] | None = None
    positions: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    why: str = ""

    def passed_over(self) -> str:
        """Return why it is no detector, in one line."""
        axes = ", ".join(scale.name or "unnamed" for scale in self.scales)
        plain = "no grid of numbers over y and x" if self.data.dtype.kind in "biuf" else "no array of plain numbers"
        why = self.why or f"{plain} and was passed over"
        return f"{self.path} ({axes}; {self.data.dtype}) is {why}"
