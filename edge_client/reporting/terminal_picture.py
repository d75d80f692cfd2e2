"""A recording as a picture in a terminal: the overview, or the map of its main grid, and the mean spectrum."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from ...streaming.files import RecordedDetector, Recording
from .blocks import bars, blocks
from .means import means

QUICK_BYTES = 1 << 28
"""What is larger takes too long to look at without being asked; `--plot` draws it."""


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


def _titled(detector: RecordedDetector, what: str, values: NDArray[np.float64] | None) -> Iterator[Text]:
    if values is None:
        yield Text(f"{detector.name} is too large to draw here at once; --plot draws it")
        return
    yield Text(f"{detector.name}{what}")
    yield from blocks(values)


def _is_quick(detector: RecordedDetector) -> bool:
    return detector.valid.size * math.prod(detector.frame_shape) * np.dtype(detector.dtype).itemsize <= QUICK_BYTES
