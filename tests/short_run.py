"""A short autonomous run for tests that disturb it, and what must hold once it came to its end."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from beamloop.edge_client.record import events
from beamloop.edge_client.record.disk import opened
from beamloop.edge_client.record.journal import Entry, read
from beamloop.edge_client.record.journal_mark import writing_process
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.rows import rows_of
from beamloop.edge_client.record.run_folder import RunFolder
from beamloop.edge_client.record.story import story_of
from beamloop.edge_client.replaying import replayed

from .served import Served

POINTS = 12
EVENTS = 3 * POINTS + 10
"""As many as the journal of such a run holds."""

EXPERIMENT = f"""
name = "short"
question = "Does it survive?"
seed = 1
[pool]
shape = [10, 10]
[overview]
detector = "haadf"
shape = [64, 64]
dwell_s = 4e-6
[measure]
detector = "eels"
dwell_s = 0.05
[target]
name = "edge ratio"
reduction = "spectrum-window"
[target.settings]
combine = "ratio"
window = [705.0, 735.0]
background = [640.0, 700.0]
[features]
size_m = 8e-9
components = 4
[policy]
name = "gp-features"
[policy.settings]
first = 4
growth = 1.5
[stop]
points = {POINTS}
"""


@dataclass(frozen=True)
class Left:
    """What a kill left behind."""

    folder: Path
    entries: list[Entry]
    rows: dict[str, np.ndarray]


def written(parent: Path) -> int:
    """Return how many events the journal holds, without a look at what they say."""
    folder = run_in(parent)
    if folder is None:
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/journal.sqlite?mode=ro", uri=True)) as rows:
        return rows.execute("SELECT count(*) FROM events").fetchone()[0]
    return 0


def run_in(parent: Path) -> Path | None:
    return next((path for path in parent.iterdir() if (path / "journal.sqlite").exists()), None)


def asked_in(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    entries = read(RunFolder(folder).journal)
    return [e.event.request_id for e in entries if isinstance(e.event, (events.Commanded, events.Asked))]


def left_in(folder: Path) -> Left:
    assert writing_process(RunFolder(folder).journal) is None
    return Left(folder, read(RunFolder(folder).journal), frames_in(folder))


def frames_in(folder: Path) -> dict[str, np.ndarray]:
    """Return every row of the run file by its measurement."""
    if not RunFolder(folder).run_file.exists():
        return {}
    with opened(RunFolder(folder).run_file) as file:
        rows = rows_of(file)
        return {} if rows is None else {name: rows.read(row)[1] for row, name in enumerate(rows.measurement_ids)}


def check(folder: Path | None, served: Served, before: Left | None) -> None:
    """Hold a run that came to its end against what was promised."""
    assert folder is not None
    entries = read(RunFolder(folder).journal)
    story = story_of(entries)
    assert story.ended is not None
    assert (story.ended.outcome, len(story.measurements)) == ("finished", POINTS)
    check_commands(entries, served)
    check_frames(folder, entries, before)
    if before is not None:
        assert entries[: len(before.entries)] == before.entries, "a journal only grows"
    again = replayed(entries, story, seen_in(RunFolder(folder).run_file, story).pool)
    assert again.first_difference is None, again.first_difference.told()
    off = [decision.belief_off for decision in again.decisions]
    assert np.nanmax([*off, 0.0]) < 1e-6
    assert len(again.decisions) >= POINTS


def check_commands(entries: list[Entry], served: Served) -> None:
    """Every command was done once at most, and ended in exactly one way."""
    said = [entry.event for entry in entries]
    ends = Counter(e.measurement.measurement_id for e in said if isinstance(e, events.Arrived))
    ends += Counter(e.measurement_id for e in said if isinstance(e, (events.Declined, events.Interrupted)))
    commanded = {e.measurement_id: e for e in said if isinstance(e, events.Commanded)}
    assert {name: ends[name] for name in commanded} == dict.fromkeys(commanded, 1)
    done = served.requests()
    assert max(done.values()) == 1, "a request is done once"
    arrived = {e.measurement.measurement_id for e in said if isinstance(e, events.Arrived)}
    assert all(done[commanded[name].request_id] == 1 for name in arrived), "a value was measured"


def check_frames(folder: Path, entries: list[Entry], before: Left | None) -> None:
    """Every value has its frame in the run file, and what was stored before the kill is still there and was used."""
    frames = frames_in(folder)
    arrived = {
        e.event.measurement.measurement_id: e.event.measurement for e in entries if isinstance(e.event, events.Arrived)
    }
    assert set(arrived) <= set(frames)
    for name, measurement in arrived.items():
        assert measurement.value == pytest.approx(ratio(frames[name]), rel=1e-12)
    for name, frame in ({} if before is None else before.rows).items():
        np.testing.assert_array_equal(frames[name], frame)
        assert name in arrived, "what was stored was not measured again"


def ratio(spectrum: np.ndarray) -> float:
    energy = 580.0 + 1.25 * np.arange(len(spectrum))
    sums = [spectrum[(energy >= low) & (energy <= high)].astype(float).sum() for low, high in ((705, 735), (640, 700))]
    return sums[0] / sums[1]
