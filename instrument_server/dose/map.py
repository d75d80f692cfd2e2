"""Where on the specimen the electrons fell: square cells over specimen coordinates, kept in small tiles.

Specimen coordinates are scan position plus stage position. The electrons of a position are
charged to the cell that the probe stands in, whole: so the map's sum is the sum of what was
charged, and a cell's dose is its electrons over its area. A cell should be as wide as the beam
does harm around the probe, and no narrower than the steps of a scan.

Tiles exist only where dose fell, so a stage may travel millimetres between two fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core import Acquisition, GridScan, Region

TILE = 32
"""Cells along one side of a tile."""

Cells = NDArray[np.float64]
Tile = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of cells with electrons in them.

    Attributes
    ----------
    row, column
        Its first cell, counted from the specimen's zero.
    electrons
        In each cell, shape (rows, columns).
    """

    row: int
    column: int
    electrons: Cells

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.electrons.shape[0], self.electrons.shape[1]

    def scaled(self, factor: float) -> Block:
        """Return as many electrons, times a factor."""
        return Block(self.row, self.column, self.electrons * factor)


class DoseMap:
    """Electrons by cell; for one thread at a time.

    Parameters
    ----------
    cell_m
        Side of a cell.
    tiles
        What was kept, each shape (TILE, TILE).
    """

    def __init__(self, cell_m: float, tiles: dict[Tile, Cells] | None = None) -> None:
        self.cell_m = cell_m
        self.tiles = dict(tiles or {})

    @property
    def electrons(self) -> float:
        """All electrons in the map."""
        return float(sum(tile.sum() for tile in self.tiles.values()))

    def with_(self, block: Block) -> dict[Tile, Cells]:
        """Return the tiles that a block changes, as they would be with it; the map stays as it is."""
        changed: dict[Tile, Cells] = {}
        for tile, here, there in _overlaps(block.row, block.column, block.shape):
            changed[tile] = self.tiles.get(tile, np.zeros((TILE, TILE))).copy()
            changed[tile][here] += block.electrons[there]
        return changed

    def read(self, row: int, column: int, shape: tuple[int, int]) -> Cells:
        """Return the electrons in a rectangle of cells, shape (rows, columns)."""
        found = np.zeros(shape)
        for tile, here, there in _overlaps(row, column, shape):
            if tile in self.tiles:
                found[there] = self.tiles[tile][here]
        return found

    def extent(self) -> tuple[int, int, int, int] | None:
        """Return first row, first column, rows and columns of all tiles together; None while there are none."""
        if not self.tiles:
            return None
        places = np.array(list(self.tiles)) * TILE
        low, high = places.min(axis=0), places.max(axis=0) + TILE
        return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def block_of(
    plan: Acquisition, field: Region, stage: tuple[float, float], cell_m: float, electrons: float,
    positions: float | None = None,
) -> Block:  # fmt: skip
    """Return where the electrons of a plan fall.

    Parameters
    ----------
    plan, field, stage
        What is scanned in which field of view, with the stage at `(y, x)` in metres.
    cell_m
        Side of a cell.
    electrons
        On each position.
    positions
        How many of the first positions were exposed, the last of them perhaps in part; None for all.
    """
    if isinstance(plan, GridScan):
        y, x = (axis.coordinates() + offset for axis, offset in zip(plan.axes(field), stage, strict=True))
        rows, columns = cells_of(y, cell_m), cells_of(x, cell_m)
        box = (int(rows.min()), int(columns.min()))
        across = np.bincount(columns - box[1]).astype(np.float64)
        if positions is None:
            return Block(*box, np.outer(np.bincount(rows - box[0]), across) * electrons)
        whole = min(int(positions // len(x)), len(y))
        found = np.outer(np.bincount(rows[:whole] - box[0], minlength=int(rows.max()) - box[0] + 1), across)
        if whole < len(y):
            np.add.at(found[rows[whole] - box[0]], columns - box[1], _exposed(len(x), positions - whole * len(x)))
        return Block(*box, found * electrons)
    points = plan.positions(field) + np.array(stage)
    rows, columns = cells_of(points[:, 0], cell_m), cells_of(points[:, 1], cell_m)
    box = (int(rows.min()), int(columns.min()))
    found = np.zeros((int(rows.max()) - box[0] + 1, int(columns.max()) - box[1] + 1))
    share = np.ones(len(points)) if positions is None else _exposed(len(points), positions)
    np.add.at(found, (rows - box[0], columns - box[1]), share)
    return Block(*box, found * electrons)


def cells_of(coordinates_m: NDArray[np.float64], cell_m: float) -> NDArray[np.int64]:
    """Return the number of the cell that each coordinate lies in, counted from the specimen's zero, same shape."""
    return np.floor(coordinates_m / cell_m).astype(np.int64)


def _exposed(count: int, positions: float) -> NDArray[np.float64]:
    """Return which part of each of `count` positions was exposed, if the first `positions` of them were."""
    return np.clip(positions - np.arange(count, dtype=np.float64), 0.0, 1.0).astype(np.float64)


def _overlaps(
    row: int, column: int, shape: tuple[int, ...]
) -> Iterator[tuple[Tile, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield each tile that a rectangle touches, where in the tile, and where in the rectangle."""
    for vertical in range(row // TILE, (row + shape[0] - 1) // TILE + 1):
        for horizontal in range(column // TILE, (column + shape[1] - 1) // TILE + 1):
            sides = [
                (max(first, tile * TILE), min(first + size, (tile + 1) * TILE), tile * TILE, first)
                for first, size, tile in ((row, shape[0], vertical), (column, shape[1], horizontal))
            ]
            here = tuple(slice(low - corner, high - corner) for low, high, corner, _ in sides)
            there = tuple(slice(low - first, high - first) for low, high, _, first in sides)
            yield (vertical, horizontal), (here[0], here[1]), (there[0], there[1])
