"""A whole run under a dose budget: every electron is accounted for, and what has none left is passed over for good."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from beamloop.core import GridScan, PointScan, Region
from beamloop.core.dose import PER_NM2
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.passage import Finished
from beamloop.edge_client.record.events import Arrived, Closed, Commanded, Declined, Ended
from beamloop.edge_client.record.journal import Entry, read
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.story import story_of
from beamloop.edge_client.replaying import replayed
from beamloop.edge_client.runner import RunRequest, run_experiment

from ..nursery import Nursery
from ..served import Served
from ..short_run import EXPERIMENT, POINTS, check, left_in, run_in, written
from .budgeted import BUDGET_PER_M2, CELL_M, CONFIG, POINT_ELECTRONS, POINT_S, budgeted_experiment, by_cell, electrons

torch.set_num_threads(1)

OVERVIEW = GridScan(detector="haadf", shape=(64, 64), dwell_s=4e-6)
LEFT_HALF = GridScan(
    detector="haadf", shape=(32, 16), dwell_s=1.6 * POINT_S / 64,
    region=Region(y_m=0.0, x_m=0.0, height_m=4 * CELL_M, width_m=2 * CELL_M),
)  # fmt: skip
"""64 positions in each cell of the left half, which together leave less there than a measurement needs."""


@pytest.fixture(autouse=True, scope="module")
def quick_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 40)
        yield


def run(stem: RemoteInstrument, parent: Path, policy: str = "random", **stop: object) -> Finished:
    stem.release()
    return run_experiment(RunRequest(budgeted_experiment(policy, **stop), "", "stem", parent), stem)


def measured(finished: Finished) -> PointScan:
    """Return all that was measured as one plan."""
    places = tuple(m.position for m in finished.story.measurements)
    return PointScan(detector="eels", points=places, dwell_s=POINT_S)


def require_passed_over(entries: list[Entry]) -> None:
    """Hold a journal against what closing means: each candidate once, none whose end is known, none asked for later."""
    closed: set[int] = set()
    asked: dict[str, int] = {}
    over: set[int] = set()
    for event in (entry.event for entry in entries):
        if isinstance(event, Closed):
            assert not (closed | over) & set(event.candidates)
            closed.update(event.candidates)
        elif isinstance(event, Commanded):
            assert event.suggestion.candidate not in closed
            asked[event.measurement_id] = event.suggestion.candidate
        elif isinstance(event, Arrived):
            over.add(event.measurement.candidate)
        elif isinstance(event, Declined):
            assert event.error == "DoseRefused", "asked for ahead, before its dose was used up"
            over.add(asked[event.measurement_id])
    assert closed


def test_the_map_holds_every_electron_that_the_microscope_counted_and_no_other(
    stem: RemoteInstrument, tmp_path: Path
) -> None:
    before = stem.state().dose_electrons
    finished = run(stem, tmp_path, points=20)
    assert finished.ended.outcome == "finished"
    report = stem.safety.dose(everywhere=True)
    # Three counts: the server's from the plans, the microscope's own of what reached the specimen, and by hand.
    assert report.electrons == pytest.approx(stem.state().dose_electrons - before, rel=1e-9)
    assert report.electrons == pytest.approx(electrons(OVERVIEW) + 20 * POINT_ELECTRONS, rel=1e-9)
    by_hand = by_cell(OVERVIEW, measured(finished))
    found = stem.safety.dose()
    np.testing.assert_allclose(found.map("mean").data, by_hand, rtol=1e-6)
    np.testing.assert_allclose(found.map("left").data, BUDGET_PER_M2 - by_hand, rtol=1e-5)
    assert by_hand.max() <= BUDGET_PER_M2
    assert finished.seen.dose is not None
    np.testing.assert_allclose(finished.seen.dose.data, by_hand * PER_NM2, rtol=1e-6)


def test_cells_that_fill_while_it_runs_are_passed_over_until_none_is_left(
    stem: RemoteInstrument, tmp_path: Path
) -> None:
    finished = run(stem, tmp_path, points=40)
    entries = read(finished.folder.journal)
    require_passed_over(entries)
    # 16 cells, two measurements in each.
    assert len(finished.story.measurements) == 32
    assert finished.ended.outcome == "finished"
    assert "no candidate is left" in finished.ended.reason
    np.testing.assert_allclose(by_cell(measured(finished)), 2 * POINT_ELECTRONS / CELL_M**2)
    page = finished.folder.report.read_text()
    assert "32 of the 64 candidates were passed over" in page
    assert "no dose left for a measurement of 0.05 s" in page


@pytest.mark.parametrize("policy", ["random", "gp-coordinates"])
def test_a_replay_passes_over_the_same_candidates_and_decides_the_same(
    stem: RemoteInstrument, tmp_path: Path, policy: str
) -> None:
    stem.acquire(LEFT_HALF)
    finished = run(stem, tmp_path, policy, points=14)
    entries = read(finished.folder.journal)
    require_passed_over(entries)
    first = next(entry.event for entry in entries if isinstance(entry.event, Closed))
    assert first.candidates == tuple(n for n in range(64) if n % 8 < 4), "the left half, before the first decision"
    assert all(m.candidate % 8 >= 4 for m in finished.story.measurements)
    pool = seen_in(finished.folder.run_file, finished.story).pool
    again = replayed(entries, finished.story, pool)
    assert again.first_difference is None
    assert len(again.decisions) == len(finished.story.steps)
    without = [entry for entry in entries if not isinstance(entry.event, Closed)]
    assert replayed(without, story_of(without), pool).first_difference is not None, "they were what decided"


def somebody_else_fills_a_cell(address: str) -> tuple[int, int]:
    """Use up the dose of a cell in the right half that still has some; return its row and column."""
    with connect(address) as stem, stem.lease("somebody else", wait=True):
        for row, column in itertools.product(range(4), (2, 3)):
            place = PointScan(
                detector="eels", points=(((row + 0.5) * CELL_M, (column + 0.5) * CELL_M),), dwell_s=POINT_S
            )
            if np.all(stem.safety.dose_left(place)):
                while np.all(stem.safety.dose_left(place)):
                    stem.acquire(place)
                return row, column
    raise AssertionError("no cell has any dose left")


@pytest.mark.timeout(240)
def test_a_run_that_was_killed_goes_on_without_the_candidates_that_were_closed(tmp_path: Path) -> None:
    config, experiment, parent = tmp_path / "stem.toml", tmp_path / "short.toml", tmp_path / "runs"
    config.write_text(CONFIG)
    experiment.write_text(EXPERIMENT)
    parent.mkdir()
    served = Served(tmp_path / "state", str(config))
    try:
        address = served.up()
        with connect(address, purpose="before") as stem:
            stem.acquire(LEFT_HALF)
        with Nursery() as nursery:
            client = nursery.run(experiment, address, parent)
            until_s = time.monotonic() + 60.0
            # Its description, notes and what is closed come first; a dozen more are some measurements.
            while written(parent) < 25 and time.monotonic() < until_s:
                time.sleep(0.002)
            os.kill(client, signal.SIGKILL)
            assert nursery.ended(client, 30) == -signal.SIGKILL
            folder = run_in(parent)
            assert folder is not None
            before = left_in(folder)
            assert any(isinstance(entry.event, Closed) for entry in before.entries)
            assert not any(isinstance(entry.event, Ended) for entry in before.entries)
            full = somebody_else_fills_a_cell(address)
            assert nursery.ended(nursery.resume(folder, address), 90) == 0
            check(folder, served, before)
        entries = read(folder / "journal.sqlite")
        require_passed_over(entries)
        story = story_of(entries)
        seen = seen_in(folder / "run.h5", story)
        assert len({m.candidate for m in story.measurements}) == POINTS
        later = [entry.event for entry in entries if entry.seq > len(before.entries)]
        first = next(event for event in later if isinstance(event, Closed))
        places = [seen.pool.positions[candidate] for candidate in first.candidates]
        # The measurement that the kill cut off may have filled another.
        assert full in {(int(y // CELL_M), int(x // CELL_M)) for y, x in places}, "found before it was run into"
    finally:
        served.down()
