"""A run goes on from its journal and run file, on the instrument it was begun on, and nothing is measured twice."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from beamloop.core import NothingToResume, OutputExists, ProtocolMismatch, RecordingUnreadable
from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.experiment import Experiment, read_experiment
from beamloop.edge_client.record.events import Arrived, Commanded, Event, Interrupted, Noted, Resumed
from beamloop.edge_client.record.journal import Journal, read
from beamloop.edge_client.record.run_file import RunFile
from beamloop.edge_client.record.run_folder import RunFolder
from beamloop.edge_client.resuming import resume_run, unfinished
from beamloop.edge_client.runner import Finished, RunRequest, run_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"
FORMAT_1 = Path(__file__).parent / "record" / "data" / "run_1"

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def quick_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 40)
        yield


def small() -> Experiment:
    experiment, _ = read_experiment(EXAMPLES / "simulator.toml")
    data = experiment.model_dump()
    data["pool"]["shape"], data["overview"]["shape"] = (12, 12), (64, 64)
    data["features"] |= {"components": 4}
    data["policy"]["settings"] = {"first": 4}
    data["stop"]["points"] = 8
    return Experiment.model_validate(data)


@pytest.fixture(scope="module")
def whole(quick_pictures: None, simulator: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with connect(simulator) as stem:
        return run_experiment(RunRequest(small(), "", simulator, tmp_path_factory.mktemp("runs")), stem)


def events_of(folder: Path) -> list[Event]:
    return [entry.event for entry in read(folder / "journal.sqlite")]


def cut_off(whole: Finished, folder: Path, events: list[Event]) -> Path:
    """Return a run folder as a kill leaves it: the run file may be ahead of the journal, never behind."""
    folder.mkdir()
    shutil.copy(whole.folder.run_file, folder / "run.h5")
    with Journal(folder / "journal.sqlite") as journal:
        for event in events:
            journal.write(event)
    return folder


def resumed(folder: Path, address: str) -> Finished:
    run = unfinished(folder)
    with connect(address, name=run.client) as stem:
        return resume_run(run, stem, address)


@pytest.mark.parametrize("step", [0, 5])
def test_a_frame_that_was_stored_is_told_without_measuring_again(
    whole: Finished, simulator: str, tmp_path: Path, step: int
) -> None:
    events = events_of(whole.folder.path)
    arrivals = [i for i, event in enumerate(events) if isinstance(event, Arrived)]
    folder = cut_off(whole, tmp_path / "run", events[: arrivals[step]])
    before, after = events[arrivals[step]], resumed(folder, simulator)
    assert isinstance(before, Arrived)
    (told,) = [
        event for event in events_of(folder)
        if isinstance(event, Arrived) and event.measurement.measurement_id == before.measurement.measurement_id
    ]  # fmt: skip
    assert told.measurement == before.measurement, "value, error, dose and time are those of the stored row"
    assert told.scan_id == before.scan_id
    assert after.ended.outcome == "finished"
    assert len(after.story.measurements) == 8


def test_decisions_after_resuming_are_those_of_the_uninterrupted_run(
    whole: Finished, simulator: str, tmp_path: Path
) -> None:
    events = events_of(whole.folder.path)
    asked = [i for i, event in enumerate(events) if isinstance(event, Commanded)]
    after = resumed(cut_off(whole, tmp_path / "run", events[: asked[6]]), simulator)
    chosen = [step.commanded.suggestion.candidate for step in after.story.steps]
    assert chosen == [step.commanded.suggestion.candidate for step in whole.story.steps]
    assert not [n.text for _, n in after.story.notes if "features come out otherwise" in n.text]


def without_rows(folder: Path, lacking: tuple[str, ...]) -> None:
    """Write the run file anew, without the rows of some measurements."""
    file = folder / "run.h5"
    with RunFile.reopened(file, 12) as old:
        kept = {name: old.stored(name) for name in old.rows() if name not in lacking}
        overview = old.overview()
    file.unlink()
    with RunFile(file, 12) as new:
        assert overview is not None
        new.put_overview(overview)
        for stored in kept.values():
            assert stored is not None
            new.add(stored.scan, [stored.batch], stored.end)


def test_what_nobody_knows_is_charged_and_repeated_under_a_new_name(
    whole: Finished, tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers the repeated request as it did, but has given the frames away, and they were never stored."""
    events = events_of(whole.folder.path)
    last = next(i for i, e in enumerate(events) if isinstance(e, Commanded) and e.step == 7)
    kept = [e for e in events[: last + 1] if not (isinstance(e, Arrived) and e.measurement.measurement_id == "m0006")]
    folder = cut_off(whole, tmp_path / "run", kept)
    without_rows(folder, ("m0006", "m0007"))
    # So long a scan that is never announced is waited for.
    monkeypatch.setattr("beamloop.edge_client.instrument.ANNOUNCED_WITHIN_S", 2.0)
    after = resumed(folder, simulator)
    told = events_of(folder)
    interrupted = [event for event in told if isinstance(event, Interrupted)]
    assert [event.measurement_id for event in interrupted] == ["m0006", "m0007"]
    dearest = max(m.electrons for m in whole.story.measurements)
    assert all(event.estimated and event.electrons == pytest.approx(dearest, rel=0.01) for event in interrupted)
    names = [event.measurement_id for event in told if isinstance(event, Commanded)]
    assert names[-2:] == ["m0006-2", "m0007-2"]
    spent = sum(m.electrons for m in after.story.measurements)
    assert after.story.electrons == pytest.approx(spent + 2 * dearest, rel=0.01)
    assert after.ended.outcome == "finished"


