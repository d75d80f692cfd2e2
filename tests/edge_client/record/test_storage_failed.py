"""A disk that is full, read-only or gone: a clear error, nothing lost, and the run goes on when it is back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, InstrumentInfo, Scan, Signal, StorageFailed
from beamloop.edge_client.record.run_file import RunFile

from .measured import batch_of, scan_of

PIXELS = tuple(Axis(name=name, size=128, units="1/m", scale=1e8) for name in "vu")


def pattern_of(info: InstrumentInfo, number: int) -> tuple[Scan, FrameBatch]:
    """Return one diffraction pattern of 32 KiB that does not compress."""
    frame = np.random.default_rng(number).integers(0, 65536, (1, 128, 128)).astype("<u2")
    scan = scan_of(info, number).model_copy(update={"frame_axes": PIXELS})
    return scan, FrameBatch(f"s{number}", np.zeros(1, np.int64), np.zeros((1, 2)), frame)


def assert_holds(file: RunFile, info: InstrumentInfo, count: int) -> None:
    assert file.rows() == {f"m{n}": n for n in range(count)}
    for number in range(count):
        frame = file.frame(number)
        assert frame is not None
        np.testing.assert_array_equal(frame.data, pattern_of(info, number)[1].frames[0])


def add_until_refused(file: RunFile, info: InstrumentInfo) -> None:
    for number in range(64):
        scan, batch = pattern_of(info, number)
        assert file.add(scan, [batch]) == number


Remount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Remount]]:
    """Return a disk of 1 MiB and what changes it, for example `size=8M` or `ro`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk; mounting one of 1 MiB is not permitted here")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    yield folder, remount
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_a_run_waits_and_goes_on_when_there_is_room(
    disk: tuple[Path, Remount], info: InstrumentInfo
) -> None:
    folder, remount = disk
    with closing(RunFile(folder / "run.h5", capacity=64)) as file:
        with pytest.raises(StorageFailed, match=r"run\.h5 could not be given a frame.*No space left.*kept.*Make room"):
            add_until_refused(file, info)
        stored = len(file.rows())
        assert 10 < stored < 32
        assert_holds(file, info, stored)
        with h5py.File(folder / "run.h5") as reader:
            assert reader["Measurement_000/Channel_001/measured/valid"][()].sum() == stored
        for _ in range(2):
            scan, batch = pattern_of(info, stored)
            with pytest.raises(StorageFailed):
                file.add(scan, [batch])
        remount("size=8M")
        for number in range(stored, 64):
            scan, batch = pattern_of(info, number)
            assert file.add(scan, [batch]) == number
        assert_holds(file, info, 64)
    with closing(RunFile.reopened(folder / "run.h5", 64)) as again:
        assert_holds(again, info, 64)


def test_closing_on_a_full_disk_keeps_the_rows_and_may_be_tried_again(
    disk: tuple[Path, Remount], info: InstrumentInfo
) -> None:
    folder, remount = disk
    file = RunFile(folder / "run.h5", capacity=64)
    for number in range(20):
        scan, batch = pattern_of(info, number)
        file.add(scan, [batch])
    file.put_map("found", Signal(np.ones((4, 4)), (Axis(name="y", size=4), Axis(name="x", size=4))))
    with pytest.raises(StorageFailed, match="could not be finished"):
        file.close()
    assert list(folder.iterdir()) == [folder / "run.h5"], "what was half built is taken away"
    assert_holds(file, info, 20)
    remount("size=8M")
    file.close()
    with h5py.File(folder / "run.h5") as opened:
        assert opened["Measurement_000/Channel_001/measured/measured"].shape == (20, 128, 128)
        assert "Measurement_000/Channel_002/found" in opened


def test_a_picture_too_large_for_the_disk_is_refused_and_the_file_stays(disk: tuple[Path, Remount]) -> None:
    folder, remount = disk
    axes = (Axis(name="y", size=1024), Axis(name="x", size=1024))
    picture = Signal(np.random.default_rng(0).random((1024, 1024)), axes)
    with closing(RunFile(folder / "run.h5", capacity=4)) as file:
        with pytest.raises(StorageFailed, match="given the overview"):
            file.put_overview(picture)
        remount("size=32M")
        file.put_overview(picture)
    with h5py.File(folder / "run.h5") as opened:
        np.testing.assert_array_equal(opened["Measurement_000/Channel_000/overview/overview"], picture.data)


def test_a_read_only_folder_says_so(disk: tuple[Path, Remount], info: InstrumentInfo) -> None:
    folder, remount = disk
    with closing(RunFile(folder / "old.h5", capacity=4)) as file:
        file.add(scan_of(info, 0), [batch_of(0)])
        shutil.copy(folder / "old.h5", folder / "killed.h5")
    remount("ro")
    with pytest.raises(StorageFailed, match="Read-only file system"):
        RunFile(folder / "run.h5", capacity=4)
    for name in ("old.h5", "killed.h5"):
        with pytest.raises(StorageFailed, match="Read-only file system"):
            RunFile.reopened(folder / name, capacity=4)


def test_a_disk_that_was_away_is_found_again(tmp_path: Path, info: InstrumentInfo) -> None:
    folder, away = tmp_path / "disk", tmp_path / "away"
    folder.mkdir()
    with closing(RunFile(folder / "run.h5", capacity=4)) as file:
        file.add(scan_of(info, 0), [batch_of(0)])
        assert file._rows is not None
        folder.rename(away)
        gone = os.open("/dev/full", os.O_RDWR)
        # As the descriptor of a disk that was pulled out, this one takes nothing any more.
        os.dup2(gone, file._rows._raw.fileno())
        os.close(gone)
        for reason in ("No space left", "No such file"):
            with pytest.raises(StorageFailed, match=reason):
                file.add(scan_of(info, 1), [batch_of(1)])
        away.rename(folder)
        assert file.add(scan_of(info, 1), [batch_of(1)]) == 1
        assert file.rows() == {"m0": 0, "m1": 1}
    with h5py.File(folder / "run.h5") as opened:
        np.testing.assert_array_equal(opened["Measurement_000/Channel_001/measured/measured"][:, 0], [0, 1])
