"""One pass over a scan for several reductions, readable while it grows.

Frames come in any order and any grouping, and some may never come; the engine knows which
it has, refuses one that comes twice, and marks every result with what is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FrameShapeWrong
from ...core.frame import FrameBatch, Scan
from ...core.protocols import Buffers, Reduction
from ...core.signal import Signal
from .kernels import LONE_BYTES, TILE_BYTES, fetch, no_frames, tiles


class Reducing:
    """The growing results of some reductions of one scan; any thread may call any method.

    Kernels that this machine has not compiled yet for the frames' dtype are compiled when it is made; see
    `kernels.compilations`.

    Parameters
    ----------
    scan
        Header of the scan.
    reductions
        What to compute, by a name of the caller's choice.

    Raises
    ------
    FrameShapeWrong
        If a reduction does not fit the scan's frames.
    """

    def __init__(self, scan: Scan, reductions: Mapping[str, Reduction]) -> None:
        self.scan = scan
        self.reductions = dict(reductions)
        self._buffers: dict[str, Buffers] = {name: r.empty(scan) for name, r in self.reductions.items()}
        for name, reduction in self.reductions.items():
            # Kernels are compiled or loaded now, and the first frames do not wait for it.
            reduction.add(self._buffers[name], no_frames(scan))
        self._valid = np.zeros(scan.n_frames, dtype=np.bool_)
        self._positions = np.full((scan.n_frames, 2), np.nan)
        self._lock = Lock()

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which frames have been added, by flat scan index, shape (n_frames,)."""
        with self._lock:
            return self._valid.copy()

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where each frame was taken, `(y, x)` in metres, shape (n_frames, 2); nan where none has come."""
        with self._lock:
            return self._positions.copy()

    def add(self, batch: FrameBatch) -> None:
        """Add some frames to every reduction, or none of them to any.

        Raises
        ------
        FrameShapeWrong
            If the batch is not what the header announced, or a frame in it has come before.
        """
        if batch.scan_id != self.scan.scan_id:
            raise FrameShapeWrong(f"a batch of scan {batch.scan_id} came to the reductions of scan {self.scan.scan_id}")
        batch.check(self.scan)
        with self._lock:
            self._refuse_repeats(batch.indices)
            shared = len(self.reductions) > 1
            for tile in tiles(batch, TILE_BYTES if shared else LONE_BYTES):
                if shared:
                    fetch(tile.frames)
                for name, reduction in self.reductions.items():
                    reduction.add(self._buffers[name], tile)
            self._valid[batch.indices] = True
            self._positions[batch.indices] = batch.positions

    def merge(self, other: Reducing) -> None:
        """Take over all that `other` has seen of the same scan; `other` stays as it is.

        Raises
        ------
        FrameShapeWrong
            If scan or reductions differ, or both have seen the same frame.
        """
        if other.scan != self.scan or other.reductions != self.reductions:
            raise FrameShapeWrong(
                f"cannot merge scan {other.scan.scan_id} reduced by {sorted(other.reductions)} into scan "
                f"{self.scan.scan_id} reduced by {sorted(self.reductions)}; both need the same header and settings"
            )
        buffers, valid, positions = other._snapshot()
        with self._lock:
            self._refuse_repeats(np.flatnonzero(valid))
            for name, reduction in self.reductions.items():
                self._buffers[name] = reduction.merge(self._buffers[name], buffers[name])
            self._valid |= valid
            self._positions[valid] = positions[valid]

    def results(self) -> dict[str, dict[str, Signal]]:
        """Return the results so far: by the reduction's name, then the result's.

        Results over the scan axes carry a `valid` mask; where nothing has come, floats are nan and whole
        numbers are 0. Every result's metadata tell `frames`, the number of frames behind it. Nothing in
        them changes when more frames come.
        """
        buffers, valid, _ = self._snapshot()
        return {
            name: {key: self._marked(signal, valid) for key, signal in r.result(self.scan, buffers[name]).items()}
            for name, r in self.reductions.items()
        }

    def _snapshot(self) -> tuple[dict[str, Buffers], NDArray[np.bool_], NDArray[np.float64]]:
        with self._lock:
            copies = {name: {key: b.copy() for key, b in buffers.items()} for name, buffers in self._buffers.items()}
            return copies, self._valid.copy(), self._positions.copy()

    def _refuse_repeats(self, indices: NDArray[np.int64]) -> None:
        if (indices[1:] > indices[:-1]).all() and not self._valid[indices].any():
            return
        distinct, times = np.unique(indices, return_counts=True)
        repeated = distinct[(times > 1) | self._valid[distinct]]
        if len(repeated):
            raise FrameShapeWrong(
                f"frame {repeated[0]} of scan {self.scan.scan_id} came twice ({len(repeated)} such frames in this "
                "part); a frame is added once, so drop what was received before"
            )

    def _marked(self, signal: Signal, valid: NDArray[np.bool_]) -> Signal:
        metadata = {**signal.metadata, "frames": int(valid.sum())}
        depth = len(self.scan.scan_axes)
        if signal.axes[:depth] != self.scan.scan_axes:
            return replace(signal, metadata=metadata)
        mask = valid.reshape(self.scan.scan_shape)
        data = signal.data
        if data.dtype.kind == "f":
            data = np.where(mask.reshape(mask.shape + (1,) * (data.ndim - depth)), data, np.nan)
        return replace(signal, data=data, valid=mask, metadata=metadata)
