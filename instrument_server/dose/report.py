"""The dose map as a client gets it: coarse enough for the control channel, in pixels of whole cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core import Axis, InstrumentInfo
from ...core.dose import DoseReport
from .charging import Dose
from .map import TILE, DoseMap

MOST_PIXELS = 66
"""Pixels along one side: a field of 64 cells that begins within one has 65."""

Area = Literal["field", "everywhere"]


def dose_report(dose: Dose, info: InstrumentInfo, values: Mapping[str, float], area: Area = "field") -> DoseReport:
    """Return the dose over the field of view, where the stage is now, or over all places that ever took any."""
    with dose.reading() as there:
        stage = dose.stage(values)
        row, column, rows, columns = _field(info, stage, there.cell_m)
        extent = there.extent() if area == "everywhere" else None
        if extent is not None:
            row, column, rows, columns = extent
        step = math.ceil(max(rows, columns) / MOST_PIXELS)
        shape = math.ceil(rows / step), math.ceil(columns / step)
        size = shape[0] * step, shape[1] * step
        per_m2 = there.read(row, column, size) / there.cell_m**2
        budget, _, _ = dose.settings.over(row, column, size, there.cell_m)
        greatest, at = _greatest(there)
        specimen, since = dose.specimen()
        return DoseReport(
            specimen=specimen, since=since, cell_m=there.cell_m, electrons=there.electrons,
            greatest_per_m2=greatest, greatest_at_m=at,
            y=_axis("y", row, step, shape[0], there.cell_m), x=_axis("x", column, step, shape[1], there.cell_m),
            mean=_packed(_pixels(per_m2, step).mean(axis=(1, 3))),
            greatest=_packed(_pixels(per_m2, step).max(axis=(1, 3))),
            left=_packed(_pixels(np.maximum(budget - per_m2, 0.0), step).min(axis=(1, 3))),
            budgets=dose.settings.budgets(),
        )  # fmt: skip


def _field(info: InstrumentInfo, stage: tuple[float, float], cell_m: float) -> tuple[int, int, int, int]:
    """Return first row, first column, rows and columns of the cells that the field of view touches."""
    field = info.field
    # Edges that fall on a cell's edge but for rounding count as on it.
    low = [round((c + s) / cell_m, 6) for c, s in zip((field.y_m, field.x_m), stage, strict=True)]
    high = [a + round(e / cell_m, 6) for a, e in zip(low, (field.height_m, field.width_m), strict=True)]
    first = [math.floor(edge) for edge in low]
    rows, columns = (max(1, math.ceil(edge) - at) for edge, at in zip(high, first, strict=True))
    return first[0], first[1], rows, columns


def _greatest(there: DoseMap) -> tuple[float, tuple[float, float] | None]:
    best: tuple[float, tuple[float, float] | None] = (0.0, None)
    for (vertical, horizontal), cells in there.tiles.items():
        row, column = divmod(int(cells.argmax()), TILE)
        if cells[row, column] > best[0]:
            best = (float(cells[row, column]), (vertical * TILE + row, horizontal * TILE + column))
    electrons, cell = best
    at = None if cell is None else ((cell[0] + 0.5) * there.cell_m, (cell[1] + 0.5) * there.cell_m)
    return electrons / there.cell_m**2, at


def _axis(name: str, first: int, step: int, size: int, cell_m: float) -> Axis:
    offset_m = (first + step / 2) * cell_m
    return Axis(name=name, size=size, units="m", quantity="length", offset=offset_m, scale=step * cell_m)


def _pixels(cells: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Return cells by pixel, shape (ny, step, nx, step)."""
    return cells.reshape(cells.shape[0] // step, step, cells.shape[1] // step, step)


def _packed(pixels: NDArray[np.float64]) -> bytes:
    return pixels.astype("<f4").tobytes()
