"""Some pixels of a frame as blocks of neighbours, each with the pixels in it that count.

A block is as long as a kernel likes to read at once; blocks without a chosen pixel are left
out. So a disk costs what its rows cost, and no frame is multiplied with a mask of its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Pixels in a block."""


def blocks(pixels: NDArray[np.intp], n_pixels: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where blocks begin and which of their pixels are chosen.

    Parameters
    ----------
    pixels
        Flat indices of the chosen pixels, shape (k,).
    n_pixels
        Pixels of a frame.

    Returns
    -------
    First pixel of each block, shape (n,), and the choice, shape (n, `BLOCK`). No block passes the end of a frame
    that has `BLOCK` pixels or more.

    >>> at, inside = blocks(np.array([0, 33, 34]), 40)
    >>> at.tolist(), inside.sum(axis=1).tolist()
    ([0, 8], [1, 2])
    """
    chosen = np.zeros(-(-n_pixels // BLOCK) * BLOCK, np.bool_)
    chosen[pixels] = True
    inside = chosen.reshape(-1, BLOCK)
    at = np.arange(0, len(chosen), BLOCK, dtype=np.int64)
    beyond = len(chosen) - n_pixels
    if beyond and len(at) > 1:
        # The last block begins earlier, where pixels of the one before are not chosen again.
        inside[-1] = np.roll(inside[-1], beyond)
        at[-1] -= beyond
    some = inside.any(axis=1)
    return at[some], inside[some]
