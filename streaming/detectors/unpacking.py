"""Pixels as DECTRIS detectors pack them: plain, LZ4, or bit-transposed LZ4, opened into a frame.

A packed frame is believed only as far as it opens to exactly the bytes of the frame that was
announced. Memory is claimed for the frame alone, before a byte of it is looked at.

Source: DECTRIS compression tag (github.com/dectris/documentation, cbor/dectris-compression-tag.md); the LZ4
filter of HDF5 (github.com/HDFGroup/hdf5_plugins, LZ4/LZ4_HDF5_format.md).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WireInvalid
from .lz4_kernels import open_block, open_blocks

Algorithm = Literal["none", "lz4", "lz4-framed", "bslz4"]

_FRAMING = struct.Struct(">QI")
_ENCODING = re.compile(r"(?:bs(?P<bits>8|16|32)-?)?(?P<lz4>lz4)?(?P<order>[<>]?)")


@dataclass(frozen=True, slots=True)
class Packing:
    """How a frame's bytes were packed.

    Attributes
    ----------
    algorithm
        `lz4` is one bare block, `lz4-framed` and `bslz4` are what the HDF5 filters of that name write.
    width
        Bytes of the elements whose bits were transposed; not always those of a pixel.
    """

    algorithm: Algorithm
    width: int = 0

    @classmethod
    def spelt(cls, encoding: str) -> Packing:
        """Return the packing that stream V1 spells, for example `bs16-lz4<`.

        >>> Packing.spelt("bs16-lz4<"), Packing.spelt("lz4<").algorithm, Packing.spelt("<").algorithm
        (Packing(algorithm='bslz4', width=2), 'lz4', 'none')

        Raises
        ------
        WireInvalid
            If it is spelt in no known way, or the bytes of a pixel come highest first.
        """
        found = _ENCODING.fullmatch(encoding)
        if found is None or found["order"] == ">" or (found["bits"] and not found["lz4"]):
            raise WireInvalid(f"encoding {encoding[:40]!r} is not known; known are '<', 'lz4<' and 'bs16-lz4<'")
        if found["bits"]:
            return cls("bslz4", int(found["bits"]) // 8)
        return cls("lz4" if found["lz4"] else "none")


def unpack(blob: bytes | memoryview, packing: Packing, out: NDArray) -> None:
    """Open a packed frame into `out`, a C-contiguous array.

    Raises
    ------
    WireInvalid
        If it does not open to exactly the bytes of `out`.
    """
    source, target = np.frombuffer(blob, np.uint8), out.reshape(-1).view(np.uint8)
    wanted, found = len(target), f"a frame packed as {packing.algorithm} in {len(source)} bytes"
    if packing.algorithm == "none":
        if len(source) != wanted:
            raise WireInvalid(
                f"a frame has {len(source)} bytes, its header needs {wanted}; it was cut off or is foreign"
            )
        target[:] = source
        return
    if packing.algorithm == "lz4":
        is_open = open_block(source, 0, len(source), target, 0, wanted) == wanted
    else:
        if len(source) < _FRAMING.size:
            raise WireInvalid(f"{found} is cut off; it begins with a header of {_FRAMING.size}")
        size, block_bytes = _FRAMING.unpack_from(blob)
        if size != wanted:
            raise WireInvalid(f"{found} says that it opens to {size} bytes; its header needs {wanted}")
        width = packing.width if packing.algorithm == "bslz4" else 0
        is_open = open_blocks(source[_FRAMING.size :], block_bytes, width, target) == 0
    if not is_open:
        raise WireInvalid(f"{found} does not open to the {wanted} bytes that its header needs; it is damaged")
