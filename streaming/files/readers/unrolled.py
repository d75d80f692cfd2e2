"""Views of stored numbers in another shape than the file's, still read only where they are sliced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..found import Numbers


class Unrolled:
    """Frames that a file keeps as one long list, seen on their grid.

    Parameters
    ----------
    data
        The list, shape (n, ...).
    order
        Which of the list lies at each place of the grid, shape (ny, nx).
    columns
        Which number of a list's row lies at each place of a frame, any shape; None for rows that are frames
        already.
    """

    def __init__(self, data: Numbers, order: NDArray[np.intp], columns: NDArray[np.intp] | None = None) -> None:
        self._data, self._order, self._columns = data, order, columns
        frame_shape = data.shape[1:] if columns is None else columns.shape
        self.shape: tuple[int, ...] = order.shape + tuple(frame_shape)
        self.dtype: np.dtype = data.dtype

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray:
        wanted = self._order[place[:2]]
        first, last = int(wanted.min()), int(wanted.max())
        whole = tuple(slice(None) for _ in self._data.shape[1:])
        taken = self._data[(slice(first, last + 1), *whole)][wanted - first]
        if self._columns is not None:
            taken = taken[..., self._columns]
        return taken[(slice(None), slice(None), *place[2:])]


class WithoutAxes:
    """An array seen without some of its axes, each of which has one element."""

    def __init__(self, data: Numbers, without: tuple[int, ...]) -> None:
        self._data, self._without = data, without
        self.shape: tuple[int, ...] = tuple(size for i, size in enumerate(data.shape) if i not in without)
        self.dtype: np.dtype = data.dtype

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray:
        kept = iter(place)
        whole = tuple(slice(None) if i in self._without else next(kept) for i in range(len(self._data.shape)))
        return self._data[whole].squeeze(axis=self._without)
