"""One recorded dataset seen as a detector: frames over a grid (y, x), read when asked for.

Whatever order the file has, `frames` gives `(y, x)` scans of `(v, u)` or energy frames,
with y and x ascending. The dataset stays on disk; only the rows asked for are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import RecordingUnreadable
from ...core.signal import Axis, Signal
from .found import Numbers


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the axes of a detector are in its file.

    Attributes
    ----------
    scan
        Dimensions of y and x; None for one that the file does not have, which then has one position.
    frame
        Dimensions of one frame, in the order of `frame_axes`.
    falling
        Whether the file counts y and x downwards.
    """

    scan: tuple[int | None, int | None]
    frame: tuple[int, ...]
    falling: tuple[bool, bool]


@dataclass(frozen=True, eq=False)
class RecordedDetector:
    """A recorded dataset; for one thread, as long as its recording is open.

    Attributes
    ----------
    name
        Detector name; see `Recording` for how it is chosen.
    y, x
        Axes of the recorded grid in metres, ascending.
    frame_axes
        Axes of one frame, SI units.
    dtype
        numpy dtype string of the file's numbers, which are not converted.
    quantity, units
        What the numbers measure.
    valid
        Where frames were recorded, shape (ny, nx).
    simulated
        Whether the file says that a simulator made it.
    metadata
        What the file tells about the acquisition, nested.
    path
        Path of the dataset inside the file.
    file
        The file.
    calibrated
        Whether y and x are lengths that the file tells; else a pixel stands for `placing.NOMINAL_M`.
    notes
        What its reader had to guess; one line each.
    place
        How y and x were found where not as the file tells them, else empty.
    """

    name: str
    y: Axis
    x: Axis
    frame_axes: tuple[Axis, ...]
    dtype: str
    quantity: str
    units: str
    valid: NDArray[np.bool_]
    simulated: bool
    metadata: Mapping[str, object]
    path: str
    layout: Layout
    dataset: Numbers
    file: Path
    calibrated: bool
    notes: tuple[str, ...]
    place: str

    @property
    def shape(self) -> tuple[int, int]:
        """Recorded positions `(ny, nx)`."""
        return self.y.size, self.x.size

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return tuple(axis.size for axis in self.frame_axes)

    @property
    def kind(self) -> Literal["image", "spectrum", "frames"]:
        """`image` for one number per position, `spectrum` for a line of them, `frames` for more."""
        return ("image", "spectrum")[len(self.frame_axes)] if len(self.frame_axes) < 2 else "frames"

    def frames(self, indices: NDArray[np.int64]) -> NDArray:
        """Return some frames in the file's dtype, shape (n, *frame_shape).

        Parameters
        ----------
        indices
            Flat index of each in the grid `(y, x)`, x fastest, shape (n,).

        Raises
        ------
        RecordingUnreadable
            If the file is damaged there.
        """
        taken = np.empty((len(indices), *self.frame_shape), self.dtype)
        rows, columns = np.divmod(indices, self.x.size)
        for row in np.unique(rows):
            here = np.flatnonzero(rows == row)
            first, last = int(columns[here].min()), int(columns[here].max())
            taken[here] = self._block(slice(int(row), int(row) + 1), slice(first, last + 1))[0, columns[here] - first]
        return taken

    def rows(self, first: int, end: int) -> NDArray:
        """Return the frames of whole rows from `first` up to `end`, shape (end - first, nx, *frame_shape).

        Raises
        ------
        RecordingUnreadable
            If the file is damaged there.
        """
        return self._block(slice(first, end), slice(0, self.x.size))

    def signal(self) -> Signal:
        """Return everything recorded, axes `(y, x, *frame_axes)`.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged.
        """
        data = self.rows(0, self.y.size)
        valid = None if self.valid.all() else self.valid
        axes = (self.y, self.x, *self.frame_axes)
        return Signal(data, axes, self.quantity, self.units, valid, dict(self.metadata))

    def _block(self, rows: slice, columns: slice) -> NDArray:
        """Return a rectangle of frames, shape (rows, columns, *frame_shape)."""
        place: list[slice] = [slice(None)] * len(self.dataset.shape)
        for dimension, falling, size, part in zip(
            self.layout.scan, self.layout.falling, self.shape, (rows, columns), strict=True
        ):
            if dimension is not None:
                place[dimension] = slice(size - part.stop, size - part.start) if falling else part
        try:
            block = self.dataset[tuple(place)]
        except (OSError, RuntimeError, ValueError) as error:
            raise RecordingUnreadable(f"{self.file} is damaged in {self.path} near row {rows.start}: {error}") from None
        absent = [i for i, dimension in enumerate(self.layout.scan) if dimension is None]
        there = [dimension for dimension in self.layout.scan if dimension is not None]
        turned = np.expand_dims(block.transpose(*there, *self.layout.frame), absent)
        return turned[tuple(slice(None, None, -1 if falling else 1) for falling in self.layout.falling)]
