"""One number from each frame: its sum, over all pixels or over blocks of some.

Whole numbers are summed exactly. Floats are summed in float64 in an order that depends on
the frame alone, so the value of a frame is the same in every tile, to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .blocks import BLOCK
from .compiled import compiled


@compiled
def frame_sums(rows: NDArray, indices: NDArray[np.int64], sums: NDArray) -> None:
    """Write the sum of each frame.

    Parameters
    ----------
    rows
        Frames, shape (n, pixels), as `rows_of` gives them.
    indices
        Where each sum goes, shape (n,).
    sums
        int64 or float64, shape (n_frames,); in this number type the sum is made.
    """
    wide = sums.dtype.type
    for i in range(len(rows)):
        frame = rows[i]
        total = wide(0)
        for j in range(len(frame)):
            total += wide(frame[j])
        sums[indices[i]] = total


def block_sums(
    rows: NDArray,
    indices: NDArray[np.int64],
    at: NDArray[np.int64],
    inside: NDArray[np.bool_],
    partial: NDArray,
    sums: NDArray,
) -> None:
    """Write the sum of each frame over chosen pixels.

    Parameters
    ----------
    rows, indices, sums
        As in `frame_sums`.
    at, inside
        The blocks; see `blocks`.
    partial
        Any array of the number type that holds the sum of one block exactly.
    """
    if rows.shape[1] < BLOCK:
        rows = np.pad(rows, [(0, 0), (0, BLOCK - rows.shape[1])])
        rows.flags.writeable = False
    _block_sums(rows, indices, at, inside, partial, sums)


@compiled
def _block_sums(
    rows: NDArray,
    indices: NDArray[np.int64],
    at: NDArray[np.int64],
    inside: NDArray[np.bool_],
    partial: NDArray,
    sums: NDArray,
) -> None:
    wide, narrow = sums.dtype.type, partial.dtype.type
    last = len(rows) - 1
    # Four frames together, so that a block's choice is read once for them; at the end the last is repeated.
    for i in range(0, len(rows), 4):
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        total, total1, total2, total3 = wide(0), wide(0), wide(0), wide(0)
        for b in range(len(at)):
            first, chosen = at[b], inside[b]
            frame, frame1 = rows[i, first : first + BLOCK], rows[i1, first : first + BLOCK]
            frame2, frame3 = rows[i2, first : first + BLOCK], rows[i3, first : first + BLOCK]
            part, part1, part2, part3 = narrow(0), narrow(0), narrow(0), narrow(0)
            for j in range(BLOCK):
                counts = chosen[j]
                # Chosen, not multiplied: what is not a number outside must stay outside.
                part = narrow(part + (narrow(frame[j]) if counts else narrow(0)))
                part1 = narrow(part1 + (narrow(frame1[j]) if counts else narrow(0)))
                part2 = narrow(part2 + (narrow(frame2[j]) if counts else narrow(0)))
                part3 = narrow(part3 + (narrow(frame3[j]) if counts else narrow(0)))
            total += wide(part)
            total1 += wide(part1)
            total2 += wide(part2)
            total3 += wide(part3)
        sums[indices[i]], sums[indices[i1]] = total, total1
        sums[indices[i2]], sums[indices[i3]] = total2, total3
