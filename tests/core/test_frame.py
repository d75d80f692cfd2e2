"""A batch is what its header announced, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, FrameShapeWrong, Scan

SCAN = Scan(
    scan_id="a3f9", measurement_id="m1", receiver="ada", detector="diffraction",
    scan_axes=(Axis(name="y", size=3), Axis(name="x", size=4)),
    frame_axes=(Axis(name="v", size=2), Axis(name="u", size=5)), dtype="<u2", dwell_s=1e-3,
)  # fmt: skip


def batch(indices: list[int], frames: np.ndarray) -> FrameBatch:
    return FrameBatch("a3f9", np.array(indices, dtype=np.int64), np.zeros((len(indices), 2)), frames)


def test_the_header_knows_its_shapes() -> None:
    assert (SCAN.scan_shape, SCAN.frame_shape, SCAN.n_frames) == ((3, 4), (2, 5), 12)


def test_what_was_announced_passes() -> None:
    batch([11, 0], np.zeros((2, 2, 5), "<u2")).check(SCAN)


@pytest.mark.parametrize(
    ("indices", "frames", "words"),
    [
        ([0], np.zeros((1, 2, 5), "<f4"), "dtype <f4, its header said <u2"),
        ([0], np.zeros((1, 2, 5), ">u2"), "dtype >u2"),
        ([0], np.zeros((1, 5, 2), "<u2"), r"shape \(1, 5, 2\)"),
        ([0, 1], np.zeros((1, 2, 5), "<u2"), "shape"),
        ([12], np.zeros((1, 2, 5), "<u2"), "index 12"),
        ([-1], np.zeros((1, 2, 5), "<u2"), "index -1"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(indices: list[int], frames: np.ndarray, words: str) -> None:
    with pytest.raises(FrameShapeWrong, match=words):
        batch(indices, frames).check(SCAN)
