"""Each frame multiplied with masks of any values, and summed.

Sixteen products are summed at once, of four frames with four masks, so that what is read is
used four times. Products are made and summed in the masks' own number type, float32 for
frames of up to 16 bit, and passed on to float64 after `MASK_PIXELS` pixels: the error of a
sum is then at most `MASK_PIXELS` · 2⁻²⁴ of the sum of magnitudes, and with vectors of 16
numbers, which round in turns, about 10⁻⁷ of it. A frame's sums are the same in every tile,
to the last bit.

Source of the bound: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002),
section 3.1 (inner products).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled

MASK_PIXELS = 4096
"""Pixels whose products are summed in the masks' number type."""

Four = tuple[float, float, float, float]


@compiled
def mask_sums(rows: NDArray, indices: NDArray[np.int64], masks: NDArray, sums: NDArray[np.float64]) -> None:
    """Write the sum of each frame under each mask.

    Parameters
    ----------
    rows
        Frames, shape (n, pixels), as `rows_of` gives them.
    indices
        Where the sums of each frame go, shape (n,).
    masks
        float32 or float64, shape (k, pixels).
    sums
        Shape (n_frames, k).
    """
    n, pixels = rows.shape
    k = len(masks)
    # The last frame is repeated, so that every frame goes through the same instructions.
    found = np.empty((4, k))
    for i in range(0, n, 4):
        i1, i2, i3 = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
        found[:] = 0.0
        for first in range(0, pixels, MASK_PIXELS):
            end = min(first + MASK_PIXELS, pixels)
            a, b, c, d = rows[i, first:end], rows[i1, first:end], rows[i2, first:end], rows[i3, first:end]
            m = 0
            while m + 4 <= k:
                together = (
                    masks[m, first:end],
                    masks[m + 1, first:end],
                    masks[m + 2, first:end],
                    masks[m + 3, first:end],
                )
                four = _four_masks(a, b, c, d, *together)
                for f in range(4):
                    for g in range(4):
                        found[f, m + g] += four[f][g]
                m += 4
            while m < k:
                one = _one_mask(a, b, c, d, masks[m, first:end])
                for f in range(4):
                    found[f, m] += one[f]
                m += 1
        for f in range(min(4, n - i)):
            for m in range(k):
                sums[indices[i + f], m] = found[f, m]


@compiled
def _four_masks(
    a: NDArray, b: NDArray, c: NDArray, d: NDArray, m: NDArray, n: NDArray, o: NDArray, p: NDArray
) -> tuple[Four, Four, Four, Four]:
    narrow = m.dtype.type
    am, an, ao, ap = narrow(0), narrow(0), narrow(0), narrow(0)
    bm, bn, bo, bp = narrow(0), narrow(0), narrow(0), narrow(0)
    cm, cn, co, cp = narrow(0), narrow(0), narrow(0), narrow(0)
    dm, dn, do, dp = narrow(0), narrow(0), narrow(0), narrow(0)
    for j in range(len(m)):
        x, y, z, w = narrow(a[j]), narrow(b[j]), narrow(c[j]), narrow(d[j])
        am, an, ao, ap = am + x * m[j], an + x * n[j], ao + x * o[j], ap + x * p[j]
        bm, bn, bo, bp = bm + y * m[j], bn + y * n[j], bo + y * o[j], bp + y * p[j]
        cm, cn, co, cp = cm + z * m[j], cn + z * n[j], co + z * o[j], cp + z * p[j]
        dm, dn, do, dp = dm + w * m[j], dn + w * n[j], do + w * o[j], dp + w * p[j]
    return (am, an, ao, ap), (bm, bn, bo, bp), (cm, cn, co, cp), (dm, dn, do, dp)


@compiled
def _one_mask(a: NDArray, b: NDArray, c: NDArray, d: NDArray, m: NDArray) -> Four:
    narrow = m.dtype.type
    am, bm, cm, dm = narrow(0), narrow(0), narrow(0), narrow(0)
    for j in range(len(m)):
        am, bm = am + narrow(a[j]) * m[j], bm + narrow(b[j]) * m[j]
        cm, dm = cm + narrow(c[j]) * m[j], dm + narrow(d[j]) * m[j]
    return am, bm, cm, dm
