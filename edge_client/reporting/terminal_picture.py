"""A picture in a terminal: two pixels to a character, grey on grey, and a curve as a row of bars.

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

from ...streaming.files import RecordedDetector, Recording
from .means import means

COLUMNS, ROWS = 64, 48
"""Pixels of a picture, at most."""

QUICK_BYTES = 1 << 28
"""What is larger takes too long to look at without being asked; `--plot` draws it."""

_BARS = " ▁▂▃▄▅▆▇█"


def terminal_picture(recording: Recording) -> Iterator[Text]:
    """Yield the overview, or else the map of the main grid, and the mean spectrum, as lines for rich."""
    main, overview = recording.main, recording.overview
    if overview is not None:
        yield from _titled(overview, "", means(overview)[0] if _is_quick(overview) else None)
    if main is overview:
        return
    by_position, frame = means(main) if _is_quick(main) else (None, None)
    if overview is None:
        yield from _titled(main, ", mean of each", by_position)
    if frame is not None and frame.ndim == 1:
        yield Text(f"{main.name}, mean of all")
        yield from bars(frame)


def blocks(values: NDArray[np.float64]) -> Iterator[Text]:
    """Yield the lines of a map, shape (ny, nx), y down; every pixel is the mean of those it stands for."""
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


def _titled(detector: RecordedDetector, what: str, values: NDArray[np.float64] | None) -> Iterator[Text]:
    if values is None:
        yield Text(f"{detector.name} is too large to draw here at once; --plot draws it")
        return
    yield Text(f"{detector.name}{what}")
    yield from blocks(values)


def _is_quick(detector: RecordedDetector) -> bool:
    return detector.valid.size * math.prod(detector.frame_shape) * np.dtype(detector.dtype).itemsize <= QUICK_BYTES


def _shrunk(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the means of squares of n x n, as many as fit; a map narrower than a square is one square wide."""
    ny, nx = (max(1, size // n) for size in values.shape)
    rows, columns = (np.array_split(np.arange(size), parts) for size, parts in zip(values.shape, (ny, nx), strict=True))
    by_row = np.array([values[r].mean(axis=0) for r in rows])
    return np.array([by_row[:, c].mean(axis=1) for c in columns]).T
