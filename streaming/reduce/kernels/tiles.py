"""Frames as kernels want them: a few at a time, in the processor's own byte order, side by side in memory.

A tile stays in the processor's cache, so that several reductions read memory once. A core
reads memory faster in order than in the pattern of most kernels; so where several share a
tile, it is fetched first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ....core.frame import FrameBatch, Scan
from .compiled import compiled

TILE_BYTES = 1 << 20
"""Frames that several reductions share, in bytes; one frame if that is larger."""

LONE_BYTES = 1 << 23
"""Frames that one reduction takes at once, in bytes: each passes through the cache once anyway."""

CACHE_LINE = 64


def tiles(batch: FrameBatch, nbytes: int) -> Iterator[FrameBatch]:
    """Yield the batch in tiles of about `nbytes`, in order, with frames and indices as `plain` gives them."""
    frame_bytes = batch.frames.itemsize * math.prod(batch.frames.shape[1:])
    together = max(1, nbytes // frame_bytes)
    for first in range(0, len(batch.indices), together):
        part = slice(first, first + together)
        frames, indices = plain(batch.frames[part]), plain(batch.indices[part])
        yield FrameBatch(batch.scan_id, indices, batch.positions[part], frames)


def no_frames(scan: Scan) -> FrameBatch:
    """Return a tile of this scan without a frame: adding it changes nothing, and compiles what is not compiled."""
    frames = np.empty((0, *scan.frame_shape), scan.dtype)
    return FrameBatch(scan.scan_id, plain(np.empty(0, np.int64)), np.empty((0, 2)), plain(frames))


def plain(frames: NDArray) -> NDArray:
    """Return frames in native byte order, C order and read-only; the same memory where that is possible.

    Floats of other widths than 32 and 64 bit become one of them. Read-only, because a kernel is compiled anew
    for arrays that may be written.
    """
    dtype = frames.dtype
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        dtype = np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    flags = frames.flags
    if dtype is not frames.dtype or not (dtype.isnative and flags.c_contiguous and flags.aligned):
        frames = np.array(frames, dtype=dtype.newbyteorder("="), order="C")
    elif not flags.writeable:
        return frames
    else:
        frames = frames.view()
    frames.flags.writeable = False
    return frames


def rows_of(frames: NDArray) -> NDArray:
    """Return frames of any shape as plain rows of pixels, shape (n, pixels)."""
    return plain(frames).reshape(len(frames), math.prod(frames.shape[1:]))


def fetch(frames: NDArray) -> None:
    """Bring plain frames into the cache, at the speed of memory."""
    _touch(frames.reshape(-1).view(np.uint8))


@compiled
def _touch(numbers: NDArray[np.uint8]) -> np.uint8:
    touched = np.uint8(0)
    for i in range(0, len(numbers), CACHE_LINE):
        touched ^= numbers[i]
    return touched
