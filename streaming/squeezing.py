"""Frames made smaller for a slow line, without loss: Bitshuffle and LZ4, by Blosc2.

A receiver that asks for it gets frames squeezed; which it does over a network, where it pays, and not on
its own computer, where it costs (docs/decisions/0013-frames-are-squeezed-for-a-network.md). What comes is
believed only as far as its header promises exactly the bytes that the frames need, so a small message
cannot claim memory.

Source: K. Masui et al., "A compression scheme for radio data in high performance computing", 2015 (Bitshuffle).
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ..core.errors import NotInstalled, WireInvalid

CODEC = "blosc2-bitshuffle-lz4"
LEAST_BYTES = 4096
"""Smaller frames are sent as they are: squeezing them saves no time."""

MOST_BYTES = 2**30
_HEADER = struct.Struct("<4xIII")


@cache
def can_squeeze() -> bool:
    """Tell whether Blosc2 is installed here."""
    return importlib.util.find_spec("blosc2") is not None


def squeeze(frames: NDArray) -> bytes | None:
    """Return the frames squeezed; None where that is not possible or makes them no smaller."""
    if not (LEAST_BYTES <= frames.nbytes <= MOST_BYTES and can_squeeze()):
        return None
    blosc2 = _blosc2()
    raw = np.ascontiguousarray(frames).reshape(-1).view(np.uint8).data
    squeezed = blosc2.compress2(
        raw, typesize=frames.itemsize, codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], nthreads=1
    )
    return squeezed if len(squeezed) < frames.nbytes else None


def unsqueeze(part: bytes | memoryview, wanted: int) -> bytes:
    """Return the `wanted` bytes that were squeezed.

    Raises
    ------
    WireInvalid
        If they are anything else, or of another size; nothing is made room for then.
    NotInstalled
        If Blosc2 is missing.
    """
    blosc2 = _blosc2()
    size, _, length = _HEADER.unpack_from(part) if len(part) >= 32 else (0, 0, 0)
    if size != wanted or length != len(part) or wanted > MOST_BYTES:
        raise WireInvalid(f"squeezed frames say they are {size} bytes in {length}; {wanted} in {len(part)} are needed")
    try:
        raw = blosc2.decompress2(bytes(part), nthreads=1)
    except (ValueError, RuntimeError) as error:
        raise WireInvalid(f"squeezed frames cannot be opened: {error}") from None
    if len(raw) != wanted:
        raise WireInvalid(f"squeezed frames gave {len(raw)} bytes; {wanted} are needed")
    return raw


def _blosc2() -> ModuleType:
    # Loaded when it is first needed: it takes longer to import than everything else here.
    try:
        return importlib.import_module("blosc2")
    except ImportError:
        raise NotInstalled("squeezed frames need Blosc2: pip install 'beamloop[network]'") from None
