"""A run file that a kill, a flipped bit or a full disk met: nothing stored is lost, nothing damaged is served."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import FrameShapeWrong, InstrumentInfo, RecordingUnreadable, Signal, StorageFailed
from beamloop.edge_client.record import run_file
from beamloop.edge_client.record.disk import opened
from beamloop.edge_client.record.growing_rows import GrowingRows
from beamloop.edge_client.record.rows import rows_of
from beamloop.edge_client.record.run_file import RunFile
from beamloop.edge_client.record.story import Seen

from .measured import batch_of, scan_of

CAPACITY = 8


@pytest.fixture
def killed(tmp_path: Path, info: InstrumentInfo, seen: Seen) -> Path:
    """Return a copy of a run file as it was when five measurements were stored."""
    assert seen.overview is not None
    with closing(RunFile(tmp_path / "run.h5", CAPACITY)) as file:
        file.put_overview(seen.overview)
        for number in range(5):
            file.add(scan_of(info, number), [batch_of(number)])
        return Path(shutil.copy(tmp_path / "run.h5", tmp_path / "killed.h5"))


def assert_holds(file: RunFile, numbers: range, overview: Signal | None) -> None:
    assert file.rows() == {f"m{n}": n for n in numbers}
    for n in numbers:
        frame = file.frame(n)
        assert frame is not None
        assert frame.data.tolist() == [n] * 40
        assert file.scan_id(n) == f"s{n}"
    assert file.frame(len(numbers)) is None
    if overview is not None:
        kept = file.overview()
        assert kept is not None
        np.testing.assert_array_equal(kept.data, overview.data)
        assert kept.axes == overview.axes, "to the last digit"


def test_a_run_goes_on_in_the_file_that_a_killed_run_left(killed: Path, info: InstrumentInfo, seen: Seen) -> None:
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        assert_holds(file, range(5), seen.overview)
        assert file.add(scan_of(info, 5), [batch_of(5)]) == 5
        assert_holds(file, range(6), seen.overview)
    with h5py.File(killed) as opened:
        group = opened["Measurement_000/Channel_001/measured"]
        np.testing.assert_array_equal(group["measured"][:, 0], np.arange(6))
        np.testing.assert_allclose(group["positions"], [[n, 2.0 * n] for n in range(6)], atol=1e-12)
        assert group["measurement_ids"].asstr()[()].tolist() == [f"m{n}" for n in range(6)]


def test_axes_and_units_of_old_rows_are_those_of_the_detector(killed: Path, info: InstrumentInfo) -> None:
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        frame = file.frame(2)
        assert frame is not None
        assert (frame.quantity, frame.units) == ("intensity", "counts")
        assert frame.axes == info.detector("spectrometer").frame_axes, "to the last digit"


def test_a_finished_file_can_be_gone_on_with_and_keeps_its_maps(killed: Path, info: InstrumentInfo, seen: Seen) -> None:
    y, x = info.field.grid((20, 24))
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        file.put_map("predicted", Signal(np.ones((20, 24)), (y, x)))
    with closing(RunFile.reopened(killed, 20)) as file:
        assert_holds(file, range(5), seen.overview)
        for number in range(5, 12):
            file.add(scan_of(info, number), [batch_of(number)])
        file.put_map("truth", Signal(np.zeros((20, 24)), (y, x)))
        file.put_map("predicted", Signal(np.full((20, 24), 2.0), (y, x)))
    with closing(RunFile.reopened(killed, 20)) as file:
        assert_holds(file, range(12), seen.overview)
    with h5py.File(killed) as opened:
        np.testing.assert_array_equal(opened["Measurement_000/Channel_002/predicted/predicted"], 2.0)
        np.testing.assert_array_equal(opened["Measurement_000/Channel_003/truth/truth"], 0.0)


def test_more_measurements_than_foreseen_find_room(
    tmp_path: Path, info: InstrumentInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_file, "AHEAD_BYTES", 3 * 80)
    with closing(RunFile(tmp_path / "run.h5", capacity=4)) as file:
        for number in range(23):
            file.add(scan_of(info, number), [batch_of(number)])
        assert_holds(file, range(23), None)


def test_a_run_killed_before_its_first_measurement_goes_on(tmp_path: Path, info: InstrumentInfo) -> None:
    path = tmp_path / "run.h5"
    RunFile(path, CAPACITY).close()
    with closing(RunFile.reopened(path, CAPACITY)) as file:
        assert (file.rows(), file.overview(), file.frame(0)) == ({}, None, None)
        assert file.add(scan_of(info, 0), [batch_of(0)]) == 0


def test_a_kill_between_any_two_bytes_of_a_measurement_loses_none_before_it(
    tmp_path: Path, info: InstrumentInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[tuple[int, bytes]] = []
    stored: list[int] = []
    put = GrowingRows._put

    def logged(self: GrowingRows, place: int, value: bytes) -> None:
        writes.append((place, value))
        put(self, place, value)

    path, before = tmp_path / "run.h5", tmp_path / "before.h5"
    with closing(RunFile(path, CAPACITY)) as file:
        file.add(scan_of(info, 0), [batch_of(0)])
        shutil.copy(path, before)
        monkeypatch.setattr(GrowingRows, "_put", logged)
        for number in range(1, 4):
            file.add(scan_of(info, number), [batch_of(number)])
            stored.append(len(writes))
    image, copy = bytearray(before.read_bytes()), tmp_path / "killed.h5"
    for number, (place, value) in enumerate(writes, start=1):
        for cut in sorted({len(value) // 2, len(value)}):
            image[place : place + cut] = value[:cut]
            copy.write_bytes(image)
            acknowledged = sum(number - (cut < len(value)) >= end for end in stored)
            with closing(RunFile.reopened(copy, CAPACITY)) as again:
                assert len(again.rows()) - 1 == acknowledged
                assert_holds(again, range(acknowledged + 1), None)


def test_what_is_built_beside_the_file_never_harms_it(killed: Path, info: InstrumentInfo, seen: Seen) -> None:
    beside = killed.with_name(killed.name + ".new")
    beside.write_bytes(killed.read_bytes()[:1000])
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        assert_holds(file, range(5), seen.overview)
    assert not beside.exists()


@pytest.mark.parametrize("finished", [False, True])
def test_a_flipped_bit_is_noticed_or_changes_nothing(killed: Path, tmp_path: Path, seen: Seen, finished: bool) -> None:
    if finished:
        RunFile.reopened(killed, CAPACITY).close()
    whole, noticed = killed.read_bytes(), 0
    random = np.random.default_rng(5)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for place in random.choice(used, 250, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        copy = tmp_path / f"{place}.h5"
        copy.write_bytes(damaged)
        try:
            file = RunFile.reopened(copy, CAPACITY)
        except RecordingUnreadable:
            noticed += 1
        else:
            with closing(file):
                assert_holds(file, range(5), seen.overview)
    assert noticed > 100


def test_a_flipped_bit_in_a_frame_is_told_with_its_row(killed: Path) -> None:
    with h5py.File(killed) as file:
        place = file["Measurement_000/Channel_001/measured/measured"].id.get_offset() + 3 * 80 + 7
    damaged = bytearray(killed.read_bytes())
    damaged[place] ^= 4
    killed.write_bytes(damaged)
    with pytest.raises(RecordingUnreadable, match=r"row 3 is damaged.*1 of 5 rows.*beamloop recover"):
        RunFile.reopened(killed, CAPACITY)


def test_a_row_between_others_that_is_not_valid_is_damage(killed: Path) -> None:
    with h5py.File(killed, "r+") as file:
        file["Measurement_000/Channel_001/measured/valid"][2] = 0
    with pytest.raises(RecordingUnreadable, match="row 2 is missing"):
        RunFile.reopened(killed, CAPACITY)


def test_a_frame_of_another_shape_is_no_row(killed: Path, info: InstrumentInfo) -> None:
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        scan, batch = scan_of(info, 5), batch_of(5)
        half = scan.frame_axes[0].model_copy(update={"size": 20})
        with pytest.raises(FrameShapeWrong, match=r"shape \(20,\); the run file holds <u2 frames of shape \(40,\)"):
            file.add(
                scan.model_copy(update={"frame_axes": (half,)}),
                [type(batch)("s5", batch.indices, batch.positions, batch.frames[:, :20])],
            )


def test_a_file_of_the_format_without_ids_says_what_can_be_done(killed: Path) -> None:
    with h5py.File(killed, "r+") as file:
        group = file["Measurement_000/Channel_001/measured"]
        for name in ("measurement_ids", "scan_ids", "checksums"):
            del group[name]
        del file["seal"]
        del file.attrs["run_file_format"]
    with pytest.raises(RecordingUnreadable, match="before run file format 2: it can be read and reported"):
        RunFile.reopened(killed, CAPACITY)


def test_a_newer_format_is_refused_with_both_numbers(killed: Path) -> None:
    with h5py.File(killed, "r+") as file:
        file.attrs["run_file_format"] = 99
    with pytest.raises(RecordingUnreadable, match="run file format 99; this version of beamloop reads up to 2"):
        RunFile.reopened(killed, CAPACITY)


def test_rows_can_be_read_by_any_program_while_they_are_written(tmp_path: Path, info: InstrumentInfo) -> None:
    with closing(RunFile(tmp_path / "run.h5", CAPACITY)) as file:
        file.add(scan_of(info, 0), [batch_of(0)])
        with h5py.File(tmp_path / "run.h5") as reader:
            file.add(scan_of(info, 1), [batch_of(1)])
            group = reader["Measurement_000/Channel_001/measured"]
            assert group["valid"][:3].tolist() == [1, 1, 0]
            assert group["measured"][1].tolist() == [1] * 40
            assert np.isnan(group["positions"][2]).all()


def test_a_swmr_run_is_followed_live_and_reopens_after_a_kill(tmp_path: Path, info: InstrumentInfo) -> None:
    path, killed = tmp_path / "run.h5", tmp_path / "killed.h5"
    follow = (
        "import sys, h5py, hdf5plugin\n"
        f"with h5py.File({str(path)!r}, swmr=True) as file:\n"
        "    rows = file['Measurement_000/Channel_001/measured/measured']\n"
        "    for _ in range(2):\n"
        "        rows.refresh()\n"
        "        print(rows[:3, 0].tolist(), flush=True)\n"
        "        sys.stdin.readline()\n"
    )
    with closing(RunFile(path, CAPACITY, swmr=True)) as file:
        file.add(scan_of(info, 7), [batch_of(7)])
        reader = subprocess.Popen(
            [sys.executable, "-c", follow], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            assert reader.stdout.readline() == "[7, 0, 0]\n"
            file.add(scan_of(info, 8), [batch_of(8)])
            reader.stdin.write("\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == "[7, 8, 0]\n"
            reader.communicate("\n")
        shutil.copy(path, killed)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(killed)
    with closing(RunFile.reopened(killed, CAPACITY)) as again:
        assert again.rows() == {"m7": 0, "m8": 1}
        again.add(scan_of(info, 9), [batch_of(9)])
        with h5py.File(killed) as plain:
            assert plain["Measurement_000/Channel_001/measured/measured"][:4, 0].tolist() == [7, 8, 9, 0]
    for name in (path, killed):
        with h5py.File(name) as opened:
            assert opened["Measurement_000/Channel_001/measured/measured"][0, 0] == 7


def test_a_swmr_run_can_be_reopened_as_one(killed: Path, info: InstrumentInfo, seen: Seen) -> None:
    with closing(RunFile.reopened(killed, CAPACITY, swmr=True)) as file:
        file.add(scan_of(info, 5), [batch_of(5)])
        assert_holds(file, range(6), seen.overview)
        with pytest.raises(OSError, match="already open for write"):
            h5py.File(shutil.copy(killed, killed.with_name("copy.h5")))
    with closing(RunFile.reopened(killed, CAPACITY)) as file:
        assert_holds(file, range(6), seen.overview)


def test_nothing_is_added_to_a_closed_file(killed: Path, info: InstrumentInfo) -> None:
    file = RunFile.reopened(killed, CAPACITY)
    file.close()
    before = killed.read_bytes()
    with pytest.raises(StorageFailed, match="is closed; the frame of m5"):
        file.add(scan_of(info, 5), [batch_of(5)])
    file.close()
    assert killed.read_bytes() == before


def test_a_durable_row_reaches_the_disk_before_its_mark_does(
    info: InstrumentInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each sync the file is read as it is handed to the disk: first the frame without its mark, then both."""
    handed: list[tuple[int, bool]] = []

    def sync(number: int) -> None:
        with opened(tmp_path / "run.h5") as file:
            rows = rows_of(file)
            assert rows is not None
            handed.append((rows.count, bool((rows.main[1] == 7).all())))

    with RunFile(tmp_path / "run.h5", CAPACITY, durable=True) as file:
        file.add(scan_of(info, 6), [batch_of(6)])
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", sync)
            file.add(scan_of(info, 7), [batch_of(7)])
    assert handed == [(1, True), (2, True)]
