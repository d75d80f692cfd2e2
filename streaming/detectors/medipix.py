"""Pixels of Medipix3 chips as Merlin sends them: big-endian, or raw as the chips give them.

Raw pixels (`R64`) come in words of 64 bits, highest byte first: 64 pixels of 1 bit, the first in the lowest
bit; 8 pixels of 6 bits, one in a byte, in reverse; 4 pixels of 12 bits, two bytes each, in reverse. 24 bits are
two images of 12, the higher first. Four chips come side by side as 4, 3, 2, 1; chips 3 and 4 stand
on their heads. In a layout with a gap (`2x2G`) the frame has two rows and columns of zeros between chips.

Source: LiberTEM-rs `libertem_qd_mpx/src/decoder.rs` and LiberTEM `io/dataset/mib.py` for the order; checked here on
recordings of one and of four chips in both forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WireInvalid

BINARY = {"U01": ">u1", "U08": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}
"""Pixels that come as numbers, by Merlin's name of them."""

RAW = "R64"
CHIP = 256
"""Pixels along a side of one chip."""

GAP = 2
_DTYPE = {1: "|u1", 6: "|u1", 12: "<u2", 24: "<u4"}
_BYTES = {1: 0.125, 6: 1.0, 12: 2.0, 24: 4.0}
"""Bytes of a raw pixel."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How the pixels of one acquisition come.

    Attributes
    ----------
    code
        `U08`, `U16`, `U32` for numbers, `R64` for raw.
    layout
        `1x1`, `2x2`, `2x2G`, `Nx1`, `Nx1G`.
    height, width
        As the frame header tells them: for raw quads those of the four chips side by side.
    depth
        Bits of the counter: 1, 6, 12, 24; needed for raw pixels.
    """

    code: str
    layout: str
    height: int
    width: int
    depth: int

    @property
    def dtype(self) -> str:
        """Of the frames, lowest byte first."""
        return _DTYPE[self.depth] if self.code == RAW else np.dtype(BINARY[self.code]).newbyteorder("<").str

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape of a frame `(v, u)`."""
        if self.code != RAW or not self._is_quad:
            return self.height, self.width
        gap = GAP if self.layout.endswith("G") else 0
        return 2 * self.height + gap, self.width // 2 + gap

    @property
    def nbytes(self) -> int:
        """Bytes of one frame as it comes."""
        bytes_each = _BYTES[self.depth] if self.code == RAW else np.dtype(BINARY[self.code]).itemsize
        return int(self.height * self.width * bytes_each)

    @property
    def _is_quad(self) -> bool:
        return self.layout.startswith("2x2")

    def check(self) -> None:
        """Raise unless such pixels can be read.

        Raises
        ------
        WireInvalid
            If there is no such kind, or raw pixels are in a layout that is not known.
        """
        if self.code == RAW:
            if self.depth not in _DTYPE:
                raise WireInvalid(f"raw frames of counter depth {self.depth} are not known; known are {list(_DTYPE)}")
            if self.layout != "1x1" and not self._is_quad:
                raise WireInvalid(f"raw frames of layout {self.layout} are not read; have Merlin send them as binary")
            if self._is_quad and self.width % 4:
                raise WireInvalid(f"raw frames of four chips are {self.width} pixels wide, which four do not share")
            if self.nbytes % 8:
                raise WireInvalid(f"raw frames of {self.height} x {self.width} pixels are no whole number of words")
        elif self.code not in BINARY:
            raise WireInvalid(f"pixels {self.code!r} are not known; known are {', '.join([*BINARY, RAW])}")

    def unpack(self, packed: NDArray[np.uint8]) -> NDArray:
        """Return frames, shape (n, *frame_shape), from their bytes, shape (n, nbytes); binary ones as they are."""
        if self.code != RAW:
            return packed.view(BINARY[self.code]).reshape(-1, *self.frame_shape)
        if self.depth == 24:
            high, low = (_in_order(part, 12).astype(self.dtype) for part in np.split(packed, 2, axis=1))
            return self._arranged((high << 12) | low)
        return self._arranged(_in_order(packed, self.depth))

    def pack(self, frames: NDArray) -> NDArray[np.uint8]:
        """Return the bytes of frames, shape (n, nbytes), whose numbers fit; the inverse of `unpack`."""
        n = len(frames)
        if self.code != RAW:
            return frames.astype(BINARY[self.code]).reshape(n, -1).view(np.uint8)
        pixels = self._side_by_side(frames.astype(self.dtype))
        if self.depth == 24:
            return np.concatenate([_in_words(part, 12) for part in (pixels >> 12, pixels & 0xFFF)], axis=1)
        return _in_words(pixels, self.depth)

    def _arranged(self, pixels: NDArray) -> NDArray:
        """Return frames from pixels as the chips send them, shape (n, height * width)."""
        if not self._is_quad:
            return pixels.reshape(-1, self.height, self.width)
        chips = pixels.reshape(-1, self.height, 4, self.width // 4)
        frames = np.zeros((len(chips), *self.frame_shape), pixels.dtype)
        for part, chip, is_turned in self._places(frames):
            part[...] = chips[:, ::-1, chip, ::-1] if is_turned else chips[:, :, chip]
        return frames

    def _side_by_side(self, frames: NDArray) -> NDArray:
        if not self._is_quad:
            return frames.reshape(len(frames), -1)
        chips = np.empty((len(frames), self.height, 4, self.width // 4), frames.dtype)
        for part, chip, is_turned in self._places(frames):
            chips[:, :, chip] = part[:, ::-1, ::-1] if is_turned else part
        return chips.reshape(len(frames), -1)

    def _places(self, frames: NDArray) -> list[tuple[NDArray, int, bool]]:
        """Return the four quarters of frames, each with the place of its chip in a row and whether it is turned."""
        v, u = self.height, self.width // 4
        top, bottom = frames[:, :v], frames[:, -v:]
        return [
            (top[:, :, :u], 3, False), (top[:, :, -u:], 2, False),
            (bottom[:, :, :u], 1, True), (bottom[:, :, -u:], 0, True),
        ]  # fmt: skip


def _in_order(packed: NDArray[np.uint8], depth: int) -> NDArray:
    """Return pixels in the order of a row, shape (n, pixels), from words of 64 bits."""
    n = len(packed)
    if depth == 12:
        return packed.reshape(n, -1, 4, 2).view(">u2")[:, :, ::-1, 0].astype("<u2").reshape(n, -1)
    turned = packed.reshape(n, -1, 8)[:, :, ::-1].reshape(n, -1)
    return np.unpackbits(turned, axis=1, bitorder="little") if depth == 1 else turned


def _in_words(pixels: NDArray, depth: int) -> NDArray[np.uint8]:
    n = len(pixels)
    if depth == 12:
        return np.ascontiguousarray(pixels.reshape(n, -1, 4)[:, :, ::-1]).astype(">u2").reshape(n, -1).view(np.uint8)
    whole = np.packbits(pixels, axis=1, bitorder="little") if depth == 1 else pixels
    return np.ascontiguousarray(whole.reshape(n, -1, 8)[:, :, ::-1]).reshape(n, -1)
