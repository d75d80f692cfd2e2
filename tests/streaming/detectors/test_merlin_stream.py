"""Merlin's data port, byte by byte: however it is cut, whatever is foreign in it, frames keep their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.streaming.detectors.events import Event
from beamloop.streaming.detectors.medipix import Pixels
from beamloop.streaming.detectors.merlin import (
    FRAMES,
    FRAMES_PER_TRIGGER,
    FrameHeader,
    acquisition_header,
    frame_header,
    message,
)
from beamloop.streaming.detectors.merlin_stream import MerlinStream

from .heard import Heard, heard

PIXELS = Pixels("U16", "1x1", 8, 16, 12)
FRAMES_SENT = np.random.default_rng(0).integers(0, 4096, (12, 8, 16)).astype("<u2")
HEADER = message(acquisition_header({FRAMES: 12, FRAMES_PER_TRIGGER: 4}))


def frame(number: int, pixels: Pixels = PIXELS, pixel_bytes: bytes | None = None) -> bytes:
    packed = pixels.pack(FRAMES_SENT[number % 12][None, : pixels.height, : pixels.width])[0].tobytes()
    return message(frame_header(number + 1, pixels, 0.002) + (packed if pixel_bytes is None else pixel_bytes))


def read(data: bytes, cuts: Sequence[int] = ()) -> Heard:
    stream, events = MerlinStream(), list[Event]()
    for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += stream.feed(data[first:last])
    return heard(events + stream.close())


def assert_frames(found: Heard, numbers: Sequence[int]) -> None:
    assert sorted(found.frames) == list(numbers)
    for number in numbers:
        np.testing.assert_array_equal(found.frames[number], FRAMES_SENT[number % 12])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9000), max_size=30))
def test_wherever_the_stream_is_cut_every_frame_comes_once(cuts: list[int]) -> None:
    found = read(HEADER + b"".join(map(frame, range(12))), sorted(cuts))
    assert_frames(found, range(12))
    (began,) = found.began
    assert (began.frame_shape, began.dtype, began.n_frames, began.dwell_s) == ((8, 16), "<u2", 12, 0.002)
    # Four frames to a trigger: three lines of the scan.
    assert began.scan_shape == (3, 4)
    assert found.odd == []


def test_one_byte_at_a_time() -> None:
    data = HEADER + frame(0) + frame(1)
    assert_frames(read(data, range(1, len(data))), [0, 1])


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(0, 9000), max_size=6))
def test_foreign_bytes_before_the_header_are_passed_over_and_told(foreign: bytes, cuts: list[int]) -> None:
    found = read(foreign + HEADER + frame(0) + frame(1), sorted(cuts))
    assert_frames(found, [0, 1])
    assert found.began[0].n_frames == 12
    assert set(found.kinds) == {"foreign bytes"}


@pytest.mark.parametrize("foreign", [b"MPX", b"MPX,00000", b"MPX,9999999999,", b"MPX,0000000003,x", b"GARBAGE" * 1000])
def test_what_only_looks_like_a_message_holds_nothing_up(foreign: bytes) -> None:
    assert_frames(read(foreign + HEADER + b"".join(map(frame, range(3)))), range(3))


def test_a_frame_that_was_cut_off_and_written_over_is_never_given() -> None:
    data = HEADER + frame(0) + frame(1)[:-40] + frame(2) + frame(3)
    for cuts in ([], range(1, len(data), 7)):
        found = read(data, cuts)
        assert_frames(found, [0, 2, 3])
        assert "frames damaged" in found.kinds


def test_a_connection_that_ends_within_a_frame_gives_those_before_it() -> None:
    found = read(HEADER + frame(0) + frame(1)[:-1])
    assert_frames(found, [0])
    assert found.kinds == ["message cut off"]


def test_the_last_frame_comes_when_nothing_follows_for_now() -> None:
    stream = MerlinStream()
    assert sorted(heard(events := stream.feed(HEADER + frame(0) + frame(1))).frames) == [0]
    assert sorted(heard([*events, *stream.pause()]).frames) == [0, 1]
    assert heard([*events, *stream.pause(), *stream.feed(frame(2)), *stream.pause()]).frames.keys() == {0, 2}


def test_frames_keep_their_numbers_in_any_order_and_with_gaps() -> None:
    found = read(HEADER + b"".join(frame(n) for n in (5, 2, 2, 9)))
    assert_frames(found, [2, 5, 9])


def test_numbers_may_outgrow_six_digits() -> None:
    found = read(HEADER + b"".join(frame(n) for n in (999_997, 999_998, 999_999, 1_000_000)))
    assert_frames(found, [999_997, 999_998, 999_999, 1_000_000])


def test_frames_of_another_kind_within_an_acquisition_are_told_and_passed_over() -> None:
    other = Pixels("U08", "1x1", 8, 16, 6)
    found = read(HEADER + frame(0) + frame(1, other) + frame(2))
    assert_frames(found, [0, 2])
    assert found.odd == [
        ("frames changed", "frame 2 is U08 1x1 8 x 16, 6 bit; those before it were U16 1x1 8 x 16, 12 bit")
    ]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (message(b"MQ1,what,is,this"), "has not its fields"),
        (frame(1, pixel_bytes=b"\0" * 255), "has 255 bytes of pixels, its header needs 256"),
        (message(frame_header(2, PIXELS, 0.1).replace(b"U16", b"F16") + b"\0" * 256), "'F16' are not known"),
        (message(frame_header(2, PIXELS, 0.1).replace(b",00384,", b",99999,") + b"\0" * 256), "from byte 99999"),
        (message(b"XXX," + b"\0" * 30), "begins with b'XXX,'"),
    ],
)
def test_messages_that_are_not_understood_are_told_and_passed_over(bad: bytes, words: str) -> None:
    found = read(HEADER + frame(0) + bad + frame(2))
    assert_frames(found, [0, 2])
    assert words in found.odd[0][1]


def test_a_new_acquisition_ends_the_one_before() -> None:
    found = read(HEADER + frame(0) + HEADER + frame(1))
    assert (len(found.began), len(found.ended)) == (2, 1)


def test_24_bits_come_as_two_images_of_12_in_one_message_or_in_two() -> None:
    pixels = Pixels("R64", "1x1", 8, 16, 24)
    frames = np.random.default_rng(1).integers(0, 2**24, (3, 8, 16)).astype("<u4")
    packed = [row.tobytes() for row in pixels.pack(frames)]
    whole = b"".join(message(frame_header(n + 1, pixels, 0.1) + packed[n]) for n in range(3))
    halves = b"".join(
        message(frame_header(2 * n + part + 1, pixels, 0.1) + packed[n][part * 256 : (part + 1) * 256])
        for n in range(3)
        for part in range(2)
    )
    for data in (whole, halves):
        found = read(HEADER + data)
        assert sorted(found.frames) == [0, 1, 2]
        np.testing.assert_array_equal(np.stack([found.frames[n] for n in range(3)]), frames)
    without_one = read(HEADER + halves[: len(halves) // 6 * 2] + halves[len(halves) // 6 * 3 :])
    assert (sorted(without_one.frames), without_one.kinds) == ([0, 2], ["half frames"])


@pytest.mark.parametrize("depth", [1, 6, 12])
def test_raw_frames_that_tell_no_depth_show_it_by_their_size(depth: int) -> None:
    pixels = Pixels("R64", "1x1", 64, 64, depth)
    header = FrameHeader.parsed(frame_header(1, pixels, 0.1).partition(b"MQ1A")[0].ljust(384, b"\0"))
    assert header.depth == 0
    assert header.pixels(pixels.nbytes, depth=0) == pixels


def test_a_long_stream_keeps_memory_for_one_message() -> None:
    stream = MerlinStream()
    stream.feed(HEADER)
    for number in range(2000):
        stream.feed(frame(number))
    assert len(stream._bytes) <= len(frame(0))
    for _ in range(100):
        stream.feed(b"\0" * 100_000)
    assert len(stream._bytes) <= len(frame(0))
