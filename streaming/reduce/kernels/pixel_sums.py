"""Sums over frames, pixel by pixel: of their values, their squares, their scatter.

Four frames are added at a time: their rows stream from memory side by side, and the sums,
which are wider than the frames, are read and written once for all four.

Source of the scatter: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for
computing sample variances", Stanford report STAN-CS-79-773 (1979), eq. 2.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

SPAN = 1 << 14
"""Pixels that are added at once; their sums stay in the second-level cache."""

SCATTER_SPAN = 512
"""Pixels whose frames stay in the first-level cache while they are read twice."""


@compiled
def add_frames(rows: NDArray, sums: NDArray, indices: NDArray[np.int64], values: NDArray) -> None:
    """Add frames to their sum, and write the sum of each frame, which of floats depends on the tile in its last bits.

    Parameters
    ----------
    rows
        Frames, shape (n, pixels), as `rows_of` gives them.
    sums
        int64 or float64, shape (pixels,), changed in place.
    indices
        Where the sum of each frame goes, shape (n,).
    values
        int64 or float64, shape (n_frames,).
    """
    wide, narrow = sums.dtype.type, values.dtype.type
    n, pixels = rows.shape
    for i in range(n):
        values[indices[i]] = narrow(0)
    for first in range(0, pixels, SPAN):
        out = sums[first : first + SPAN]
        i = 0
        while i + 4 <= n:
            a, b = rows[i, first : first + SPAN], rows[i + 1, first : first + SPAN]
            c, d = rows[i + 2, first : first + SPAN], rows[i + 3, first : first + SPAN]
            of_a, of_b, of_c, of_d = narrow(0), narrow(0), narrow(0), narrow(0)
            for j in range(len(out)):
                out[j] += wide(a[j]) + wide(b[j]) + wide(c[j]) + wide(d[j])
                of_a += narrow(a[j])
                of_b += narrow(b[j])
                of_c += narrow(c[j])
                of_d += narrow(d[j])
            values[indices[i]] += of_a
            values[indices[i + 1]] += of_b
            values[indices[i + 2]] += of_c
            values[indices[i + 3]] += of_d
            i += 4
        while i < n:
            a = rows[i, first : first + SPAN]
            of_a = narrow(0)
            for j in range(len(out)):
                out[j] += wide(a[j])
                of_a += narrow(a[j])
            values[indices[i]] += of_a
            i += 1


@compiled
def add_squares(rows: NDArray, sums: NDArray[np.int64], squares: NDArray[np.int64]) -> None:
    """Add frames of whole numbers to their sum, and their squares to the sum of squares.

    Parameters
    ----------
    rows
        Frames, shape (n, pixels), as `rows_of` gives them.
    sums, squares
        Shape (pixels,), changed in place.
    """
    n, pixels = rows.shape
    for first in range(0, pixels, SPAN):
        out, out2 = sums[first : first + SPAN], squares[first : first + SPAN]
        i = 0
        while i + 4 <= n:
            a, b = rows[i, first : first + SPAN], rows[i + 1, first : first + SPAN]
            c, d = rows[i + 2, first : first + SPAN], rows[i + 3, first : first + SPAN]
            for j in range(len(out)):
                p, q, r, s = np.int64(a[j]), np.int64(b[j]), np.int64(c[j]), np.int64(d[j])
                out[j] += p + q + r + s
                out2[j] += p * p + q * q + r * r + s * s
            i += 4
        while i < n:
            a = rows[i, first : first + SPAN]
            for j in range(len(out)):
                p = np.int64(a[j])
                out[j] += p
                out2[j] += p * p
            i += 1


@compiled
def add_scatter(rows: NDArray, seen: int, mean: NDArray[np.float64], scatter: NDArray[np.float64]) -> None:
    """Merge the mean and scatter of frames into those of the frames before.

    Parameters
    ----------
    rows
        Frames, shape (n, pixels), as `rows_of` gives them.
    seen
        Frames before.
    mean, scatter
        Mean, and sum of squared deviations from it, shape (pixels,), changed in place.
    """
    n, pixels = rows.shape
    if n == 0:
        return
    weight = n / (seen + n)
    centre, spread = np.empty(SCATTER_SPAN), np.empty(SCATTER_SPAN)
    for first in range(0, pixels, SCATTER_SPAN):
        old, old_scatter = mean[first : first + SCATTER_SPAN], scatter[first : first + SCATTER_SPAN]
        here, around = centre[: len(old)], spread[: len(old)]
        here[:] = 0.0
        around[:] = 0.0
        for i in range(n):
            row = rows[i, first : first + SCATTER_SPAN]
            for j in range(len(old)):
                here[j] += row[j]
        for j in range(len(old)):
            here[j] /= n
        for i in range(n):
            row = rows[i, first : first + SCATTER_SPAN]
            for j in range(len(old)):
                off = row[j] - here[j]
                around[j] += off * off
        for j in range(len(old)):
            shift = here[j] - old[j]
            old[j] += shift * weight
            # Each side's scatter is about its own mean; the last term moves both to the common one.
            old_scatter[j] += around[j] + shift * shift * (seen * weight)
