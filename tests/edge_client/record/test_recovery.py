"""`beamloop recover`: the run file opens again with everything that its checksums vouch for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from beamloop.__main__ import command_line
from beamloop.core import InstrumentInfo, RecordingUnreadable, StorageFailed, UnknownName
from beamloop.edge_client.record.journal import Entry, Journal
from beamloop.edge_client.record.recovery import recover
from beamloop.edge_client.record.run_file import RunFile
from beamloop.edge_client.record.story import Seen, story_of

from .measured import batch_of, scan_of

ROWS = "Measurement_000/Channel_001/measured"


@pytest.fixture
def run(tmp_path: Path, info: InstrumentInfo, seen: Seen, entries: list[Entry]) -> Path:
    """Return the folder of a run that was killed after all but one of its frames were stored."""
    folder = tmp_path / "run"
    folder.mkdir()
    with closing(Journal(folder / "journal.sqlite")) as journal:
        for entry in entries[:-1]:
            journal.write(entry.event)
    write_rows(folder / "run.h5", info, seen, entries)
    return folder


def write_rows(path: Path, info: InstrumentInfo, seen: Seen, entries: list[Entry], swmr: bool = False) -> None:
    assert seen.overview is not None
    names = [m.measurement_id for m in story_of(entries).measurements]
    with closing(RunFile(path.with_name("living.h5"), 20, swmr)) as file:
        file.put_overview(seen.overview)
        for number, name in enumerate(names):
            file.add(scan_of(info, number).model_copy(update={"measurement_id": name}), [batch_of(number)])
        shutil.copy(path.with_name("living.h5"), path)
    path.with_name("living.h5").unlink()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flip(path: Path, place: int) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 16
    path.write_bytes(damaged)


def place_of(path: Path, name: str) -> int:
    with h5py.File(path) as file:
        return file[f"{ROWS}/{name}"].id.get_offset()


def assert_complete(folder: Path, seen: Seen, entries: list[Entry]) -> None:
    story = story_of(entries[:-1])
    with h5py.File(folder / "run.h5") as file:
        count = len(story.measurements)
        np.testing.assert_array_equal(file[f"{ROWS}/measured"][:, 0], np.arange(count))
        np.testing.assert_array_equal(file[f"{ROWS}/valid"], np.ones(count))
        assert seen.overview is not None
        np.testing.assert_array_equal(file["Measurement_000/Channel_000/overview/overview"], seen.overview.data)
        values = file["Measurement_000/Channel_002/values/values"][()]
        np.testing.assert_array_equal(values, [m.value for m in story.measurements])
        assert file["run/events/seq"][-1] == len(entries) - 1
        assert file["run"].attrs["outcome"] == "interrupted"


def test_an_unfinished_file_is_finished_from_the_journal_and_doing_it_again_changes_nothing(
    run: Path, seen: Seen, entries: list[Entry]
) -> None:
    journal = digest(run / "journal.sqlite")
    done = recover(run)
    assert (done.found, done.changed, done.lost, done.lacking, done.aside) == ("unfinished", True, (), (), None)
    assert (done.rows, done.events, done.outcome) == (12, len(entries) - 1, "interrupted")
    assert_complete(run, seen, entries)
    written = digest(run / "run.h5")
    again = recover(run)
    assert (again.found, again.changed, again.rows) == ("whole", False, 12)
    assert (digest(run / "run.h5"), digest(run / "journal.sqlite")) == (written, journal)
    assert sorted(p.name for p in run.iterdir() if not p.name.startswith("journal")) == ["run.h5"]


def test_a_swmr_file_of_a_killed_run_loses_its_mark(
    run: Path, info: InstrumentInfo, seen: Seen, entries: list[Entry]
) -> None:
    (run / "run.h5").unlink()
    write_rows(run / "run.h5", info, seen, entries, swmr=True)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(run / "run.h5")
    assert recover(run).found == "marked as being written"
    assert_complete(run, seen, entries)


def test_maps_that_were_found_stay_and_an_older_run_group_is_replaced(
    run: Path, seen: Seen, entries: list[Entry], info: InstrumentInfo
) -> None:
    y, x = info.field.grid((20, 24))
    assert seen.truth is not None
    with closing(RunFile.reopened(run / "run.h5", 20)) as file:
        file.put_map("truth", type(seen.overview)(seen.truth.reshape(20, 24), (y, x)))
        file.put_journal(None, entries[:4])
    assert recover(run).changed
    with h5py.File(run / "run.h5") as file:
        assert len(file["run/events/seq"]) == len(entries) - 1
        np.testing.assert_array_equal(file["Measurement_000/Channel_002/truth/truth"][()].ravel(), seen.truth)


def test_a_damaged_frame_is_told_and_the_others_are_kept(run: Path) -> None:
    flip(run / "run.h5", place_of(run / "run.h5", "measured") + 3 * 80 + 5)
    damaged = digest(run / "run.h5")
    done = recover(run)
    assert done.found == "damaged"
    assert len(done.lost) == 1
    assert "row 3 is damaged: it fails its checksum" in done.lost[0]
    assert len(done.lacking) == 1
    assert done.aside == run / "run.h5.damaged"
    assert digest(done.aside) == damaged
    with h5py.File(run / "run.h5") as file:
        assert file[f"{ROWS}/measured"][:, 0].tolist() == [0, 1, 2, *range(4, 12)]
        assert done.lacking[0] not in file[f"{ROWS}/measurement_ids"].asstr()[()].tolist()
    again = recover(run)
    assert (again.changed, again.rows, again.lacking) == (False, 11, done.lacking)


def test_a_frame_whose_mark_was_lost_is_found_by_its_checksum(run: Path, seen: Seen, entries: list[Entry]) -> None:
    flip(run / "run.h5", place_of(run / "run.h5", "valid") + 4)
    with h5py.File(run / "run.h5", "r+") as file:
        file[f"{ROWS}/valid"][11] = 0
    assert recover(run).lost == ()
    assert_complete(run, seen, entries)


def test_of_a_file_cut_short_the_frames_before_the_cut_are_saved(run: Path) -> None:
    cut = place_of(run / "run.h5", "measured") + 7 * 80
    os.truncate(run / "run.h5", cut)
    done = recover(run)
    assert done.found == "damaged"
    assert done.rows == 7
    assert len(done.lost) == len(done.lacking) == 5
    with h5py.File(run / "run.h5") as file:
        assert file[f"{ROWS}/measured"][:, 0].tolist() == list(range(7))
        assert len(file["Measurement_000/Channel_002/values/values"]) == 12


@pytest.mark.parametrize("garbage", [b"", b"no HDF5 at all"])
def test_of_an_unreadable_file_nothing_is_saved_and_the_journal_is_written_into_a_new_one(
    run: Path, garbage: bytes
) -> None:
    (run / "run.h5").write_bytes(garbage)
    done = recover(run)
    assert done.found == "unreadable"
    assert "is no readable HDF5 file" in done.lost[0]
    assert len(done.lacking) == 12
    assert done.aside is not None
    assert done.aside.read_bytes() == garbage
    with h5py.File(run / "run.h5") as file:
        assert len(file["run/decisions/step"]) == 14


def test_a_folder_with_a_journal_alone_gets_a_run_file(run: Path) -> None:
    (run / "run.h5").unlink()
    done = recover(run)
    assert (done.found, done.changed, done.rows, done.aside) == ("missing", True, 0, None)
    with h5py.File(run / "run.h5") as file:
        assert len(file["Measurement_000/Channel_002/values/values"]) == 12
        assert len(file["run/decisions/step"]) == 14


def test_without_a_journal_the_frames_are_saved_and_the_lack_is_told(run: Path) -> None:
    for path in run.glob("journal*"):
        path.unlink()
    done = recover(run)
    assert (done.rows, done.outcome, done.events) == (12, "unknown", 0)
    assert "no journal" in done.lost[0]
    assert not recover(run).changed


def test_where_there_is_nothing_to_recover_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="nothing to recover"):
        recover(tmp_path)
    with pytest.raises(UnknownName, match="no run folder"):
        recover(tmp_path / "nowhere")


def test_a_disk_that_fails_meanwhile_leaves_everything_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(run / "run.h5")

    def refused(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(StorageFailed, match="could not be recovered"):
        recover(run)
    assert digest(run / "run.h5") == before
    assert not (run / "run.h5.new").exists()


def test_the_command_tells_what_it_found_and_did(run: Path) -> None:
    app = command_line("recover")
    first = CliRunner().invoke(app, ["recover", str(run)])
    assert first.exit_code == 0, first.output
    assert "run.h5: unfinished\n12 frames" in first.stdout
    second = CliRunner().invoke(app, ["recover", str(run), "--json"])
    facts = json.loads(second.stdout)
    assert (facts["found"], facts["changed"], facts["rows"], facts["outcome"]) == ("whole", False, 12, "interrupted")
    (run / "run.h5").write_bytes(b"")
    assert CliRunner().invoke(app, ["recover", str(run)]).exit_code == 1


@pytest.mark.parametrize("place", [24, 40, 60])
def test_a_structure_on_which_hdf5_may_crash_takes_nobody_down(run: Path, place: int) -> None:
    # HDF5 keeps texts and references of any length in such heaps, without a checksum.
    flip(run / "run.h5", (run / "run.h5").read_bytes().index(b"GCOL") + place)
    with pytest.raises(RecordingUnreadable, match="damaged, or was changed by another program"):
        RunFile.reopened(run / "run.h5", 20)
    done = recover(run)
    assert done.found in ("damaged", "unreadable")
    assert "structure has checksum" in done.lost[0]
    with h5py.File(run / "run.h5") as file:
        assert len(file["run/decisions/step"]) == 14
    assert not recover(run).changed


def test_a_file_of_a_newer_format_is_left_alone(run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        file.attrs["run_file_format"] = 99
    before = digest(run / "run.h5")
    with pytest.raises(RecordingUnreadable, match="run file format 99; this version of beamloop reads up to 2"):
        recover(run)
    assert digest(run / "run.h5") == before


def test_a_flipped_bit_anywhere_in_a_finished_file_is_noticed_and_leaves_one_that_opens(tmp_path: Path) -> None:
    """Also in the facts that HDF5 keeps about the frames: what they say is in the journal as well."""
    kept = Path(__file__).parent / "data" / "run_2"
    whole, dice = (kept / "run.h5").read_bytes(), np.random.default_rng(5)
    noticed = 0
    for number in range(30):
        run = Path(shutil.copytree(kept, tmp_path / f"run{number}"))
        damaged = bytearray(whole)
        damaged[int(dice.integers(len(damaged)))] ^= 1 << int(dice.integers(8))
        (run / "run.h5").write_bytes(damaged)
        done = recover(run)
        noticed += bool(done.lost)
        with h5py.File(run / "run.h5") as file:
            values = [
                channel["values/values"].shape for channel in file["Measurement_000"].values() if "values" in channel
            ]
            assert values == [(6,)], done
        assert not recover(run).changed
    assert noticed >= 25, "few bytes of a file mean nothing"
