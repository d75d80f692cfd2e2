"""Sums that cannot overflow: which number type holds a sum of detector counts exactly.

Frames stay in their own dtype; only the sum is wide. Whole numbers are summed in 64-bit
whole numbers wherever the worst case fits, so a sum is exact and does not depend on the
order of the frames. Where the worst case does not fit (64-bit frames), and for floats,
the sum is float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FrameShapeWrong
from ...core.frame import Scan


def largest(dtype: np.dtype) -> int:
    """Return the largest magnitude that a whole-number dtype can hold.

    >>> largest(np.dtype("<i2"))
    32768
    """
    if dtype.kind == "b":
        return 1
    limits = np.iinfo(dtype)
    return max(-int(limits.min), int(limits.max))


def accumulator(dtype: np.dtype, terms: int, power: int = 1) -> np.dtype:
    """Return the dtype that holds a sum of `terms` numbers of `dtype`, each raised to `power`.

    >>> accumulator(np.dtype("<u2"), 1 << 26), accumulator(np.dtype("<u8"), 2)
    (dtype('int64'), dtype('float64'))
    """
    # int64 also for unsigned frames: differences of two sums then need no care.
    if dtype.kind in "biu" and largest(dtype) ** power * terms <= np.iinfo(np.int64).max:
        return np.dtype(np.int64)
    return np.dtype(np.float64)


def real_dtype(scan: Scan) -> np.dtype:
    """Return the dtype of the scan's frames.

    Raises
    ------
    FrameShapeWrong
        If they are not real numbers, so that sums and errors have no meaning.
    """
    dtype = np.dtype(scan.dtype)
    if dtype.kind not in "biuf":
        raise FrameShapeWrong(
            f"frames of {scan.detector} have dtype {scan.dtype}; a reduction needs whole or real numbers"
        )
    return dtype


def sum_over(frames: NDArray, chosen: NDArray[np.intp] | None, dtype: np.dtype) -> NDArray:
    """Return the sum of each frame over chosen pixels, shape (n,).

    The value of a frame does not depend on the batch it came in, to the last bit.

    Parameters
    ----------
    frames
        Shape (n, *frame_shape).
    chosen
        Flat pixel indices, shape (k,); None for all pixels.
    dtype
        Of the sum; see `accumulator`.
    """
    flat = frames.reshape(len(frames), math.prod(frames.shape[1:]))
    # `take` gives rows that are contiguous; a mask or `flat[:, chosen]` may not, and float sums would then
    # be rounded in an order that depends on the batch.
    flat = np.ascontiguousarray(flat) if chosen is None else np.take(flat, chosen, axis=1)
    return flat.sum(axis=1, dtype=dtype)
