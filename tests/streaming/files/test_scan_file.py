"""A scan recorded while it comes: what was acknowledged as stored is readable after a kill, and what lacks is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, OutputExists, Scan, ScanEnd, StorageFailed
from beamloop.streaming import Receiver, Sender
from beamloop.streaming.files import ScanFile, open_recording, record, scan_end_of
from beamloop.streaming.files import scan_file as module

from ...faults.amount import amount, first_seed
from ..traffic import WAIT_S, after, until


def _scan(frame_shape: tuple[int, ...] = (64, 96), dtype: str = "<u2", shape: tuple[int, int] = (6, 10)) -> Scan:
    names = {0: (), 1: ("energy_loss",), 2: ("v", "u")}[len(frame_shape)]
    return Scan(
        scan_id="a", measurement_id="m", receiver="edge", detector="camera", dtype=dtype, dwell_s=1e-3,
        scan_axes=tuple(Axis(name=n, size=s, units="m", scale=1e-9) for n, s in zip("yx", shape, strict=True)),
        frame_axes=tuple(Axis(name=n, size=s) for n, s in zip(names, frame_shape, strict=True)),
    )  # fmt: skip


def _frames(scan: Scan) -> np.ndarray:
    return np.random.default_rng(5).poisson(3, (scan.n_frames, *scan.frame_shape)).astype(scan.dtype)


def _send(sender: Sender, scan: Scan, order: np.ndarray, size: int = 4, pausable: bool = True) -> None:
    frames = _frames(scan)
    sender.begin(scan, pausable)
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        sender.send(FrameBatch("a", indices, np.zeros((len(indices), 2)), frames[indices]), after(WAIT_S))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return frames and mask through the public reader, flat over the scan."""
    with open_recording(path) as recording:
        (detector,) = recording.detectors
        valid = detector.valid.ravel()
        return detector.frames(np.arange(valid.size)), valid


@pytest.mark.parametrize("frame_shape", [(), (40,), (64, 96)])
@pytest.mark.parametrize("dtype", ["<u2", ">f4"])
def test_a_scan_in_any_order_is_recorded_bit_for_bit(tmp_path: Path, frame_shape: tuple[int, ...], dtype: str) -> None:
    scan = _scan(frame_shape, dtype)
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        _send(sender, scan, np.random.default_rng(1).permutation(scan.n_frames))
        sender.end(ScanEnd(scan_id="a", status="complete", n_frames=scan.n_frames))
        recorded = record(receiver.scan("a", WAIT_S), tmp_path / "a.h5", WAIT_S)
        until(lambda: sender.statistics().receivers["edge"].retained == 0)
    assert (recorded.frames, recorded.lacks) == (scan.n_frames, "")
    data, valid = _read(recorded.path)
    assert valid.all()
    np.testing.assert_array_equal(data, _frames(scan))
    with h5py.File(recorded.path) as file:
        dataset = cast(h5py.Dataset, file["Measurement_000/Channel_000/camera/camera"])
        assert dataset.dtype.str == dtype
        assert scan_end_of(dataset)["status"] == "complete"


def test_frames_are_written_as_compressed_chunks_of_their_own(tmp_path: Path) -> None:
    scan = _scan()
    with ScanFile(tmp_path / "a.h5", scan) as file:
        file.add(FrameBatch("a", np.arange(60), np.zeros((60, 2)), _frames(scan)))
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = cast(h5py.Dataset, file["Measurement_000/Channel_000/camera/camera"])
        assert dataset.chunks == (1, 1, 64, 96)
        assert dataset.id.get_num_chunks() == 60
        # Poisson of mean 3 in 16 bits has little more than 2 bits in it.
        assert dataset.id.get_storage_size() < 0.5 * _frames(scan).nbytes


