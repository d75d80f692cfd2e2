"""A run's decisions, made again from its journal: the same, or the first that differs and what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from beamloop.core import Pool, RecordingUnreadable
from beamloop.edge_client import connect
from beamloop.edge_client.experiment import Experiment, read_experiment
from beamloop.edge_client.passage import Finished
from beamloop.edge_client.record.events import Commanded, Opened
from beamloop.edge_client.record.journal import Entry, read
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.story import story_of
from beamloop.edge_client.replaying import Replayed, replayed
from beamloop.edge_client.runner import RunRequest, run_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def finished(simulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    experiment, _ = read_experiment(EXAMPLES / "simulator.toml")
    data = experiment.model_dump()
    data["pool"]["shape"], data["overview"]["shape"] = (12, 12), (64, 64)
    data["features"] |= {"components": 4}
    data["policy"]["settings"] = {"first": 4}
    data["stop"]["points"] = 10
    with pytest.MonkeyPatch.context() as patch, connect(simulator) as stem:
        patch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 40)
        parent = tmp_path_factory.mktemp("runs")
        yield run_experiment(RunRequest(Experiment.model_validate(data), "", simulator, parent), stem)


def again(finished: Finished, entries: list[Entry], pool: Pool | None = None) -> Replayed:
    story = story_of(entries)
    return replayed(entries, story, pool or seen_in(finished.folder.run_file, story).pool)


def test_the_same_events_lead_to_the_same_next_point_at_every_step(finished: Finished) -> None:
    found = again(finished, read(finished.folder.journal))
    assert found.first_difference is None
    assert [d.then for d in found.decisions] == [step.commanded.suggestion for step in finished.story.steps]
    assert all(d.now == d.then for d in found.decisions), "score and belief too, on the same machine"
    assert found.causes == ()


def test_the_first_decision_that_differs_is_found_and_the_rest_still_compared(finished: Finished) -> None:
    entries = read(finished.folder.journal)
    for i, entry in enumerate(entries):
        event = entry.event
        if isinstance(event, Commanded) and event.step == 6:
            other = event.suggestion.model_copy(update={"candidate": (event.suggestion.candidate + 1) % 144})
            entries[i] = Entry(entry.seq, entry.time_s, event.model_copy(update={"suggestion": other}))
    found = again(finished, entries)
    assert found.first_difference is not None
    assert found.first_difference.step == 6
    assert "now candidate" in found.first_difference.told()
    assert len(found.decisions) == 10
    assert all(decision.is_same for decision in found.decisions[:6])


def test_what_has_changed_since_is_told(finished: Finished) -> None:
    entries = read(finished.folder.journal)
    opened = entries[0].event
    assert isinstance(opened, Opened)
    older = opened.model_copy(update={"versions": {**opened.versions, "numpy": "1.0", "oldlib": "3"}})
    entries[0] = Entry(1, entries[0].time_s, older)
    found = again(finished, entries)
    assert any(cause.startswith("numpy was 1.0 and is ") for cause in found.causes)
    assert "oldlib was 3 and is not installed" in found.causes


def test_decisions_over_other_candidates_are_not_compared(finished: Finished) -> None:
    story = finished.story
    pool = seen_in(finished.folder.run_file, story).pool
    moved = Pool(pool.positions + 1e-9, pool.features, pool.shape)
    with pytest.raises(RecordingUnreadable, match="decisions over others cannot be compared"):
        again(finished, read(finished.folder.journal), moved)
