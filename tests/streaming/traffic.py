"""Scans to send, and waits that end: what the tests over real sockets share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.streaming import Sender

WAIT_S = 20.0
FRAME = (16, 16)


def scan_of(scan_id: str = "a", n: int = 32, receiver: str = "edge", dtype: str = "<u2") -> Scan:
    return Scan(
        scan_id=scan_id, measurement_id="m", receiver=receiver, detector="camera",
        scan_axes=(Axis(name="index", size=n),),
        frame_axes=tuple(Axis(name=name, size=size) for name, size in zip("vu", FRAME, strict=True)),
        dtype=dtype, dwell_s=1e-3, simulated=True,
    )  # fmt: skip


def frames_of(scan: Scan) -> np.ndarray:
    """Return the scan's frames, which anyone can make again from its id."""
    rng = np.random.default_rng(list(scan.scan_id.encode()))
    return rng.integers(0, 60_000, (scan.n_frames, *scan.frame_shape)).astype(scan.dtype)


def batches_of(scan: Scan, size: int = 4) -> Iterator[FrameBatch]:
    frames = frames_of(scan)
    for start in range(0, scan.n_frames, size):
        indices = np.arange(start, min(start + size, scan.n_frames))
        yield FrameBatch(scan.scan_id, indices, np.zeros((len(indices), 2)), frames[indices])


def whole(scan: Scan) -> ScanEnd:
    return ScanEnd(scan_id=scan.scan_id, status="complete", n_frames=scan.n_frames)


def send_scan(sender: Sender, scan: Scan, size: int = 4) -> None:
    sender.begin(scan)
    for batch in batches_of(scan, size):
        sender.send(batch, give_up=after(WAIT_S))
    sender.end(whole(scan))


def send_batches(sender: Sender, scan: Scan, give_up: Callable[[], bool]) -> None:
    for batch in batches_of(scan):
        sender.send(batch, give_up)


def after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() > deadline


def until(claim: Callable[[], bool]) -> None:
    late = after(WAIT_S)
    while not claim():
        assert not late(), "it did not come true in time"
        time.sleep(0.005)
