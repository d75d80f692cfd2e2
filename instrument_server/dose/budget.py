"""How much dose each place of the specimen may take: one number for everywhere, and rectangles with their own.

Within a rectangle its own budget counts, be it more or less than elsewhere; where rectangles
overlap, the least. A cell that lies only partly in a rectangle obeys both sides.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from ...core import Frozen, InstrumentInfo, SettingsInvalid
from ...core.nearest import nearest

Cells = NDArray[np.float64]
MOST_ACROSS = 1024
"""Cells along one side of a field of view."""

EVERYWHERE = "dose.budget_per_m2"


class DoseRegion(Frozen):
    """A rectangle of the specimen with a budget of its own; its corner of least `y` and `x`, metres."""

    y_m: float
    x_m: float
    height_m: PositiveFloat
    width_m: PositiveFloat
    budget_per_m2: PositiveFloat


class DoseSettings(Frozen):
    """What the configuration says about dose.

    Attributes
    ----------
    budget_per_m2
        Electrons per square metre that any place may take; None for no bound.
    regions
        Rectangles in specimen coordinates with budgets of their own, by name.
    cell_m
        Side of the map's cells; None for 1/64 of the field of view.
    current_a
        Current in the probe, the most it can be, where the instrument has no parameter for it.
    parked_m
        Where the probe stands between scans, scan coordinates `(y, x)`: what a proof that opens the beam exposes.
    """

    budget_per_m2: PositiveFloat | None = None
    regions: dict[str, DoseRegion] = Field(default_factory=dict)
    cell_m: PositiveFloat | None = None
    current_a: PositiveFloat | None = None
    parked_m: tuple[float, float] | None = None

    def budgets(self) -> dict[str, float]:
        """Return every budget by its configuration key, electrons per square metre."""
        everywhere = {} if self.budget_per_m2 is None else {EVERYWHERE: self.budget_per_m2}
        return everywhere | {key_of(name): region.budget_per_m2 for name, region in self.regions.items()}

    def narrowed(self, budgets: Mapping[str, float]) -> DoseSettings:
        """Return these settings with smaller budgets, by key; a budget for everywhere may be new.

        Raises
        ------
        SettingsInvalid
            If a key is unknown, or a budget would be larger than it is, or nothing.
        """
        known = self.budgets()
        for key, wanted in budgets.items():
            if key != EVERYWHERE and key not in known:
                raise SettingsInvalid(f"no budget {key!r}{nearest(key, {EVERYWHERE, *known})}")
            if wanted <= 0:
                raise SettingsInvalid(
                    f"{key} = {wanted:g}: a budget is more than 0 electrons per square metre; to expose nothing, "
                    "take the lease or turn the switch at the instrument"
                )
            if wanted > known.get(key, np.inf):
                raise SettingsInvalid(f"{key} = {wanted:g} is not within {known[key]:g}: a setting may only narrow it")
        regions = {
            name: region.model_copy(update={"budget_per_m2": budgets.get(key_of(name), region.budget_per_m2)})
            for name, region in self.regions.items()
        }
        everywhere = budgets.get(EVERYWHERE, self.budget_per_m2)
        return self.model_copy(update={"budget_per_m2": everywhere, "regions": regions})

    def over(self, row: int, column: int, shape: tuple[int, int], cell_m: float) -> tuple[Cells, list[str], NDArray]:
        """Return the budget of each cell of a rectangle, electrons per square metre, and which key sets it.

        Returns
        -------
        tuple
            Budgets, shape (rows, columns), infinite where there is none; the keys; the index into these for
            each cell, same shape, -1 where there is none.
        """
        lowest, keys = np.full(shape, np.inf), list(self.budgets())
        which, is_inside = np.full(shape, -1), np.zeros(shape, dtype=bool)
        for name, region in self.regions.items():
            touched, inside = _cover(region, row, column, shape, cell_m)
            lower = touched & (region.budget_per_m2 < lowest)
            lowest[lower], which[lower] = region.budget_per_m2, keys.index(key_of(name))
            is_inside |= inside
        if self.budget_per_m2 is not None:
            lower = ~is_inside & (self.budget_per_m2 < lowest)
            lowest[lower], which[lower] = self.budget_per_m2, keys.index(EVERYWHERE)
        return lowest, keys, which


def cell_of(info: InstrumentInfo, settings: DoseSettings) -> float:
    """Return the side of the map's cells for an instrument.

    Raises
    ------
    SettingsInvalid
        If a field of view would hold too many.
    """
    side = max(info.field.height_m, info.field.width_m)
    cell_m = settings.cell_m or side / 64
    if side / cell_m > MOST_ACROSS:
        raise SettingsInvalid(
            f"dose.cell_m = {cell_m:g} m: the field of view of {side:g} m would hold {side / cell_m:.0f} cells in a "
            f"row, the most is {MOST_ACROSS}; choose at least {side / MOST_ACROSS:.2g} m"
        )
    return cell_m


def is_countable(info: InstrumentInfo, settings: DoseSettings) -> bool:
    """Tell whether plans can be charged beforehand, which needs a current.

    Raises
    ------
    SettingsInvalid
        If a budget is asked for and they cannot, or the current is given where the instrument tells it.
    """
    if info.beam_current is not None and settings.current_a is not None:
        raise SettingsInvalid(
            f"dose.current_a = {settings.current_a:g}: {info.name} tells its current itself ({info.beam_current}); "
            "leave the key out"
        )
    known = info.beam_current is not None or settings.current_a is not None
    if settings.budgets() and not known:
        raise SettingsInvalid(
            f"{next(iter(settings.budgets()))} is set, but {info.name} has no parameter for its beam current, so no "
            "plan can be charged before it begins: give dose.current_a, the most that the probe can carry, in amperes"
        )
    return known


def key_of(region: str) -> str:
    """Return the configuration key of a region's budget."""
    return f"dose.regions.{region}.budget_per_m2"


def _cover(
    region: DoseRegion, row: int, column: int, shape: tuple[int, int], cell_m: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cells a region touches and which lie wholly in it, each shape (rows, columns)."""
    touched, inside = [], []
    for first, size, low_m, extent_m in (
        (row, shape[0], region.y_m, region.height_m), (column, shape[1], region.x_m, region.width_m),
    ):  # fmt: skip
        # Edges that fall on a cell's edge but for rounding count as on it.
        low, high = np.round(low_m / cell_m, 6), np.round((low_m + extent_m) / cell_m, 6)
        cells = first + np.arange(size)
        touched.append((cells + 1 > low) & (cells < high))
        inside.append((cells >= low) & (cells + 1 <= high))
    return np.outer(*touched), np.outer(*inside)
