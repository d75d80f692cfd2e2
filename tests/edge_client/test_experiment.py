"""The experiment file: what is wrong with it is said in one line, before anything moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from beamloop.core import SettingsInvalid
from beamloop.edge_client.experiment import Experiment, read_experiment

EXAMPLES = Path(__file__).parents[2] / "examples"


def read(tmp_path: Path, text: str) -> Experiment:
    file = tmp_path / "experiment.toml"
    file.write_text(text)
    return read_experiment(file)[0]


def test_a_good_file_gives_its_values_and_its_text(tmp_path: Path, experiment_text: str) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(experiment_text)
    experiment, text = read_experiment(file)
    assert text == experiment_text
    assert experiment.pool.shape == (20, 24)
    assert experiment.stop.points == 12
    assert (experiment.target.output, experiment.target.uncertainty, experiment.ahead) == ("value", "std", 1)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("dwell_s = 0.01", "dwel_s = 0.01", "unknown key 'measure.dwel_s'; did you mean 'dwell_s'"),
        ("[policy]", "[polcy]", "did you mean 'policy'"),
        ("points = 12", "", r"\[stop\] names no rule"),
        ("points = 12", "points = -3", "stop.points = -3"),
        ("seed = 3", "seed = 'three'", "seed = 'three'"),
        ('name = "canned"', 'name = "a/b"', "name = 'a/b'"),
        ("dwell_s = 0.01", "dwell_s = nan", "measure.dwell_s"),
        ("[policy]", "[features]\nsize_m = 1e-9\nsize_px = 5\n[policy]", "size_m or size_px"),
        ("[overview]\nshape = [80, 96]\ndwell_s = 1e-6\n", "[features]\nsize_px = 5\n", "an \\[overview\\] is needed"),
        ("seed = 3", "seed = ", "not a readable TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, experiment_text: str, right: str, wrong: str, told: str) -> None:
    assert right in experiment_text
    with pytest.raises(SettingsInvalid, match=told):
        read(tmp_path, experiment_text.replace(right, wrong))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no such file"):
        read_experiment(tmp_path / "nothing.toml")


def test_the_command_line_changes_seed_and_points_only(tmp_path: Path, experiment_text: str) -> None:
    experiment = read(tmp_path, experiment_text)
    changed = experiment.changed(seed=9, points=4)
    assert (changed.seed, changed.stop.points) == (9, 4)
    back = {"seed": experiment.seed, "stop": experiment.stop}
    assert changed.model_copy(update=back) == experiment
    with pytest.raises(SettingsInvalid, match=r"stop\.points = 0"):
        experiment.changed(points=0)


@pytest.mark.parametrize(
    "name", sorted(path.name for path in EXAMPLES.glob("*.toml") if path.name not in ("chaos.toml", "instrument.toml"))
)
def test_every_example_opens_with_a_comment_and_is_an_experiment(name: str) -> None:
    experiment, text = read_experiment(EXAMPLES / name)
    assert text.startswith("# ")
    assert "beamloop run" in text
    assert experiment.question.endswith("?")
