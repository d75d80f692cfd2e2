"""LZ4 blocks and bit-transposed elements, opened into memory that is there already.

Compiled, without Python's lock, and safe for bytes from anywhere: every length is compared with
what is left before it is used, so damaged bytes end in a status below zero and never outside an array.

Source: the LZ4 block format, github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md; the bitshuffle HDF5
filter, K. Masui et al., 2015; the transposition of 8 x 8 bits, H. S. Warren, "Hacker's Delight", 2nd ed., 7-3.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Whole = int | np.int64

DAMAGED = -1
"""What a kernel returns for bytes that cannot be opened."""

_BLOCK_BYTES = 8192
_LEAST_ELEMENTS = 128
"""What bitshuffle takes for a block where a header says 0."""


@njit(nogil=True, cache=True)
def open_block(
    source: NDArray[np.uint8], start: Whole, end: Whole, out: NDArray[np.uint8], low: int, high: int
) -> Whole:
    """Open the LZ4 block in `source[start:end]` into `out[low:high]`; return the bytes written, or `DAMAGED`."""
    at, to = start, low
    while at < end:
        token = np.int64(source[at])
        at += 1
        length = token >> 4
        if length == 15:
            more = 255
            while more == 255:
                if at >= end:
                    return DAMAGED
                more = np.int64(source[at])
                at += 1
                length += more
        if length > end - at or length > high - to:
            return DAMAGED
        for k in range(length):
            out[to + k] = source[at + k]
        at += length
        to += length
        if at == end:
            # The last sequence has no match.
            return to - low
        if end - at < 2:
            return DAMAGED
        back = np.int64(source[at]) | (np.int64(source[at + 1]) << 8)
        at += 2
        length = (token & 15) + 4
        if token & 15 == 15:
            more = 255
            while more == 255:
                if at >= end:
                    return DAMAGED
                more = np.int64(source[at])
                at += 1
                length += more
        if back == 0 or back > to - low or length > high - to:
            return DAMAGED
        if back == 1:
            value = out[to - 1]
            for k in range(length):
                out[to + k] = value
        else:
            for k in range(length):
                out[to + k] = out[to - back + k]
        to += length
    return DAMAGED


@njit(nogil=True, cache=True)
def turn_bits(planes: NDArray[np.uint8], out: NDArray[np.uint8], low: int, elements: int, width: int) -> None:
    """Put bit planes back together: `elements` (a multiple of 8) of `width` bytes, into `out` from `low` on.

    Plane `8 j + b` holds bit `b` of byte `j` of every element, eight elements in a byte.
    """
    groups = elements // 8
    for j in range(width):
        for i in range(groups):
            x = np.uint64(0)
            for b in range(8):
                x |= np.uint64(planes[(8 * j + b) * groups + i]) << np.uint64(8 * b)
            t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
            x ^= t ^ (t << np.uint64(7))
            t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
            x ^= t ^ (t << np.uint64(14))
            t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
            x ^= t ^ (t << np.uint64(28))
            to = low + 8 * i * width + j
            for k in range(8):
                out[to + k * width] = np.uint8((x >> np.uint64(8 * k)) & np.uint64(0xFF))


@njit(nogil=True, cache=True)
def open_blocks(source: NDArray[np.uint8], block_bytes: int, width: int, out: NDArray[np.uint8]) -> int:
    """Open LZ4 blocks that each follow their length (4 bytes, big-endian); return 0, or `DAMAGED`.

    Parameters
    ----------
    source
        What follows the 12 bytes of an HDF5 filter's header.
    block_bytes
        Bytes of one block when open; 0 takes bitshuffle's own choice.
    width
        Bytes of an element whose bits were transposed; 0 where none were.
    out
        Where it goes, exactly as long as what was packed.
    """
    total, unit = len(out), max(width, 1)
    elements = total // unit
    block = block_bytes // unit
    if width:
        if block == 0:
            block = max(_BLOCK_BYTES // unit // 8 * 8, _LEAST_ELEMENTS)
        if block % 8 or total % unit:
            return DAMAGED
        packed = elements // 8 * 8
    else:
        packed = elements
    if block <= 0:
        return DAMAGED
    block = min(block, max(packed, 1))
    planes = np.empty(block * unit if width else 0, np.uint8)
    at, done = 0, 0
    while done < packed:
        here = min(block, packed - done)
        if len(source) - at < 4:
            return DAMAGED
        length = np.int64(0)
        for k in range(4):
            length = (length << 8) | np.int64(source[at + k])
        at += 4
        if length > len(source) - at:
            return DAMAGED
        low, size = done * unit, here * unit
        if width:
            if open_block(source, at, at + length, planes, 0, size) != size:
                return DAMAGED
            turn_bits(planes, out, low, here, width)
        elif length == size:
            # The filter stores a block as it is that LZ4 makes no smaller.
            for k in range(size):
                out[low + k] = source[at + k]
        elif open_block(source, at, at + length, out, low, low + size) != size:
            return DAMAGED
        at += length
        done += here
    rest = total - packed * unit
    if len(source) - at != rest:
        return DAMAGED
    for k in range(rest):
        out[packed * unit + k] = source[at + k]
    return 0
