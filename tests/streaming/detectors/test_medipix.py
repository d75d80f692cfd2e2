"""Pixels of Medipix chips: every depth and layout, against a pixel by pixel reading of the format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import WireInvalid
from beamloop.streaming.detectors.medipix import Pixels

KINDS = [("U08", 1), ("U08", 6), ("U16", 12), ("U32", 24), ("R64", 1), ("R64", 6), ("R64", 12), ("R64", 24)]


def kind(code: str, depth: int, layout: str, side: int = 16) -> Pixels:
    if layout == "1x1":
        return Pixels(code, layout, side, side, depth)
    if code == "R64":
        return Pixels(code, layout, side, 4 * side, depth)
    whole = 2 * side + (2 if layout.endswith("G") else 0)
    return Pixels(code, layout, whole, whole, depth)


def read_raw_pixel(row: bytes, at: int, depth: int) -> int:
    """Return one pixel of a row of raw words, as the format says it."""
    if depth == 1:
        word = int.from_bytes(row[at // 64 * 8 :][:8], "big")
        return word >> (at % 64) & 1
    if depth == 6:
        return row[at // 8 * 8 + 7 - at % 8]
    place = 2 * (at // 4 * 4 + 3 - at % 4)
    return int.from_bytes(row[place : place + 2], "big")


def read_raw(packed: bytes, pixels: Pixels) -> np.ndarray:
    """Return a raw frame read pixel by pixel."""
    if pixels.depth == 24:
        half = len(packed) // 2
        part = Pixels("R64", pixels.layout, pixels.height, pixels.width, 12)
        high, low = (read_raw(each, part).astype("<u4") for each in (packed[:half], packed[half:]))
        return high * 4096 + low
    side, of_row = pixels.height, len(packed) // pixels.height
    frame = np.zeros(pixels.frame_shape, pixels.dtype)
    for v in range(side):
        row = packed[v * of_row : (v + 1) * of_row]
        for at in range(pixels.width):
            value = read_raw_pixel(row, at, pixels.depth)
            chip, u = divmod(at, side)
            if pixels.layout == "1x1":
                frame[v, u] = value
            else:
                # Side by side stand chips 4, 3, 2, 1; below, 3 and 4 on their heads.
                places = {3: (v, u), 2: (v, u - side), 1: (-1 - v, side - 1 - u), 0: (-1 - v, -1 - u)}
                frame[places[chip]] = value
    return frame


@pytest.mark.parametrize("layout", ["1x1", "2x2", "2x2G"])
@pytest.mark.parametrize("depth", [1, 6, 12, 24])
def test_raw_pixels_are_read_as_one_by_one(depth: int, layout: str) -> None:
    pixels = kind("R64", depth, layout, side=64 if depth == 1 else 16)
    pixels.check()
    packed = np.random.default_rng(depth).integers(0, 256, (3, pixels.nbytes), np.uint8)
    if depth in (12, 24):
        packed[:, ::2] &= 0x0F
    for frame, row in zip(pixels.unpack(packed), packed, strict=True):
        np.testing.assert_array_equal(frame, read_raw(row.tobytes(), pixels))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(["1x1", "2x2", "2x2G"]), st.integers(1, 4), st.integers(0, 99))
def test_what_is_packed_opens_bit_for_bit(code_depth: tuple[str, int], layout: str, n: int, seed: int) -> None:
    pixels = kind(*code_depth, layout, side=8 * (seed % 3 + 1))
    frames = np.random.default_rng(seed).integers(0, 2**pixels.depth, (n, *pixels.frame_shape)).astype(pixels.dtype)
    if layout == "2x2G" and pixels.code == "R64":
        # What lies between the chips is not sent.
        middle = pixels.height
        frames[:, middle : middle + 2] = 0
        frames[:, :, middle : middle + 2] = 0
    packed = pixels.pack(frames)
    assert packed.shape == (n, pixels.nbytes)
    np.testing.assert_array_equal(pixels.unpack(packed), frames)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (Pixels("R64", "Nx1", 256, 256, 1), "layout Nx1"),
        (Pixels("R64", "1x1", 256, 256, 7), "counter depth 7"),
        (Pixels("R64", "1x1", 3, 3, 1), "no whole number of words"),
        (Pixels("R64", "2x2", 256, 1022, 12), "1022 pixels wide"),
        (Pixels("F32", "1x1", 256, 256, 12), "'F32' are not known"),
    ],
)
def test_kinds_that_cannot_be_read_are_refused(pixels: Pixels, words: str) -> None:
    with pytest.raises(WireInvalid, match=words):
        pixels.check()
