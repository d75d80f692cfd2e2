"""Packed frames open to what the reference implementations packed, and damaged ones to an error."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import WireInvalid
from beamloop.streaming.detectors.unpacking import Packing, unpack

from .packed import bslz4, literals, lz4_bare, lz4_framed

DTYPES = ("|u1", "<u2", "<u4")


def opened(blob: bytes, packing: Packing, like: np.ndarray) -> np.ndarray:
    out = np.full_like(like, 7)
    unpack(blob, packing, out)
    return out


@st.composite
def frames(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    most = draw(st.sampled_from([1, 3, 255, 60000, 2**32]))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).integers(0, min(most, np.iinfo(dtype).max + 1), shape)
    return numbers.astype(dtype)


@settings(max_examples=60, deadline=None)
@given(frames())
def test_what_the_reference_packed_opens_bit_for_bit(frame: np.ndarray) -> None:
    width = frame.itemsize
    for blob, packing in (
        (bslz4(frame), Packing("bslz4", width)),
        (bslz4(frame, block=64), Packing("bslz4", width)),
        (lz4_framed(frame), Packing("lz4-framed")),
        (lz4_framed(frame, block_bytes=1000), Packing("lz4-framed")),
        (lz4_bare(frame), Packing("lz4")),
        (frame.tobytes(), Packing("none")),
    ):
        np.testing.assert_array_equal(opened(blob, packing, frame), frame, err_msg=str(packing))


def test_bits_may_be_transposed_in_other_widths_than_a_pixel_has() -> None:
    frame = np.random.default_rng(0).poisson(2.0, (64, 48)).astype("<u2")
    packed_as_bytes = bslz4(frame.view("|u1"))
    np.testing.assert_array_equal(opened(packed_as_bytes, Packing.spelt("bs8-lz4<"), frame), frame)


def test_matches_that_overlap_themselves_are_repeated() -> None:
    # Two literals, then 21 bytes from two before; last, as the format wants, literals.
    block = bytes([0x2F]) + b"ab" + struct.pack("<H", 2) + bytes([2]) + bytes([0x50]) + b"vwxyz"
    assert opened(block, Packing("lz4"), np.zeros(28, np.uint8)).tobytes() == b"ab" * 11 + b"a" + b"vwxyz"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_an_error_or_other_numbers_and_never_more(data: st.DataObject) -> None:
    frame = np.random.default_rng(1).poisson(1.0, (40, 33)).astype("<u2")
    kind, packing = data.draw(
        st.sampled_from([(bslz4, Packing("bslz4", 2)), (lz4_framed, Packing("lz4-framed")), (lz4_bare, Packing("lz4"))])
    )
    blob = bytearray(kind(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(blob)))
    guarded = np.full(frame.size + 64, 0xABCD, "<u2")
    inner = guarded[32:-32]
    with suppress(WireInvalid):
        unpack(bytes(blob[:cut]), packing, inner)
    assert (guarded[:32] == 0xABCD).all()
    assert (guarded[-32:] == 0xABCD).all()


def test_a_header_that_promises_another_size_is_refused() -> None:
    frame = np.zeros((16, 16), "<u2")
    blob = struct.pack(">Q", 1 << 50) + bslz4(frame)[8:]
    with pytest.raises(WireInvalid, match=f"opens to {1 << 50} bytes; its header needs 512"):
        opened(blob, Packing("bslz4", 2), frame)
    with pytest.raises(WireInvalid, match="does not open to the 512 bytes"):
        opened(literals(b"\0" * 511), Packing("lz4"), frame)
    with pytest.raises(WireInvalid, match="has 511 bytes"):
        opened(b"\0" * 511, Packing("none"), frame)


@pytest.mark.parametrize("encoding", ["", "<", "lz4<", "bs8-lz4<", "bs16-lz4<", "bs32-lz4<", "bs16lz4"])
def test_encodings_of_stream_v1_are_known(encoding: str) -> None:
    assert Packing.spelt(encoding).algorithm == (
        "bslz4" if "bs" in encoding else "lz4" if "lz4" in encoding else "none"
    )


@pytest.mark.parametrize("encoding", ["lz4>", "bs16<", "zstd<", "bs64-lz4<", "x" * 10000])
def test_other_encodings_are_refused_with_their_name(encoding: str) -> None:
    with pytest.raises(WireInvalid, match=encoding[:40]):
        Packing.spelt(encoding)
