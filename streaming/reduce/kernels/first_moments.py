"""Sum and first moments of each frame, from the sums of its rows and of its columns.

Nothing is multiplied pixel by pixel: rows and columns are summed first, and two short dot
products remain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import compiled


@compiled
def first_moments(
    rows: NDArray,
    indices: NDArray[np.int64],
    inside: NDArray[np.bool_] | None,
    weight_v: NDArray,
    weight_u: NDArray,
    partial: NDArray,
    total: NDArray,
    moment_v: NDArray,
    moment_u: NDArray,
) -> None:
    """Write the sum of each frame, and its sums weighted along either axis.

    Parameters
    ----------
    rows
        Frames, shape (n, v * u), as `rows_of` gives them.
    indices
        Where the numbers of each frame go, shape (n,).
    inside
        Pixels that count, shape (v, u); None for all.
    weight_v, weight_u
        What multiplies rows, shape (v,), and columns, shape (u,): int64 or float64.
    partial
        Any array of the number type that holds the sum of a row or a column exactly.
    total, moment_v, moment_u
        int64 or float64, shape (n_frames,).
    """
    narrow, wide, wide_v, wide_u = partial.dtype.type, total.dtype.type, moment_v.dtype.type, moment_u.dtype.type
    height, width = len(weight_v), len(weight_u)
    columns = np.empty(width, partial.dtype)
    for i in range(len(rows)):
        columns[:] = narrow(0)
        everything, along_v, along_u = wide(0), wide_v(0), wide_u(0)
        for y in range(height):
            line = rows[i, y * width : (y + 1) * width]
            part = narrow(0)
            if inside is None:
                for x in range(width):
                    number = narrow(line[x])
                    columns[x] = narrow(columns[x] + number)
                    part = narrow(part + number)
            else:
                chosen = inside[y]
                for x in range(width):
                    number = narrow(line[x]) if chosen[x] else narrow(0)
                    columns[x] = narrow(columns[x] + number)
                    part = narrow(part + number)
            everything += wide(part)
            along_v += wide_v(weight_v[y] * wide_v(part))
        for x in range(width):
            along_u += wide_u(weight_u[x] * wide_u(columns[x]))
        total[indices[i]], moment_v[indices[i]], moment_u[indices[i]] = everything, along_v, along_u
