"""A detector's series as a scan: numbers decide, gaps are told, and every wait ends."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import InstrumentUnreachable, SettingsInvalid
from beamloop.streaming.detectors import LiveScan, live_scan
from beamloop.streaming.detectors.dectris_v1 import packed_frame
from beamloop.streaming.detectors.events import Began, Came, Ended, Event, Odd
from beamloop.streaming.detectors.unpacking import Packing
from beamloop.streaming.reduce import Reducing, Total

FRAMES = np.random.default_rng(0).integers(0, 60000, (12, 4, 6)).astype("<u2")
BEGAN = Began("series 1", (4, 6), "<u2", 12, (3, 4), 0.001, "EIGER")


class Scripted:
    """A connection that gives what it was told to, then nothing."""

    address = "a script"

    def __init__(self, *steps: Sequence[Event], tells_end: bool = True, closes: bool = False) -> None:
        self._steps = list(steps)
        self._closes = closes
        self.tells_end = tells_end
        self.is_over = False
        self.is_closed = False

    def events(self, timeout_s: float) -> Sequence[Event]:
        if self._steps:
            return self._steps.pop(0)
        self.is_over = self._closes
        return ()

    def close(self) -> None:
        self.is_closed = True


def came(*numbers: int) -> Came:
    def put(out: np.ndarray) -> None:
        out[...] = FRAMES[np.array(numbers) % 12]

    return Came(np.array(numbers, np.int64), put)


def scanned(*steps: Sequence[Event], **settings: bool) -> tuple[LiveScan, np.ndarray]:
    """Return a scan read to its end, and the frames that its batches gave, shape (n_frames, v, u)."""
    scan = LiveScan.awaited(Scripted(*steps, **settings), wait_s=0.01)
    frames = np.zeros((scan.header.n_frames, 4, 6), "<u2")
    times = np.zeros(scan.header.n_frames, int)
    for batch in scan.batches(patience_s=0.01):
        batch.check(scan.header)
        frames[batch.indices] = batch.frames
        np.add.at(times, batch.indices, 1)
        np.testing.assert_allclose(
            batch.positions, np.column_stack(np.divmod(batch.indices, scan.header.scan_shape[1]))
        )
    assert times.max() <= 1
    np.testing.assert_array_equal(scan.valid, times == 1)
    return scan, frames


def test_a_whole_series_becomes_a_scan() -> None:
    scan, frames = scanned([BEGAN, came(0, 1, 2)], [came(*range(3, 12)), Ended("series 1")])
    assert (scan.complete, scan.lack(), scan.notices.lines()) == (True, "", ())
    assert scan.header.scan_shape == (3, 4)
    np.testing.assert_array_equal(frames, FRAMES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 16), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 500))
def test_in_any_order_each_frame_counts_once_and_the_rest_is_told(parts: list[list[int]], together: int) -> None:
    before, live_scan.BATCH_BYTES = live_scan.BATCH_BYTES, together
    try:
        scan, frames = scanned([BEGAN], *([came(*part)] for part in parts), [Ended("series 1")])
    finally:
        live_scan.BATCH_BYTES = before
    numbers = [number for part in parts for number in part]
    inside = {number for number in numbers if 0 <= number < 12}
    assert set(np.flatnonzero(scan.valid)) == inside
    np.testing.assert_array_equal(frames[sorted(inside)], FRAMES[sorted(inside)])
    kinds = {line.split(" (")[0].split(":")[0] for line in scan.notices.lines()}
    counted = sum(0 <= number < 12 for number in numbers)
    assert ("frames repeated" in kinds) == (counted > len(inside))
    assert ("frames beyond the scan" in kinds) == (counted < len(numbers))
    assert scan.lack().startswith(f"lacks {12 - len(inside)} of 12 frames") == (len(inside) < 12)


def test_gaps_are_gaps_in_the_results() -> None:
    scan = LiveScan.awaited(Scripted([BEGAN, came(0, 1, 5)], [Ended("series 1")]), wait_s=0.01)
    reducing = Reducing(scan.header, {"sum": Total()})
    for batch in scan.batches(0.01):
        reducing.add(batch)
    total = reducing.results()["sum"]["value"]
    assert total.valid is not None
    assert np.flatnonzero(total.valid).tolist() == [0, 1, 5]
    np.testing.assert_array_equal(total.data.ravel()[[0, 1, 5]], FRAMES[[0, 1, 5]].sum((1, 2)))
    assert scan.lack() == "lacks 9 of 12 frames: 2-4, 6-11 (the detector ended it)"


def test_a_damaged_frame_is_a_gap_and_may_come_again_whole() -> None:
    damaged = packed_frame(1, struct.pack(">QI", 48, 0) + b"\xff" * 20, Packing("bslz4", 2))
    scan, frames = scanned([BEGAN, came(0), damaged, came(2)], [came(1), Ended("series 1")])
    np.testing.assert_array_equal(frames[:3], FRAMES[:3])
    assert "frame 1: a frame packed as bslz4" in scan.notices.lines()[0]


@pytest.mark.parametrize(
    ("steps", "ended", "notice"),
    [
        ([[BEGAN, came(0)]], "nothing came for 0.01 s", ""),
        ([[BEGAN, came(*range(12))]], "every frame came", "no end: every frame of series 1 came"),
        ([[BEGAN, came(0)], [Began("series 2", (4, 6), "<u2", 3), came(1)]], "series 2 began", "series 2 began before"),
        ([[BEGAN, came(0), Odd("foreign bytes", "5 bytes")], [Ended("series 1")]], "the detector ended it", "5 bytes"),
    ],
)
def test_a_series_without_a_proper_end_is_over_and_says_why(steps: list[list[Event]], ended: str, notice: str) -> None:
    scan, _ = scanned(*steps)
    assert scan.ended == ended
    assert notice in "".join(scan.notices.lines())


def test_without_words_for_an_end_the_last_frame_is_the_end() -> None:
    scan, _ = scanned([BEGAN, came(*range(12))], tells_end=False)
    assert (scan.ended, scan.notices.lines()) == ("every frame came", ())


def test_a_connection_that_closes_ends_the_scan() -> None:
    scan, _ = scanned([BEGAN, came(0)], closes=True)
    assert scan.ended == "the detector closed the connection"


def test_where_no_series_comes_it_is_told_with_what_came_instead() -> None:
    with pytest.raises(InstrumentUnreachable, match=r"within 0\.01 s; messages not understood: what is this"):
        LiveScan.awaited(Scripted([Odd("messages not understood", "what is this")]), wait_s=0.01)
    with pytest.raises(InstrumentUnreachable, match="it closed the connection"):
        LiveScan.awaited(Scripted(closes=True), wait_s=5.0)


@pytest.mark.parametrize(
    ("n_frames", "told", "asked", "shape"),
    [
        (12, (3, 4), None, (3, 4)),
        (12, None, None, (1, 12)),
        (12, (5, 5), None, (1, 12)),
        (0, None, (2, 3), (2, 3)),
        (12, (3, 4), (4, 3), (4, 3)),
        (1 << 40, None, (2, 2), (2, 2)),
    ],
)
def test_the_shape_is_what_was_asked_or_what_the_detector_tells(
    n_frames: int, told: tuple[int, int] | None, asked: tuple[int, int] | None, shape: tuple[int, int]
) -> None:
    began = Began("series 1", (4, 6), "<u2", n_frames, told)
    scan = LiveScan.awaited(Scripted([began, came(0)]), 0.01, asked, step_m=2e-9)
    assert scan.header.scan_shape == shape
    assert scan.header.scan_axes[1].scale == 2e-9


@pytest.mark.parametrize("n_frames", [0, 1 << 40])
def test_no_memory_is_claimed_on_a_header_s_word(n_frames: int) -> None:
    with pytest.raises(SettingsInvalid, match="--scan NYxNX"):
        LiveScan.awaited(Scripted([Began("series 1", (4, 6), "<u2", n_frames)]), 0.01)
