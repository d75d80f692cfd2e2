"""The sum of everything: of each frame, and of all frames pixel by pixel."""

from __future__ import annotations

import numpy as np

from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Signal
from .accumulator import accumulator, real_dtype, sum_over
from .output import counting_error, per_pixel, per_position


class Total(Frozen):
    """Sum each frame, and sum all frames.

    Results: `value` and its counting error `std` per scan position; `frame`, the sum of all frames seen.
    Takes frames of any shape, a single number included.
    """

    def empty(self, scan: Scan) -> Buffers:
        """Return zero sums: `value` (n_frames,) and `frame` frame_shape."""
        dtype = real_dtype(scan)
        pixels = int(np.prod(scan.frame_shape, dtype=np.int64))
        return {
            "value": np.zeros(scan.n_frames, accumulator(dtype, pixels)),
            "frame": np.zeros(scan.frame_shape, accumulator(dtype, scan.n_frames)),
        }

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        buffers["value"][batch.indices] = sum_over(batch.frames, None, buffers["value"].dtype)
        buffers["frame"] += batch.frames.sum(axis=0, dtype=buffers["frame"].dtype)

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the sums of both parts."""
        return {name: np.asarray(left[name] + right[name]) for name in left}

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `value`, `std` and `frame`, in the frames' units."""
        return {
            "value": per_position(scan, buffers["value"]),
            "std": counting_error(scan, buffers["value"]),
            "frame": per_pixel(scan, buffers["frame"]),
        }
