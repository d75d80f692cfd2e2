"""The sum of each frame over chosen pixels, as buffers that a reduction can hold under a name of its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...core.frame import FrameBatch, Scan
from ...core.protocols import Buffers
from .accumulator import accumulator, partial, real_dtype
from .kernels import BLOCK, block_sums, blocks, rows_of


def empty_sums(scan: Scan, pixels: NDArray[np.intp], name: str) -> Buffers:
    """Return zero sums by flat scan index, shape (n_frames,), and what `add_sums` needs to know beside them.

    Raises
    ------
    FrameShapeWrong
        If frames are not real numbers.
    """
    dtype = real_dtype(scan)
    at, inside = blocks(pixels, math.prod(scan.frame_shape))
    return {
        name: np.zeros(scan.n_frames, accumulator(dtype, len(pixels))),
        f"{name}_at": at,
        f"{name}_inside": inside,
        f"{name}_partial": np.empty(0, partial(dtype, BLOCK)),
    }


def add_sums(buffers: Buffers, batch: FrameBatch, name: str) -> None:
    """Write the sums of some frames, in place."""
    at, inside, narrow = (buffers[f"{name}_{what}"] for what in ("at", "inside", "partial"))
    block_sums(rows_of(batch.frames), batch.indices, at, inside, narrow, buffers[name])


def pixels_in(buffers: Buffers, name: str) -> int:
    """Return how many pixels each sum is made of."""
    return int(buffers[f"{name}_inside"].sum())