def test_frames_that_the_source_lost_are_masked_and_told_in_the_file(tmp_path: Path) -> None:
    scan = _scan()
    with Sender(retention_bytes=300_000) as sender, Receiver(sender.endpoint, "edge", credit=1) as receiver:
        _send(sender, scan, np.arange(60), pausable=False)
        lost = sender.statistics().receivers["edge"]
        sender.end(ScanEnd(scan_id="a", status="failed", n_frames=0, reason="lacks some"))
        recorded = record(receiver.scan("a", WAIT_S), tmp_path / "a.h5", WAIT_S)
        lost = sender.statistics().receivers["edge"].lost
    data, valid = _read(recorded.path)
    assert 0 < lost == (~valid).sum() == 60 - recorded.frames
    assert f"lacks {lost} of 60 frames" in recorded.lacks
    np.testing.assert_array_equal(data[valid], _frames(scan)[valid])
    with h5py.File(recorded.path) as file:
        told = scan_end_of(cast(h5py.Dataset, file["Measurement_000/Channel_000/camera/camera"]))
    missing = {index for first, last in told["lost_frames"] for index in range(first, last + 1)}
    assert missing == set(np.flatnonzero(~valid).tolist())
    assert (told["lost"], told["lacks"]) == (lost, recorded.lacks)


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"precious")
    with pytest.raises(OutputExists, match="already exists"):
        ScanFile(tmp_path / "a.h5", _scan())
    with pytest.raises(StorageFailed, match="could not be made"):
        ScanFile(tmp_path / "nowhere" / "a.h5", _scan())


def test_a_disk_without_room_is_waited_for_with_nothing_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, room, told = _scan(), [0], []
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, room[0]))

    def goes_on(failure: StorageFailed) -> bool:
        told.append(str(failure))
        # Nothing is acknowledged that is not on the disk.
        assert sender.statistics().receivers["edge"].stored == 0
        room[0] = 1 << 40 if len(told) == 3 else 0
        return True

    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        _send(sender, scan, np.arange(60))
        sender.end(ScanEnd(scan_id="a", status="complete", n_frames=60))
        recorded = record(receiver.scan("a", WAIT_S), tmp_path / "a.h5", WAIT_S, goes_on=goes_on)
    assert len(told) == 3
    assert "0 bytes are free" in told[0]
    assert _read(recorded.path)[1].all()


def test_without_room_and_patience_recording_ends_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
    with ScanFile(tmp_path / "a.h5", _scan()) as file, pytest.raises(StorageFailed, match="make room, then go on"):
        file.add(FrameBatch("a", np.arange(60), np.zeros((60, 2)), _frames(_scan())))


CHILD = """
import sys
from pathlib import Path
from beamloop.streaming import Receiver
from beamloop.streaming.files import record
with Receiver(sys.argv[1], "edge", credit=8) as receiver:
    record(receiver.scan("a", 20.0), Path(sys.argv[2]), 20.0)
"""


@pytest.mark.parametrize("seed", range(first_seed(), first_seed() + amount(3, 60)))
def test_every_frame_acknowledged_as_stored_is_readable_after_a_kill(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame_shape = [(64, 96), (40,), ()][seed % 3]
    scan = _scan(frame_shape, shape=(40, 50))
    order = rng.permutation(2000) if seed % 2 else np.arange(2000)
    with Sender(retention_bytes=1 << 20) as sender:
        child = subprocess.Popen([sys.executable, "-c", CHILD, sender.endpoint, str(tmp_path / "a.h5")])
        kill_at = int(rng.integers(5, 380))
        sender.begin(scan)
        frames = _frames(scan)
        for number, start in enumerate(range(0, 2000, 5)):
            indices = order[start : start + 5]
            sender.send(FrameBatch("a", indices, np.zeros((5, 2)), frames[indices]), after(WAIT_S))
            if number >= kill_at and sender.statistics().receivers["edge"].stored > kill_at - 8:
                break
        until(lambda: sender.statistics().receivers["edge"].stored > kill_at - 8)
        child.kill()
        child.wait()
        # What was said before the kill may still be on its way.
        stored = sender.statistics().receivers["edge"].stored
        acknowledged = order[: 5 * (stored - 1)]
        data, valid = _read(tmp_path / "a.h5")
        assert valid[acknowledged].all()
        np.testing.assert_array_equal(data[acknowledged], frames[acknowledged])
        np.testing.assert_array_equal(data[valid], frames[valid])
