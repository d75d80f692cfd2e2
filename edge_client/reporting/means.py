"""Every frame of a recording looked at once: its mean, and the mean of all.

Some rows at a time, so a scan may be longer than memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...streaming.files import RecordedDetector

BLOCK_BYTES = 1 << 26
"""Frames read together."""

Tick = Callable[[int], None]
"""Called with the number of positions that were just read."""


def means(detector: RecordedDetector, tick: Tick = lambda _: None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each frame, shape (ny, nx), nan where none was recorded, and the mean of all frames.

    Raises
    ------
    RecordingUnreadable
        If the file is damaged.
    """
    ny, nx = detector.shape
    row_bytes = nx * math.prod(detector.frame_shape) * np.dtype(detector.dtype).itemsize
    together = max(1, BLOCK_BYTES // row_bytes)
    by_position = np.full((ny, nx), np.nan)
    total, count = np.zeros(detector.frame_shape), 0
    for first in range(0, ny, together):
        block = detector.rows(first, min(first + together, ny))
        mean = block.reshape(*block.shape[:2], -1).mean(axis=2, dtype=np.float64)
        good = detector.valid[first : first + len(block)] & np.isfinite(mean)
        by_position[first : first + len(block)][good] = mean[good]
        # Where every frame is good none is picked out, which would copy them all.
        chosen = block.reshape(-1, *detector.frame_shape) if good.all() else block[good]
        total += chosen.sum(axis=0, dtype=np.float64)
        count += int(good.sum())
        tick(good.size)
    return by_position, total / max(count, 1)
