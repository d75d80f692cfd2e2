from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from beamloop.active_learning.policy import gp_coordinates
from beamloop.active_learning.trial import KnownMap, trial
from beamloop.core import NotEnoughData, SettingsInvalid
from beamloop.edge_client.comparison import compare, known_map
from beamloop.edge_client.contender import Contender, contenders
from beamloop.edge_client.experiment import FeatureChoice, PolicyChoice
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.story import Seen, Story, story_of
from beamloop.edge_client.reporting.comparison_figure import comparison_figure


@pytest.fixture
def story(entries: list[Entry]) -> Story:
    return story_of(entries)


def as_recording(story: Story) -> Story:
    info = story.described.info.model_copy(update={"source": "recording"})
    return replace(story, described=story.described.model_copy(update={"info": info}))


def test_a_simulators_values_have_the_noise_of_the_run_and_a_recordings_have_none(story: Story, seen: Seen) -> None:
    simulated, recorded = known_map(story, seen), known_map(as_recording(story), seen)
    assert (simulated.std, simulated.noise) == (1.5, 1.5)
    assert (recorded.std, recorded.noise) == (1.5, 0.0)


def test_a_run_that_knows_no_truth_cannot_be_compared_on(story: Story, seen: Seen) -> None:
    with pytest.raises(NotEnoughData, match=r"canned stem \(simulator\) holds no truth"):
        known_map(story, replace(seen, truth=None))


def test_each_trial_is_the_policys_own_with_that_seed(story: Story, seen: Seen, truth: np.ndarray) -> None:
    told: list[str] = []
    every = contenders(story.experiment, ["random"])
    found = compare(story, seen, every, (4, 9), told=lambda one: told.append(one.name))
    assert told == ["gp-coordinates (this run)"] * 2 + ["random"] * 2
    assert found.points == len(story.measurements) == 12
    alone = trial(KnownMap(seen.pool, truth, 1.5, 1.5), gp_coordinates(seen.pool, 9), 12, 9, ahead=1)
    np.testing.assert_array_equal(found.standings[0].trials[1].candidates, alone.candidates)
    np.testing.assert_array_equal(found.standings[0].trials[1].regret, alone.regret)


def test_numbers_survive_json_with_null_for_what_was_never_reached(story: Story, seen: Seen) -> None:
    found = compare(story, seen, contenders(story.experiment, ["random"]), range(3), points=2)
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    drawn = facts["policies"][1]
    assert drawn["name"] == "random"
    assert drawn["needed"]["0.02"]["median"] is None
    assert drawn["map_error"]["median"] == [None, None]
    assert [len(t["candidates"]) for t in drawn["trials"]] == [2, 2, 2]
    assert drawn["area"]["median"] == pytest.approx(float(np.median([t.area for t in found.standings[1].trials])))
    assert math.isinf(float(found.standings[1].needed(0.02).median))


def test_a_contender_may_make_its_own_features_of_the_runs_overview(story: Story, seen: Seen) -> None:
    asked = Contender("mine", PolicyChoice(name="gp-features"), FeatureChoice(size_px=5, components=3))
    found = compare(story, seen, [asked], [0], points=4)
    assert found.known.pool.features is None
    assert len(found.standings[0].trials[0].candidates) == 4


def test_what_a_policy_lacks_is_told_before_any_trial(story: Story, seen: Seen) -> None:
    told: list[Contender] = []
    wrong = (PolicyChoice(name="gp-features"), PolicyChoice(name="gp-coordinates", settings={"frst": 3}))
    for choice, message in zip(
        wrong, ("needs an overview", r"of x: unknown key 'frst'; did you mean 'first'"), strict=True
    ):
        with pytest.raises(SettingsInvalid, match=message):
            compare(story, seen, [Contender("x", choice)], [0], told=told.append)
    assert told == []


def test_without_measurements_the_points_must_be_said(story: Story, seen: Seen) -> None:
    empty = replace(story, steps=())
    with pytest.raises(NotEnoughData, match="--points"):
        compare(empty, seen, contenders(story.experiment, []), [0])
    assert compare(empty, seen, contenders(story.experiment, []), [0], points=3).points == 3


def test_the_picture_has_a_curve_and_a_band_for_each_policy(story: Story, seen: Seen) -> None:
    found = compare(story, seen, contenders(story.experiment, ["random"]), range(2), points=6)
    named = [(s.contender.name, s.regret) for s in found.standings]
    left, right = comparison_figure("title", named, [(s.contender.name, s.map_error) for s in found.standings]).axes
    assert [line.get_label() for line in left.lines] == ["gp-coordinates (this run)", "random"]
    np.testing.assert_array_equal(left.lines[1].get_ydata(), named[1][1].median)
    assert len(left.collections) == len(right.collections) == 2
