from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from beamloop.core import SettingsInvalid, UnknownName
from beamloop.edge_client.contender import contenders
from beamloop.edge_client.experiment import Experiment, FeatureChoice


@pytest.fixture
def experiment(experiment_text: str) -> Experiment:
    return Experiment.model_validate(tomllib.loads(experiment_text))


def test_the_runs_own_policy_comes_first(experiment: Experiment) -> None:
    own, other = contenders(experiment, ["random"])
    assert (own.name, own.policy) == ("gp-coordinates (this run)", experiment.policy)
    assert (other.name, other.policy.name, other.policy.settings, other.features) == ("random", "random", {}, None)


def test_a_file_may_hold_only_who_decides(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "bold.toml"
    file.write_text('[policy]\nname = "gp-features"\nsettings = { acquisition = "ucb" }\n[features]\nsize_px = 5\n')
    _, bold = contenders(experiment, [str(file)])
    assert (bold.name, bold.policy.settings) == ("gp-features (bold)", {"acquisition": "ucb"})
    assert bold.features == FeatureChoice(size_px=5)


def test_of_an_experiment_file_only_policy_and_features_count(
    experiment: Experiment, experiment_text: str, tmp_path: Path
) -> None:
    file = tmp_path / "whole.toml"
    file.write_text(experiment_text.replace('"gp-coordinates"', '"grid"'))
    _, whole = contenders(experiment, [str(file)])
    assert (whole.name, whole.features) == ("grid (whole)", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[policy]\nnme = "random"\n', "unknown key 'policy.nme'; did you mean 'name'"),
        ('[polcy]\nname = "random"\n', "unknown key 'polcy'"),
        ("policy = [", "not a readable TOML file"),
        (None, "no such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    experiment: Experiment, tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "wrong.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsInvalid, match=message):
        contenders(experiment, [str(file)])


def test_unknown_names_and_the_same_name_twice_are_refused(experiment: Experiment) -> None:
    with pytest.raises(UnknownName, match="did you mean 'random'"):
        contenders(experiment, ["rndom"])
    with pytest.raises(SettingsInvalid, match="'random' was given twice"):
        contenders(experiment, ["random", "random"])
