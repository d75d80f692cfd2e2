"""A run is told the same from its files as from memory; a run that was cut off tells what it has."""

from __future__ import annotations

import shutil
import sqlite3
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from beamloop.edge_client import connect
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.record.journal import read
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.run_folder import RunFolder
from beamloop.edge_client.record.story import Seen, Story, story_of
from beamloop.edge_client.reporting.report import report
from beamloop.edge_client.runner import Finished, RunRequest, run_experiment

torch.set_num_threads(1)
EXAMPLE = Path(__file__).parents[3] / "examples" / "simulator.toml"
MEASUREMENT = "Measurement_000"


@pytest.fixture(scope="module")
def finished(simulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    data = tomllib.loads(EXAMPLE.read_text())
    data["pool"]["shape"], data["overview"]["shape"] = (12, 12), (64, 64)
    data["features"]["components"], data["policy"]["settings"], data["stop"]["points"] = 4, {"first": 4}, 10
    request = RunRequest(
        Experiment.model_validate(data), "# as it stands", "simulator", tmp_path_factory.mktemp("runs"), arm=True
    )
    with pytest.MonkeyPatch.context() as patch, connect(simulator) as stem:
        patch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 40)
        yield run_experiment(request, stem)


@pytest.fixture
def folder(finished: Finished, tmp_path: Path) -> RunFolder:
    """Return a copy of the finished run, to be damaged."""
    return RunFolder(Path(shutil.copytree(finished.folder.path, tmp_path / "run")))


def read_again(folder: RunFolder) -> tuple[Story, Seen]:
    story = story_of(read(folder.journal))
    return story, seen_in(folder.run_file, story)


def without(folder: RunFolder, *names: str) -> None:
    with h5py.File(folder.run_file, "a") as file:
        for channel in list(file[MEASUREMENT]):
            if set(names) & set(file[MEASUREMENT][channel]):
                del file[MEASUREMENT][channel]


def test_what_is_read_back_is_what_was_seen(finished: Finished) -> None:
    _, seen = read_again(finished.folder)
    live = finished.seen
    assert seen.notes == ()
    assert live.overview is not None
    assert seen.overview is not None
    assert live.belief is not None
    assert seen.belief is not None
    assert live.best_frame is not None
    assert seen.best_frame is not None
    np.testing.assert_array_equal(seen.pool.positions, live.pool.positions)
    np.testing.assert_array_equal(seen.pool.features, live.pool.features)
    np.testing.assert_array_equal(seen.overview.data, live.overview.data)
    assert seen.overview.axes == live.overview.axes
    np.testing.assert_array_equal(seen.belief.mean, live.belief.mean)
    np.testing.assert_array_equal(seen.belief.std, live.belief.std)
    np.testing.assert_array_equal(seen.truth, live.truth)
    np.testing.assert_array_equal(seen.best_frame.data, live.best_frame.data)
    assert (seen.best_frame.axes, seen.best_frame.units) == (live.best_frame.axes, live.best_frame.units)


def test_a_rebuilt_report_is_the_one_made_at_the_end(finished: Finished) -> None:
    again = report(*read_again(finished.folder))
    assert again == finished.folder.report.read_text(encoding="utf-8")


def test_a_belief_that_is_not_in_the_file_is_rebuilt_from_the_journal(finished: Finished, folder: RunFolder) -> None:
    without(folder, "predicted", "uncertainty")
    _, seen = read_again(folder)
    assert seen.belief is not None
    assert finished.seen.belief is not None
    np.testing.assert_allclose(seen.belief.mean, finished.seen.belief.mean, rtol=1e-12)
    np.testing.assert_allclose(seen.belief.std, finished.seen.belief.std, rtol=1e-12)
    assert "the belief was rebuilt" in "".join(seen.notes)


def test_a_run_without_its_run_file_is_told_from_the_journal(folder: RunFolder) -> None:
    folder.run_file.unlink()
    story, seen = read_again(folder)
    assert len(story.measurements) == 10
    assert (seen.overview, seen.truth, seen.best_frame, seen.pool.features) == (None, None, None, None)
    assert "there is no run file" in seen.notes[0]
    # The policy needs features, which only the overview can give.
    assert seen.belief is None
    assert "could not be rebuilt" in seen.notes[-1]


def test_a_damaged_run_file_is_told_and_not_fatal(folder: RunFolder) -> None:
    folder.run_file.write_bytes(folder.run_file.read_bytes()[:5000])
    _, seen = read_again(folder)
    assert "could not be read to its end: HDF5 says" in seen.notes[0]


def test_other_candidates_than_those_of_the_run_are_told(finished: Finished) -> None:
    story = story_of(read(finished.folder.journal))
    other = replace(story, installed=story.installed.model_copy(update={"pool": "0" * 64}))
    notes = seen_in(finished.folder.run_file, other).notes
    assert "the candidates are not those of the run" in notes[0]
    assert "000000000000" in notes[0]


def test_another_overview_than_that_of_the_journal_is_told(folder: RunFolder) -> None:
    with h5py.File(folder.run_file, "a") as file:
        file[f"{MEASUREMENT}/Channel_000/overview/overview"][3, 3] += 1
    notes = " ".join(read_again(folder)[1].notes)
    assert "the overview in the run file is not the one that the journal tells of" in notes
    assert "features" in notes


def test_a_frame_is_found_by_its_place_in_whatever_row_it_is(folder: RunFolder, finished: Finished) -> None:
    with h5py.File(folder.run_file, "a") as file:
        group = file[f"{MEASUREMENT}/Channel_001/measured"]
        for name in ("measured", "positions"):
            group[name][...] = group[name][...][::-1]
    seen = read_again(folder)[1]
    assert seen.best_frame is not None
    assert finished.seen.best_frame is not None
    np.testing.assert_array_equal(seen.best_frame.data, finished.seen.best_frame.data)


def test_a_run_that_was_cut_off_tells_how_far_it_came(folder: RunFolder) -> None:
    without(folder, "predicted", "uncertainty", "truth")
    cut = folder.path / "cut.sqlite"
    with sqlite3.connect(folder.journal) as whole, sqlite3.connect(cut) as copy:
        whole.backup(copy)
        seventh = copy.execute("SELECT seq FROM events WHERE kind = 'arrived' LIMIT 1 OFFSET 6").fetchone()[0]
        copy.execute("DROP TRIGGER events_remain")
        copy.execute("DELETE FROM events WHERE seq > ?", (seventh,))
    whole.close()
    copy.close()
    story = story_of(read(cut))
    seen = seen_in(folder.run_file, story)
    assert (story.ended, len(story.measurements)) == (None, 7)
    assert seen.belief is not None
    assert seen.truth is None
    assert "interrupted" in report(story, seen)
