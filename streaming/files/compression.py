"""How main datasets are stored: in chunks of a few frames, compressed without loss.

Bitshuffle with LZ4 is fast enough for a live stream, but a reader needs hdf5plugin; gzip
opens everywhere.
"""

from __future__ import annotations

import math
from typing import Literal

import hdf5plugin
import numpy as np

Compression = Literal["bitshuffle", "gzip", "none"]

CHUNK_BYTES = 1 << 16
"""Frames smaller than this share a chunk, along the fastest scan axis first."""


def filters(compression: Compression, shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> dict[str, object]:
    """Return the storage settings of an HDF5 dataset of this shape; `chunks` None lets HDF5 choose."""
    if not shape:
        # A single number can be neither chunked nor compressed.
        return {}
    # With a checksum a flipped bit in a chunk is an error for every reader and never a number. Chunks without
    # compression too: HyperSpy opens nothing else lazily.
    chunked: dict[str, object] = {"chunks": True if chunks is None else chunks, "fletcher32": True}
    if compression == "none":
        return chunked
    if compression == "gzip":
        return chunked | {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    return chunked | dict(hdf5plugin.Bitshuffle(cname="lz4"))


def chunk_of_frames(
    scan_shape: tuple[int, ...], frame_shape: tuple[int, ...], dtype: np.dtype, chunk_bytes: int = CHUNK_BYTES
) -> tuple[int, ...]:
    """Return the chunk: one frame, or as many neighbouring small frames as fit `chunk_bytes`.

    >>> chunk_of_frames((64, 64), (128, 128), np.dtype("<u4")), chunk_of_frames((64, 64), (1024,), np.dtype("<u2"))
    ((1, 1, 128, 128), (1, 32, 1024))
    """
    room = max(1, chunk_bytes // max(1, math.prod(frame_shape) * dtype.itemsize))
    together: list[int] = []
    for size in reversed(scan_shape):
        together.insert(0, min(size, room))
        room = max(1, room // size)
    return (*together, *frame_shape)
