"""The dose budget: every plan is charged before it begins, and settled by what its end says.

Reserved is exposure times current for every position of the plan, so what runs is always within
the budget already. What comes of it is counted again when it has ended (`count`). A scan of
which nobody knows how it ended stays charged in full.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core import (
    Acquisition,
    DoseRefused,
    InstrumentInfo,
    LimitRefused,
    PointScan,
    ScanEnd,
    SettingsInvalid,
    StorageFailed,
)
from ...core.dose import spelt_dose
from .budget import DoseSettings, cell_of
from .count import cost_of
from .map import Block, Cells, DoseMap, Tile, block_of, cells_of
from .store import DoseStore

ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Exact since the SI of 2019."""

MOST_TILES = 4096
"""Tiles of one specimen, 32 MiB; a plan that needs more is refused."""

ROUNDING = 1e-9
"""Part of a budget by which sums may miss it and still count as exactly there."""

Values = Mapping[str, float]


class Reserved(NamedTuple):
    """What a scan is charged with: its plan, where the stage was, and electrons on each position."""

    plan: Acquisition
    stage: tuple[float, float]
    electrons: float
    block: Block


class Dose:
    """The dose on one specimen and its budget; any thread may call.

    Parameters
    ----------
    info
        The instrument: its field of view, stage and current.
    settings
        Budgets, cells, and a current where the instrument tells none.
    store
        Where the map is kept; None to keep it nowhere.
    tiles
        The map to begin with, where it is kept nowhere.

    Attributes
    ----------
    settings
        With the budgets that hold now; may be set anew at any time.
    """

    def __init__(
        self, info: InstrumentInfo, settings: DoseSettings, store: DoseStore | None,
        tiles: Mapping[Tile, Cells] | None = None,
    ) -> None:  # fmt: skip
        self._info, self._store = info, store
        self.settings = settings
        self._lock = threading.RLock()
        self._cell_m = cell_of(info, settings)
        self._tiles = dict(tiles or {})
        self._map: DoseMap | None = None
        self._open: dict[str, Reserved] = {}
        with self.reading():
            # A map that cannot be read is told at the start, not by the first command.
            pass

    @contextmanager
    def reading(self) -> Iterator[DoseMap]:
        """Give the map, with what scans under way have reserved; nobody changes it within the block."""
        with self._lock:
            if self._map is None:
                self._map = DoseMap(self._cell_m, self._tiles if self._store is None else self._store.tiles())
            yield self._map

    def specimen(self) -> tuple[str, str]:
        """Return the name of the specimen and since when it is there."""
        with self._lock:
            return ("", "") if self._store is None else self._store.specimen()

    def stage(self, values: Values) -> tuple[float, float]:
        """Return where the stage is, `(y, x)` in metres; zero for an instrument without one."""
        y, x = (0.0, 0.0) if self._info.stage is None else (self._value(name, values) for name in self._info.stage)
        return y, x

    def electrons(self, plan: Acquisition, values: Values) -> float:
        """Return how many electrons each position of a plan takes; an expectation takes none."""
        name = self._info.beam_current
        current_a = self._value(name, values) if name is not None else self.settings.current_a or 0.0
        return 0.0 if plan.expected else current_a * plan.dwell_s / ELEMENTARY_CHARGE_C

    def planned(self, plan: Acquisition, values: Values) -> Reserved:
        """Return what a plan would be charged with."""
        stage, electrons = self.stage(values), self.electrons(plan, values)
        return Reserved(plan, stage, electrons, self._block(plan, stage, electrons))

    def objection(self, reserved: Reserved) -> DoseRefused | None:
        """Return what speaks against a plan: the place where it would pass a budget the furthest."""
        return self._past(reserved, reserved.block.electrons, "this plan adds")

    def reserve(self, scan_id: str, plan: Acquisition, values: Values) -> None:
        """Charge a plan in full before it begins; an expectation costs nothing.

        Raises
        ------
        DoseRefused
            If it would pass a budget anywhere.
        LimitRefused
            If the map would grow beyond its bound.
        StorageFailed
            If the charge cannot be kept; nothing may be exposed then.
        """
        if plan.expected:
            return
        reserved = self.planned(plan, values)
        with self.reading() as there:
            refusal = self.objection(reserved)
            if refusal is not None:
                raise refusal
            changed = there.with_(reserved.block)
            if len(there.tiles.keys() | changed.keys()) > MOST_TILES:
                raise LimitRefused(
                    f"the dose map holds {MOST_TILES} tiles, its most: begin a new specimen (beamloop dose HOST "
                    "--new-specimen NAME) or choose a larger dose.cell_m"
                )
            self._keep(changed, lambda store: store.begin(scan_id, changed))
            self._open[scan_id] = reserved

    def settle(self, end: ScanEnd) -> str:
        """Charge what a scan cost in the end; return what is wrong if the two counts of its electrons disagree.

        Raises
        ------
        StorageFailed
            If that cannot be kept; it stays charged in full then.
        """
        with self._lock:
            reserved = self._open.pop(end.scan_id, None)
            if reserved is None:
                return ""
            plan, count = reserved.plan, reserved.plan.count
            cost = cost_of(end, reserved.electrons, count, self._info.counts_dose)
            self._charge_instead(
                end.scan_id, reserved, self._block(plan, reserved.stage, cost.electrons, cost.positions)
            )
            return cost.wrong

    def reserve_parked(self, name: str, seconds: float, values: Values) -> None:
        """Charge the place under the parked probe with so many seconds of open beam; raises as `reserve`."""
        if self.settings.parked_m is None:
            raise SettingsInvalid("dose.parked_m is not set: where the parked probe stands is not known")
        self.reserve(name, PointScan(detector=name, points=(self.settings.parked_m,), dwell_s=seconds), values)

    def settle_parked(self, name: str, seconds: float) -> None:
        """Charge instead how long it was open, at most what was reserved; raises as `settle`."""
        with self._lock:
            reserved = self._open.pop(name)
            part = min(1.0, seconds / reserved.plan.dwell_s)
            self._charge_instead(name, reserved, reserved.block.scaled(part))

    def release(self, scan_id: str) -> None:
        """Give back the whole charge of a scan that was refused before it began; raises as `settle`."""
        with self._lock:
            reserved = self._open.pop(scan_id, None)
            if reserved is not None:
                self._charge_instead(scan_id, reserved, reserved.block.scaled(0.0))

    def stay(self, scan_id: str) -> None:
        """Leave a scan of which nobody knows how it ended charged in full; raises as `settle`."""
        with self._lock:
            if self._open.pop(scan_id, None) is not None:
                self._keep({}, lambda store: store.settle((scan_id,), {}))

    def passed(self) -> DoseRefused | None:
        """Return what is said of a scan under way whose charge passes a budget by now; None if none does."""
        with self._lock:
            refusals = (self._past(r, np.zeros(r.block.electrons.shape), "nothing more") for r in self._open.values())
            return next((refusal for refusal in refusals if refusal is not None), None)

    def room(self, block: Block, so_far: NDArray[np.float64], each: float) -> NDArray[np.float64]:
        """Return how many times `each` electrons fit into each cell of a block, shape (rows, columns)."""
        if each == 0:
            return np.full(block.shape, np.inf)
        budget, _, _ = self.settings.over(block.row, block.column, block.shape, self._cell_m)
        return np.floor((budget * (1 + ROUNDING) * self._cell_m**2 - so_far) / each + ROUNDING).clip(min=0)

    def copy(self) -> Dose:
        """Return a dose of its own that begins as this one stands, and is kept nowhere."""
        with self.reading() as there:
            return Dose(self._info, self.settings, None, there.tiles)

    def allowed(self, plan: Acquisition, values: Values) -> NDArray[np.bool_]:
        """Tell of each position of a plan whether it could be measured, alone; shape (n,)."""
        points = plan.positions(self._info.field) + np.array(self.stage(values))
        rows, columns = cells_of(points[:, 0], self._cell_m), cells_of(points[:, 1], self._cell_m)
        box = Block(int(rows.min()), int(columns.min()), np.zeros((int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)))
        with self.reading() as there:
            dose = there.read(box.row, box.column, box.shape) + self.electrons(plan, values)
            budget, _, _ = self.settings.over(box.row, box.column, box.shape, self._cell_m)
            fits = dose / self._cell_m**2 <= budget * (1 + ROUNDING)
        return fits[rows - box.row, columns - box.column]

    def exchange(self, name: str, since: str) -> None:
        """Forget the map and begin another specimen.

        Raises
        ------
        LimitRefused
            While a scan is under way.
        StorageFailed
            If that cannot be kept.
        """
        with self.reading() as there:
            if self._open:
                raise LimitRefused(f"scan {next(iter(self._open))} is still running; wait for its end, or stop it")
            self._keep({}, lambda store: store.exchange(name, since))
            there.tiles.clear()

    def close(self) -> None:
        """Close the file; scans still under way stay charged in full."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _past(self, reserved: Reserved, more: NDArray[np.float64], adds: str) -> DoseRefused | None:
        block, area = reserved.block, self._cell_m**2
        with self.reading() as there:
            so_far = there.read(block.row, block.column, block.shape) / area
        budget, keys, which = self.settings.over(block.row, block.column, block.shape, self._cell_m)
        # A place that this plan leaves alone is no reason to refuse it; next to no budget is passed endlessly.
        with np.errstate(over="ignore"):
            past = np.where(block.electrons > 0, (so_far + more / area) / budget, 0.0)
        if past.max() <= 1 + ROUNDING:
            return None
        row, column = np.unravel_index(int(past.argmax()), past.shape)
        y, x = ((first + at + 0.5) * self._cell_m - stage for first, at, stage in
                zip((block.row, block.column), (int(row), int(column)), reserved.stage, strict=True))  # fmt: skip
        told = f"{adds} {spelt_dose(more[row, column] / area)}, " if more[row, column] else ""
        return DoseRefused(
            f"dose at y = {y:.4g} m, x = {x:.4g} m refused: it has had {spelt_dose(so_far[row, column])}, {told}the "
            f"budget is {spelt_dose(budget[row, column])} (config key {keys[which[row, column]]})"
        )

    def _charge_instead(self, scan_id: str, reserved: Reserved, cost: Block) -> None:
        with self.reading() as there:
            back = Block(reserved.block.row, reserved.block.column, cost.electrons - reserved.block.electrons)
            changed = there.with_(back)
            for cells in changed.values():
                # What was added and taken away again may leave less than nothing, by its last digit.
                np.maximum(cells, 0.0, out=cells)
            self._keep(changed, lambda store: store.settle((scan_id,), changed))

    def _keep(self, changed: Mapping[Tile, Cells], act: Callable[[DoseStore], None]) -> None:
        try:
            if self._store is not None:
                act(self._store)
        except StorageFailed:
            # The disk may have it or not; what it has is the truth, and is read when it is asked for again.
            self._map = None
            raise
        if self._map is not None:
            self._map.tiles.update(changed)

    def _block(
        self, plan: Acquisition, stage: tuple[float, float], electrons: float, positions: float | None = None
    ) -> Block:
        return block_of(plan, self._info.field, stage, self._cell_m, electrons, positions)

    def _value(self, name: str, values: Values) -> float:
        return values.get(name, self._info.parameter(name).value)
