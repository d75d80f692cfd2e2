"""A reader of 0.5 ms a message: everything arrives or the source waits, and a viewer is told exactly what it missed."""

from __future__ import annotations

import threading
import time

import numpy as np

from beamloop.core import FrameBatch
from beamloop.streaming import Receiver, Sender, Viewer

from ..faults.amount import amount
from .traffic import WAIT_S, after, scan_of, until, whole

MESSAGES = amount(2_000, 20_000)
PAUSE_S = 0.0005
BOUND_BYTES = 200_000


def _frames(indices: np.ndarray) -> np.ndarray:
    """Return frames that anyone can make again from their indices."""
    return (indices[:, None, None] * 7 + np.arange(256).reshape(16, 16)).astype("<u2")


def _push(sender: Sender, waits: list[float]) -> None:
    scan = scan_of(n=MESSAGES)
    sender.begin(scan)
    for number in range(MESSAGES):
        indices, start_s = np.array([number]), time.monotonic()
        sender.send(FrameBatch("a", indices, np.zeros((1, 2)), _frames(indices)), after(10 * WAIT_S))
        waits.append(time.monotonic() - start_s)
    sender.end(whole(scan))


def test_all_messages_reach_a_slow_reader_whose_source_is_held_back() -> None:
    waits: list[float] = []
    most = 0
    with Sender(retention_bytes=BOUND_BYTES) as sender, Receiver(sender.endpoint, "edge", credit=8) as receiver:
        thread = threading.Thread(target=_push, args=(sender, waits))
        thread.start()
        incoming = receiver.scan("a", WAIT_S)
        for batch in incoming.batches(WAIT_S):
            time.sleep(PAUSE_S)
            np.testing.assert_array_equal(batch.frames, _frames(batch.indices))
            incoming.stored()
            kept = sender.statistics().receivers["edge"]
            most = max(most, kept.retained_bytes)
            # As many as the bound holds, and what was taken and is being acknowledged.
            assert kept.offered - incoming.taken <= BOUND_BYTES // 1024 + 16, "the source ran ahead of its bound"
        thread.join(WAIT_S)
        assert incoming.complete
        assert (incoming.taken, incoming.lost) == (MESSAGES, 0)
        assert most <= BOUND_BYTES + 2 * 1024
        # The source cannot have been faster than its reader but for what the bound holds.
        assert sum(waits) > PAUSE_S * (MESSAGES - 300)


def test_a_slow_viewer_reports_exactly_what_it_passed_over() -> None:
    with Sender(viewer_bytes=BOUND_BYTES) as sender, Viewer(sender.endpoint, "screen") as viewer:
        until(lambda: "screen (live)" in sender.statistics().receivers)
        thread = threading.Thread(target=_push, args=(sender, []))
        thread.start()
        seen: set[int] = set()
        told = 0
        while True:
            sight = viewer.look(WAIT_S)
            time.sleep(PAUSE_S)
            if sight.batch is not None:
                indices = sight.batch.indices
                np.testing.assert_array_equal(sight.batch.frames, _frames(indices))
                assert not seen & set(indices.tolist()), "a frame was shown twice"
                seen |= set(indices.tolist())
            assert sight.seen == len(seen)
            assert sight.passed >= told
            told = sight.passed
            if sight.end is not None:
                break
        thread.join(WAIT_S)
        assert len(seen) + told == MESSAGES
        assert told == sender.statistics().receivers["screen (live)"].lost
        assert 0 < told < MESSAGES
