"""Retention holds what is not stored, in order, and its bound is honest."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import FrameBatch, ScanEnd
from beamloop.streaming.retention import OVERHEAD_BYTES, Retention, weight_bytes
from beamloop.streaming.wire import Batch, End


def _batch(seq: int, frame_bytes: int) -> Batch:
    return Batch(seq, FrameBatch("s", np.zeros(1, np.int64), np.zeros((1, 2)), np.zeros((1, frame_bytes), np.uint8)))


def test_weight_counts_every_buffer_and_the_objects() -> None:
    assert weight_bytes(_batch(1, 1000)) == 1000 + 8 + 16 + OVERHEAD_BYTES
    assert weight_bytes(End(1, ScanEnd(scan_id="s", status="complete", n_frames=1))) == OVERHEAD_BYTES


@pytest.mark.parametrize("frame_bytes", [0, 100, 5000])
def test_filling_up_while_there_is_room_never_passes_the_bound(frame_bytes: int) -> None:
    retention = Retention(100_000)
    for seq in range(1, 1000):
        message = _batch(seq, frame_bytes)
        if not retention.has_room(weight_bytes(message)):
            break
        retention.keep(message)
    assert 100_000 - weight_bytes(_batch(1, frame_bytes)) < retention.held_bytes <= 100_000


def test_an_empty_retention_takes_a_batch_larger_than_its_bound() -> None:
    retention = Retention(10)
    assert retention.has_room(1000)
    retention.keep(_batch(1, 1000))
    assert not retention.has_room(1)


def test_release_lets_go_of_the_front_only_and_returns_it() -> None:
    retention = Retention(1 << 20)
    for seq in range(1, 6):
        retention.keep(_batch(seq, seq))
    assert [message.seq for message in retention.release(3)] == [1, 2, 3]
    assert len(retention) == 2
    assert retention.held_bytes == weight_bytes(_batch(4, 4)) + weight_bytes(_batch(5, 5))
    assert retention.message(4).seq == 4
    assert retention.release(3) == []
    assert [message.seq for message in retention.release(99)] == [4, 5]
    assert (len(retention), retention.held_bytes) == (0, 0)
