"""Sums that cannot overflow: which number type holds a sum of detector counts exactly.

Frames stay in their own dtype; only the sum is wide. Whole numbers are summed in 64-bit
whole numbers wherever the worst case fits, so a sum is exact and does not depend on the
order of the frames. Where the worst case does not fit (64-bit frames), and for floats,
the sum is float64.
"""

from __future__ import annotations

import numpy as np

from ...core.errors import FrameShapeWrong
from ...core.frame import Scan
from ...core.protocols import Buffers


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


def partial(dtype: np.dtype, terms: int) -> np.dtype:
    """Return the narrowest dtype that holds a sum of `terms` numbers exactly: more of them fit a vector.

    >>> partial(np.dtype("<u2"), 512), partial(np.dtype("<i4"), 512), partial(np.dtype("<f4"), 512)
    (dtype('uint32'), dtype('int64'), dtype('float64'))
    """
    if dtype.kind in "biu":
        for narrow in (np.dtype(np.int32 if dtype.kind == "i" else np.uint32), np.dtype(np.int64)):
            if largest(dtype) * terms <= np.iinfo(narrow).max:
                return narrow
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


def merged(left: Buffers, right: Buffers, *summed: str) -> Buffers:
    """Return the buffers of both parts together: those named are added, the others are the same on both sides."""
    return {name: np.asarray(left[name] + right[name]) if name in summed else left[name] for name in left}