def test_a_run_whose_file_is_lost_says_so(whole: Finished, tmp_path: Path, simulator: str) -> None:
    folder = cut_off(whole, tmp_path / "run", events_of(whole.folder.path)[:12])
    (folder / "run.h5").unlink()
    with pytest.raises(RecordingUnreadable, match=r"run\.h5 is missing, and the journal tells of \d+ scans"):
        resumed(folder, simulator)


def test_a_run_that_came_to_its_end_is_not_resumed(whole: Finished) -> None:
    with pytest.raises(NothingToResume, match="8 of 8 points measured"):
        unfinished(whole.folder.path)


def test_a_run_that_is_going_on_is_not_resumed_beside_itself(whole: Finished, simulator: str, tmp_path: Path) -> None:
    folder = cut_off(whole, tmp_path / "run", events_of(whole.folder.path)[:12])
    with Journal.reopened(folder / "journal.sqlite"), pytest.raises(OutputExists, match="being written by process"):
        resumed(folder, simulator)


def test_a_run_goes_on_only_where_it_was_begun(whole: Finished, tmp_path: Path) -> None:
    folder = cut_off(whole, tmp_path / "run", events_of(whole.folder.path)[:12])
    before = read(folder / "journal.sqlite")
    with (
        embedded(f"replay:{EXAMPLES / 'recording.h5'}") as address,
        pytest.raises(ProtocolMismatch, match="which is not what"),
    ):
        resumed(folder, address)
    assert read(folder / "journal.sqlite") == before


def test_a_run_of_the_first_format_says_that_it_can_be_reported_and_not_resumed(simulator: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FORMAT_1, tmp_path / "run"))
    assert len(read(folder / "journal.sqlite")) == 28
    with pytest.raises(RecordingUnreadable, match="before run file format 2"):
        resumed(folder, simulator)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="no journal at"):
        unfinished(tmp_path)
    with Journal(RunFolder(tmp_path).journal) as journal:
        journal.write(Noted(text="nothing yet"))
    with pytest.raises(RecordingUnreadable, match="ends before its run was opened"):
        unfinished(tmp_path)


def test_resuming_is_itself_in_the_journal(whole: Finished, simulator: str, tmp_path: Path) -> None:
    events = events_of(whole.folder.path)
    folder = cut_off(whole, tmp_path / "run", events[:-3])
    resumed(folder, simulator)
    (event,) = [event for event in events_of(folder) if isinstance(event, Resumed)]
    assert (event.instrument, event.versions["torch"]) == (simulator, importlib.metadata.version("torch"))
    assert events_of(folder)[: len(events) - 3] == events[:-3], "what was written stays"


def test_a_run_whose_overview_is_lost_says_so_before_anything_is_written(
    whole: Finished, tmp_path: Path, simulator: str
) -> None:
    folder = cut_off(whole, tmp_path / "run", events_of(whole.folder.path)[:12])
    (folder / "run.h5").unlink()
    RunFile(folder / "run.h5", 12).close()
    before = read(folder / "journal.sqlite")
    with pytest.raises(RecordingUnreadable, match="has lost the overview"):
        resumed(folder, simulator)
    assert read(folder / "journal.sqlite") == before
