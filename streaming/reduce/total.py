"""The sum of everything: of each frame, and of all frames pixel by pixel."""

from __future__ import annotations

import numpy as np

from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Signal
from .accumulator import accumulator, merged, real_dtype
from .kernels import add_frames, frame_sums, rows_of
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
        rows = rows_of(batch.frames)
        add_frames(rows, buffers["frame"].reshape(-1), batch.indices, buffers["value"])
        if buffers["value"].dtype.kind == "f":
            # Once more, in an order that the tile has no part in.
            frame_sums(rows, batch.indices, buffers["value"])

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the sums of both parts."""
        return merged(left, right, *left)

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `value`, `std` and `frame`, in the frames' units."""
        return {
            "value": per_position(scan, buffers["value"]),
            "std": counting_error(scan, buffers["value"]),
            "frame": per_pixel(scan, buffers["frame"]),
        }
