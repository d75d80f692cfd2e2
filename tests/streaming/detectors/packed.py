"""Frames packed by the reference implementations of the HDF5 filters, which hdf5plugin brings."""

from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np


def bslz4(frame: np.ndarray, block: int = 0) -> bytes:
    return _chunk(frame, hdf5plugin.Bitshuffle(nelems=block, cname="lz4"))


def lz4_framed(frame: np.ndarray, block_bytes: int = 0) -> bytes:
    return _chunk(frame, hdf5plugin.LZ4(nbytes=block_bytes))


def lz4_bare(frame: np.ndarray) -> bytes:
    """Return one LZ4 block: the framed form without its 12 + 4 bytes, or literals where LZ4 saves nothing."""
    framed = lz4_framed(frame)
    length = int.from_bytes(framed[12:16], "big")
    assert length == len(framed) - 16
    return framed[16:] if length < frame.nbytes else literals(framed[16:])


def literals(raw: bytes) -> bytes:
    """Return an LZ4 block that holds bytes as they are."""
    if len(raw) < 15:
        return bytes([len(raw) << 4]) + raw
    more, rest = divmod(len(raw) - 15, 255)
    return b"\xf0" + b"\xff" * more + bytes([rest]) + raw


def _chunk(frame: np.ndarray, filters) -> bytes:
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        stored = file.create_dataset("frame", data=frame, chunks=frame.shape, **filters)
        return stored.id.read_direct_chunk((0,) * frame.ndim)[1]
