"""Runs of every format that was ever written, kept as they were: each is read, told and decided again.

`run_1` came to its end. `run_2` lost its driver after two measurements, was resumed on a restarted server, and
repeated what had been under way.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from beamloop.edge_client.record.journal import read
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.run_folder import RunFolder
from beamloop.edge_client.record.story import Seen, Story, story_of
from beamloop.edge_client.replaying import replayed
from beamloop.edge_client.reporting.report import report

KEPT = Path(__file__).parent / "data"


def told(version: int) -> tuple[RunFolder, Story, Seen]:
    folder = RunFolder(KEPT / f"run_{version}")
    story = story_of(read(folder.journal))
    return folder, story, seen_in(folder.run_file, story)


@pytest.mark.parametrize(("version", "events", "steps"), [(1, 28, 6), (2, 35, 7)])
def test_it_is_read_and_told(version: int, events: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 30)
    folder, story, seen = told(version)
    assert len(read(folder.journal)) == events
    assert (len(story.steps), len(story.measurements)) == (steps, 6)
    # The simulator's noise depends on the measurement's name alone, and both runs found the same place.
    assert story.best is not None
    assert story.best.value == pytest.approx(0.8810794557618582, rel=1e-12)
    assert seen.truth is not None
    assert seen.truth.shape == (36,)
    assert seen.overview is not None
    assert seen.overview.data.shape == (24, 24)
    assert seen.notes == (), "pictures, maps and candidates are those that the journal tells of"
    assert story.experiment.question in report(story, seen)


@pytest.mark.parametrize("version", [1, 2])
def test_it_decides_as_it_did(version: int) -> None:
    folder, story, seen = told(version)
    found = replayed(read(folder.journal), story, seen.pool)
    assert found.first_difference is None
    assert np.nanmax([decision.belief_off for decision in found.decisions]) < 1e-3


def test_what_was_cut_off_is_charged_and_repeated() -> None:
    _, story, _ = told(2)
    ((_, cut),) = story.interruptions
    names = [step.commanded.measurement_id for step in story.steps]
    assert (cut.measurement_id, "m0002-2" in names) == ("m0002", True)
    assert story.electrons == pytest.approx(7 * cut.electrons, rel=1e-6)
    assert len(story.resumptions) == 1


def test_a_flipped_bit_that_hdf5_does_not_see_is_told_in_the_report(tmp_path: Path) -> None:
    """A letter of a text, which HDF5 keeps without a checksum: only the seal knows."""
    folder = RunFolder(Path(shutil.copytree(KEPT / "run_2", tmp_path / "run")))
    raw = bytearray(folder.run_file.read_bytes())
    place = raw.index(b"iron edge / background")
    raw[place] ^= 1
    folder.run_file.write_bytes(raw)
    seen = seen_in(folder.run_file, story_of(read(folder.journal)))
    assert any("its seal says" in note and "beamloop recover" in note for note in seen.notes), seen.notes
