"""Pictures of characters: a map with two pixels to each, grey on grey, and a curve as a row of bars.

The upper half block has two colours, its own above and the background's below; a character is
about twice as high as wide, so pixels come out square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

COLUMNS, ROWS = 64, 48
"""Pixels of a picture, at most."""

_BARS = " ▁▂▃▄▅▆▇█"


def blocks(values: NDArray[np.float64]) -> Iterator[Text]:
    """Yield the lines of a map, shape (ny, nx), y down; every pixel is the mean of those it stands for.

    What is not known (nan) is left out of the mean, and black where nothing is known.
    """
    together = max(1, math.ceil(values.shape[1] / COLUMNS), math.ceil(values.shape[0] / ROWS))
    small = _shrunk(values, together)
    good = small[np.isfinite(small)]
    low, high = np.percentile(good, [1, 99]) if good.size else (0.0, 1.0)
    grey = np.nan_to_num(np.clip((small - low) / ((high - low) or 1.0), 0, 1) * 255).astype(int)
    if len(grey) % 2:
        grey = np.vstack([grey, np.zeros_like(grey[:1])])
    for above, below in zip(grey[::2], grey[1::2], strict=True):
        line = Text()
        for a, b in zip(above, below, strict=True):
            line.append("▀", Style(color=f"rgb({a},{a},{a})", bgcolor=f"rgb({b},{b},{b})"))
        yield line


def bars(curve: NDArray[np.float64], height: int = 4) -> Iterator[Text]:
    """Yield the lines of a curve, shape (n,), from its lowest to its highest value."""
    n = min(COLUMNS, len(curve))
    # The largest of each part, so that a narrow line is not lost.
    parts = np.array([np.nanmax(part) for part in np.array_split(curve, n)])
    low, high = float(parts.min()), float(parts.max())
    filled = np.rint((parts - low) / ((high - low) or 1.0) * height * (len(_BARS) - 1)).astype(int)
    for row in reversed(range(height)):
        yield Text("".join(_BARS[int(np.clip(f - row * 8, 0, 8))] for f in filled))


def _shrunk(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the means of squares of n x n, as many as fit; a map narrower than a square is one square wide."""
    known = np.isfinite(values)
    sums, counts = _sums(np.where(known, values, 0.0), n), _sums(known.astype(np.float64), n)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _sums(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    by_row = np.add.reduceat(values, _starts(values.shape[0], n), axis=0)
    return np.add.reduceat(by_row, _starts(values.shape[1], n), axis=1)


def _starts(size: int, n: int) -> list[int]:
    return [int(part[0]) for part in np.array_split(np.arange(size), max(1, size // n))]
