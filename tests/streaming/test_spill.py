"""What goes to disk comes back bit for bit or is told as lost, within its bound, whatever the disk does."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, Scan, StorageFailed
from beamloop.streaming import spill
from beamloop.streaming.loss import Loss
from beamloop.streaming.retention import Retention, weight_bytes
from beamloop.streaming.spill import RETRY_S, Spill, found_in
from beamloop.streaming.wire import Batch, Lost

FRAME_BYTES = 1000


def _batch(seq: int, n: int = 3, dtype: str = ">u2") -> Batch:
    frames = np.random.default_rng(seq).integers(0, 100, (n, FRAME_BYTES // np.dtype(dtype).itemsize)).astype(dtype)
    return Batch(seq, FrameBatch(f"s{seq % 2}", np.arange(seq, seq + n), np.full((n, 2), seq * 1e-9), frames))


def _scan(scan_id: str) -> Scan:
    return Scan(
        scan_id=scan_id, measurement_id="m", receiver="edge", detector="camera", dtype=">u2", dwell_s=1e-3,
        scan_axes=(Axis(name="index", size=99),), frame_axes=(Axis(name="x", size=FRAME_BYTES // 2),),
    )  # fmt: skip


def _same(got: object, sent: Batch) -> bool:
    assert isinstance(got, Batch)
    pairs = [(getattr(got.batch, name), getattr(sent.batch, name)) for name in ("indices", "positions", "frames")]
    assert (got.seq, got.batch.scan_id) == (sent.seq, sent.batch.scan_id)
    return all(a.dtype.str == b.dtype.str and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spill"))


def test_batches_come_back_bit_for_bit_in_any_order(tmp_path: Path) -> None:
    store = Spill(tmp_path, "a", 1 << 20)
    for seq in range(1, 20):
        assert store.put(_batch(seq))
    assert all(_same(store.get(seq), _batch(seq)) for seq in (7, 1, 19, 7))
    assert store.held_bytes == sum(path.stat().st_size for path in _files(tmp_path))
    store.clear()


def test_files_are_cut_and_go_with_the_last_batch_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "SEGMENT_BYTES", 10_000)
    store = Spill(tmp_path, "a", 1 << 20)
    for seq in range(1, 13):
        store.put(_batch(seq))
    first, second, third = _files(tmp_path)
    for seq in (2, 3, 1, 4):
        assert first.exists()
        store.drop(seq)
    assert not first.exists()
    assert _same(store.get(5), _batch(5))
    assert store.held_bytes == second.stat().st_size + third.stat().st_size
    store.clear()
    assert _files(tmp_path) == []
    assert (len(store), store.held_bytes) == (0, 0)


def test_the_bound_is_of_bytes_on_the_disk_and_of_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Spill(tmp_path, "a", 10_000)
    count = 0
    while store.has_room(weight_bytes(_batch(count + 1))):
        count += 1
        assert store.put(_batch(count))
    assert 10_000 - weight_bytes(_batch(1)) < store.held_bytes <= 10_000
    assert sum(path.stat().st_size for path in _files(tmp_path)) == store.held_bytes
    store.clear()
    monkeypatch.setattr(spill, "MOST_SPILLED", 2)
    store.put(_batch(1))
    assert store.has_room(10)
    store.put(_batch(2))
    assert not store.has_room(10)
    store.clear()


def test_every_flipped_byte_is_noticed_and_told_as_a_loss(tmp_path: Path) -> None:
    store = Spill(tmp_path, "a", 1 << 20)
    for seq in (1, 2, 3):
        store.put(_batch(seq))
    (file,) = _files(tmp_path)
    whole = file.read_bytes()
    size = len(whole) // 3
    for place in np.random.default_rng(0).integers(size, 2 * size, 200):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        assert store.get(2) == Loss("s0", 3, ((2, 4),))
        assert _same(store.get(1), _batch(1))
        assert _same(store.get(3), _batch(3))
    store.clear()


class FailingDisk:
    """Fails every write after so many bytes, as a full disk does: it takes a part first."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, raw: io.FileIO, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = io.FileIO.write(raw, data[: self.room])
        assert taken is not None
        self.room -= taken
        return taken


