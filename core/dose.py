"""What an instrument tells of the dose on its specimen: a map coarse enough for the control channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from .frozen import Frozen
from .signal import Axis, Signal

PER_NM2 = 1e-18
"""Electrons per square metre times this are electrons per square nanometre, the field's unit."""


class DoseReport(Frozen):
    """The dose so far, in specimen coordinates (scan position plus stage position), SI units.

    Attributes
    ----------
    specimen, since
        What it is called and since when it is there; empty if nobody said.
    cell_m
        Side of the cells in which the instrument counts; a pixel of the map may hold several.
    electrons
        All electrons on this specimen, inside the map and outside.
    greatest_per_m2, greatest_at_m
        The largest dose of any cell anywhere, and the centre `(y, x)` of that cell.
    y, x
        Axes of the map, the pixels' centres.
    mean, greatest, left
        Mean and largest dose, and the smallest remaining budget, of each pixel's cells in electrons per square
        metre: little-endian float32, rows first; `left` is infinite where there is no budget.
    budgets
        Electrons per square metre by configuration key; empty if nothing is bounded.
    """

    specimen: str
    since: str
    cell_m: PositiveFloat
    electrons: NonNegativeFloat
    greatest_per_m2: NonNegativeFloat
    greatest_at_m: tuple[float, float] | None
    y: Axis
    x: Axis
    mean: bytes
    greatest: bytes
    left: bytes
    budgets: dict[str, float]

    def map(self, name: str = "greatest") -> Signal:
        """Return one of the maps: `mean`, `greatest` or `left`, shape (ny, nx)."""
        quantity = {"mean": "mean dose", "greatest": "dose", "left": "dose left"}[name]
        return Signal(self._numbers(name), (self.y, self.x), quantity, "1/m^2", metadata={"cell_m": self.cell_m})

    def _numbers(self, name: str) -> NDArray[np.float32]:
        return np.frombuffer(getattr(self, name), dtype="<f4").reshape(self.y.size, self.x.size)


def spelt_dose(per_m2: float) -> str:
    """Return a dose as a microscopist reads it.

    >>> spelt_dose(1.5e21)
    '1500 e/nm²'
    """
    return f"{per_m2 * PER_NM2:.4g} e/nm²"
