"""The story that a journal tells."""

from __future__ import annotations

import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.story import story_of


def test_every_step_has_its_outcome(entries: list[Entry]) -> None:
    story = story_of(entries)
    outcomes = [step.outcome for step in story.steps]
    assert outcomes == ["done"] * 5 + ["refused"] + ["done"] * 7 + ["abandoned"]
    assert len(story.measurements) == 12
    assert story.duration_s == pytest.approx(entries[-1].time_s - entries[0].time_s)


def test_the_best_is_the_largest_value(entries: list[Entry]) -> None:
    story = story_of(entries)
    assert story.best is not None
    assert story.best.value == max(m.value for m in story.measurements)


def test_a_run_that_was_cut_off_has_no_end(entries: list[Entry]) -> None:
    story = story_of(entries[:12])
    assert story.ended is None
    assert len(story.steps) > 0


def test_a_run_without_a_loop_has_no_story(entries: list[Entry]) -> None:
    with pytest.raises(RecordingUnreadable, match="opened, described"):
        story_of(entries[:2])