def test_a_full_disk_takes_nothing_by_halves_and_is_used_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, now = FailingDisk(8000), [0.0]

    class Raw(io.FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            return disk.write(self, data)

    monkeypatch.setattr(spill, "FileIO", Raw)
    store = Spill(tmp_path, "a", 1 << 20, lambda: now[0])
    taken = [seq for seq in range(1, 5) if store.put(_batch(seq))]
    assert taken == [1, 2]
    assert "No space left" in store.fault
    assert not store.has_room(10)
    (file,) = _files(tmp_path)
    assert file.stat().st_size == store.held_bytes
    now[0], disk.room = RETRY_S, 1 << 20
    assert store.has_room(10)
    assert store.put(_batch(3))
    assert store.fault == ""
    assert all(_same(store.get(seq), _batch(seq)) for seq in (1, 2, 3))
    store.clear()


def test_a_folder_that_cannot_be_made_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Spill(tmp_path / "file" / "frames", "a", 1 << 20)
    assert store.has_room(10)
    assert not store.put(_batch(1))
    assert "takes no frames" in store.fault


def test_retention_fills_memory_first_then_the_disk_and_keeps_the_order(tmp_path: Path) -> None:
    weight = weight_bytes(_batch(1))
    retention = Retention(3 * weight, Spill(tmp_path, "a", 1 << 20))
    for seq in range(1, 11):
        assert retention.has_room(weight)
        retention.keep(_batch(seq))
    assert (len(retention), retention.held_bytes, retention.spilled) == (10, 3 * weight, 7)
    assert all(_same(retention.message(seq), _batch(seq)) for seq in range(1, 11))
    retention.release(2)
    retention.keep(_batch(11))
    assert retention.spilled == 7
    assert [seq for seq in range(1, 13) if seq in retention] == list(range(3, 12))
    retention.release(11)
    assert (retention.held_bytes, retention.spilled, retention.spilled_bytes) == (0, 0, 0)
    assert _files(tmp_path) == []


class Refusing(Spill):
    """A disk that says it has room, and refuses until it is mended."""

    mended = False

    def put(self, message: Batch) -> bool:
        return self.mended and super().put(message)


def test_a_disk_that_always_refuses_lets_memory_exceed_its_bound_by_one_batch_only(tmp_path: Path) -> None:
    weight, store = weight_bytes(_batch(1)), Refusing(tmp_path, "a", 1 << 20)
    retention, seq = Retention(3 * weight, store), 0
    for _ in range(100):
        if retention.has_room(weight):
            seq += 1
            retention.keep(_batch(seq))
    assert (seq, retention.held_bytes) == (4, 4 * weight)
    store.mended = True
    assert retention.has_room(weight)
    assert (retention.held_bytes, retention.spilled) == (3 * weight, 1)
    retention.keep(_batch(5))
    assert all(_same(retention.message(seq), _batch(seq)) for seq in range(1, 6))
    retention.release(5)
    assert (len(retention), retention.held_bytes, retention.spilled) == (0, 0, 0)


def test_what_was_refused_and_released_meanwhile_is_no_hindrance(tmp_path: Path) -> None:
    weight, store = weight_bytes(_batch(1)), Refusing(tmp_path, "a", 1 << 20)
    retention = Retention(weight, store)
    retention.keep(_batch(1))
    retention.keep(_batch(2))
    assert not retention.has_room(weight)
    assert retention.release(2)
    retention.keep(_batch(3))
    store.mended = True
    assert retention.has_room(weight)
    retention.clear()


def test_what_is_damaged_on_the_disk_becomes_a_loss_that_is_retained(tmp_path: Path) -> None:
    weight = weight_bytes(_batch(1))
    retention = Retention(weight, Spill(tmp_path, "a", 1 << 20))
    for seq in (1, 2, 3):
        retention.keep(_batch(seq))
    (file,) = _files(tmp_path)
    file.write_bytes(bytes(file.stat().st_size))
    lost = Lost(2, Loss("s0", 3, ((2, 4),)))
    assert [retention.message(2), retention.message(2)] == [lost, lost]
    assert (len(retention), retention.spilled, retention.held_bytes) == (3, 1, weight + weight_bytes(lost))
    retention.clear()


def test_a_disk_that_gives_nothing_now_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Spill(tmp_path, "a", 1 << 20)
    store.put(_batch(1))

    def gone(raw: object, size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spill, "_read", gone)
        with pytest.raises(StorageFailed, match="cannot be read: Input/output error"):
            store.get(1)
    assert _same(store.get(1), _batch(1))
    store.clear()


CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from beamloop.core import Axis, FrameBatch, Scan
from beamloop.streaming.spill import Spill
from beamloop.streaming.wire import Batch
store = Spill(Path(sys.argv[1]), "a", 1 << 24)
store.begin(Scan(scan_id="s", measurement_id="m", receiver="edge", detector="camera", dtype=">u2", dwell_s=1e-3,
    scan_axes=(Axis(name="index", size=9),), frame_axes=(Axis(name="x", size=50),)))
seq = 0
while True:
    seq += 1
    store.put(Batch(seq, FrameBatch("s", np.arange(3), np.zeros((3, 2)), np.full((3, 50), seq, ">u2"))))
    print(seq, flush=True)
"""


def test_files_of_a_killed_process_hold_every_batch_that_it_had_put(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 200:
                break
        child.kill()
        rest = child.stdout.read().split()
    put = int(rest[-1]) if rest else 200
    (file,) = _files(tmp_path)
    whole = file.stat().st_size
    # The kill may have left part of one more batch at the end.
    for cut in (0, 5):
        file.write_bytes(file.read_bytes()[: whole - cut])
        segment, scans, places = found_in(file)
        assert [scan.receiver for scan in scans.values()] == ["edge"]
        assert len(places) >= put - (cut > 0)
        store = Spill(tmp_path, "b", 1 << 24)
        store.take_up(segment)
        for number, place in enumerate(places, start=1001):
            store.hold(number, place)
        for number, place in enumerate(places, start=1001):
            found = store.get(number)
            assert isinstance(found, Batch)
            assert (found.seq, place.seq, place.loss) == (number, number - 1000, Loss("s", 3, ((0, 2),)))
            assert (found.batch.frames == number - 1000).all()
        store.close()


def test_what_was_let_go_before_a_kill_is_not_found_after_it(tmp_path: Path) -> None:
    store = Spill(tmp_path, "a", 1 << 20)
    store.begin(_scan("s0"))
    for seq in (2, 4, 6, 8):
        store.put(_batch(seq))
    store.drop(4)
    store.close()
    (file,) = _files(tmp_path)
    segment, scans, places = found_in(file)
    segment.raw.close()
    assert ([place.seq for place in places], list(scans)) == ([2, 6, 8], ["s0"])


def test_every_file_holds_the_header_of_each_of_its_scans_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "SEGMENT_BYTES", 10_000)
    store = Spill(tmp_path, "a", 1 << 20)
    for scan_id in ("s0", "s1"):
        store.begin(_scan(scan_id))
    for seq in range(1, 13):
        store.put(_batch(seq))
    files = _files(tmp_path)
    assert len(files) > 2
    assert store.held_bytes == sum(file.stat().st_size for file in files)
    for file in files:
        segment, scans, places = found_in(file)
        segment.raw.close()
        assert {place.loss.scan_id for place in places} <= set(scans)
    store.clear()
