"""A scan that is written while it is measured: space for all frames first, then batch by batch.

Everything is created before the first frame, so a file that is cut off in the middle of a
run still opens, and its mask tells which frames are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core.frame import FrameBatch, Scan
from .compression import CHUNK_BYTES, Compression, chunk_of_frames, filters
from .nsid import POSITIONS, VALID, create_main, group_of


class GrowingSignal:
    """A main dataset with a mask of what has been written; for one thread, which also owns the file.

    Made by `create_signal`. Frames that were not written read as nan (floats) or 0.
    """

    def __init__(self, dataset: h5py.Dataset, scan: Scan) -> None:
        self.dataset = dataset
        self.scan = scan
        group = group_of(dataset)
        self._mask = cast(h5py.Dataset, group[VALID])
        self._positions = cast(h5py.Dataset, group[POSITIONS]) if POSITIONS in group else None
        self._valid = np.zeros(scan.n_frames, dtype=np.bool_)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which frames have been written, by flat scan index, shape (n_frames,)."""
        return self._valid.copy()

    def write_batch(self, batch: FrameBatch) -> None:
        """Write some frames, in any order; a frame that comes again replaces itself.

        Raises
        ------
        FrameShapeWrong
            If the batch is not what the scan's header announced.
        """
        batch.check(self.scan)
        self.put(batch)
        self.mark(batch)

    def put(self, batch: FrameBatch) -> None:
        """Write frames that were checked, and do not yet say that they are there."""
        for chosen, place in _runs(batch.indices, self.scan.scan_shape):
            self.dataset[place] = batch.frames[chosen].reshape(_extent(place) + self.scan.frame_shape)

    def mark(self, batch: FrameBatch) -> None:
        """Write where the frames of a batch were taken, and that they are there.

        After the data, so that a file cut off in between claims too little and never too much.
        """
        for chosen, place in _runs(batch.indices, self.scan.scan_shape):
            if self._positions is not None:
                self._positions[place] = batch.positions[chosen] * 1e9
            self._mask[place] = np.ones(_extent(place), np.uint8)
        self._valid[batch.indices] = True

    def flush_marks(self) -> None:
        """Hand positions and mask to the operating system."""
        self._mask.flush()
        if self._positions is not None:
            self._positions.flush()

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self.dataset.file.flush()


def create_signal(
    target: h5py.Group,
    channel: str,
    name: str,
    scan: Scan,
    compression: Compression = "bitshuffle",
    metadata: Mapping[str, object] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> GrowingSignal:
    """Create the place for a scan's frames and return it, ready for `write_batch`.

    The scan's header is kept in `metadata/scan`, further facts beside it. Of a list of points, their
    `positions` `(y, x)` are written in nm as well.

    Parameters
    ----------
    target, channel, name, compression
        As in `write_signal`.
    scan
        Header of the scan: axes, dtype, quantity and units.
    metadata
        Further facts, JSON-like; `modality` and `source` become attributes of the dataset.
    chunk_bytes
        Frames smaller than this share a chunk.

    Raises
    ------
    OutputExists
        If the place is taken.
    """
    dtype = np.dtype(scan.dtype)
    shape = scan.scan_shape + scan.frame_shape
    storage = filters(compression, shape, chunk_of_frames(scan.scan_shape, scan.frame_shape, dtype, chunk_bytes))
    if dtype.kind == "f":
        storage["fillvalue"] = np.nan
    header = scan.model_dump(exclude={"scan_axes", "frame_axes"})
    facts = {"simulated": scan.simulated, "dwell_s": scan.dwell_s, **(metadata or {}), "scan": header}
    axes = scan.scan_axes + scan.frame_axes
    dataset = create_main(target, channel, name, axes, dtype, scan.quantity, scan.units, facts, storage)
    group = group_of(dataset)
    group.create_dataset(VALID, scan.scan_shape, np.uint8, chunks=scan.scan_shape)
    if len(scan.scan_axes) == 1:
        places = group.create_dataset(POSITIONS, (scan.n_frames, 2), np.float64, fillvalue=np.nan)
        places.attrs["units"] = "nm"
    return GrowingSignal(dataset, scan)


def _runs(
    indices: NDArray[np.int64], scan_shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.intp], tuple[int | slice, ...]]]:
    """Cut frames into runs that lie side by side in one scan row: which of the batch, and where in the file."""
    if not len(indices):
        return
    order = np.argsort(indices, kind="stable")
    flat = indices[order]
    row_length = scan_shape[-1]
    ends = np.flatnonzero((np.diff(flat) != 1) | (flat[1:] % row_length == 0)) + 1
    for chosen in np.split(order, ends):
        *rows, column = (int(i) for i in np.unravel_index(indices[chosen[0]], scan_shape))
        yield chosen, (*rows, slice(column, column + len(chosen)))


def _extent(place: tuple[int | slice, ...]) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in place if isinstance(part, slice))
