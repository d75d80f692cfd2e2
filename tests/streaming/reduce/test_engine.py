from __future__ import annotations

from threading import Thread

import numpy as np
import pytest

from beamloop.core import FrameShapeWrong
from beamloop.streaming.reduce import Reducing, Total

from .scans import batch_of, camera_axes, frames_of, scan_of

SCAN = scan_of("<u2", frame_axes=camera_axes())
FRAMES = frames_of(SCAN)


def test_a_frame_that_comes_twice_is_refused_and_nothing_of_its_batch_is_added() -> None:
    reducing = Reducing(SCAN, {"total": Total()})
    reducing.add(batch_of(SCAN, FRAMES, [1, 2]))
    with pytest.raises(FrameShapeWrong, match="frame 2 of scan s1 came twice"):
        reducing.add(batch_of(SCAN, FRAMES, [3, 2]))
    assert np.flatnonzero(reducing.valid).tolist() == [1, 2]
    np.testing.assert_array_equal(reducing.results()["total"]["frame"].data, FRAMES[1:3].sum(axis=0, dtype=np.int64))


def test_a_frame_twice_in_one_batch_is_refused() -> None:
    reducing = Reducing(SCAN, {"total": Total()})
    with pytest.raises(FrameShapeWrong, match="came twice"):
        reducing.add(batch_of(SCAN, FRAMES, [4, 4]))
    assert not reducing.valid.any()


def test_merging_parts_that_share_a_frame_is_refused() -> None:
    left, right = (Reducing(SCAN, {"total": Total()}) for _ in range(2))
    left.add(batch_of(SCAN, FRAMES, [1, 2]))
    right.add(batch_of(SCAN, FRAMES, [2, 3]))
    with pytest.raises(FrameShapeWrong, match="frame 2"):
        left.merge(right)


def test_merging_different_reductions_is_refused() -> None:
    with pytest.raises(FrameShapeWrong, match="same header and settings"):
        Reducing(SCAN, {"a": Total()}).merge(Reducing(SCAN, {"b": Total()}))


def test_a_batch_of_another_scan_or_dtype_is_refused() -> None:
    reducing = Reducing(SCAN, {"total": Total()})
    other = SCAN.model_copy(update={"scan_id": "s2"})
    with pytest.raises(FrameShapeWrong, match="s2"):
        reducing.add(batch_of(other, FRAMES, [0]))
    with pytest.raises(FrameShapeWrong, match="<f4"):
        reducing.add(batch_of(SCAN, FRAMES.astype("<f4"), [0]))
    assert not reducing.valid.any()


def test_positions_are_those_of_the_frames_and_nan_elsewhere() -> None:
    reducing = Reducing(SCAN, {})
    reducing.add(batch_of(SCAN, FRAMES, [3]))
    other = Reducing(SCAN, {})
    other.add(batch_of(SCAN, FRAMES, [5]))
    reducing.merge(other)
    np.testing.assert_allclose(reducing.positions[[3, 5]], [[3e-9, -3e-9], [5e-9, -5e-9]])
    assert np.isnan(np.delete(reducing.positions, [3, 5], axis=0)).all()


def test_reading_while_another_thread_adds_gives_whole_batches_only() -> None:
    scan = scan_of("<u2", scan_shape=(20, 20), frame_axes=camera_axes())
    frames = np.ones((scan.n_frames, *scan.frame_shape), "<u2")
    reducing = Reducing(scan, {"total": Total()})

    def feed() -> None:
        for start in range(0, scan.n_frames, 4):
            reducing.add(batch_of(scan, frames, np.arange(start, start + 4)))

    feeder = Thread(target=feed)
    feeder.start()
    seen = [reducing.results()["total"] for _ in range(50)]
    feeder.join(timeout=30)
    assert not feeder.is_alive()
    for result in [*seen, reducing.results()["total"]]:
        n = result["frame"].metadata["frames"]
        assert n % 4 == 0
        assert (result["frame"].data == n).all()
        assert result["value"].data.sum() == n * 63
