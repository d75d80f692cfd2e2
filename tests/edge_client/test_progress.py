"""Progress: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import tomllib

import pytest
from rich.console import Console

from beamloop.core import Measurement, Suggestion
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.progress import progress

SUGGESTION = Suggestion(candidate=1, position=(0.0, 0.0), why="", mean=2.0, std=0.5)


@pytest.fixture
def experiment(experiment_text: str) -> Experiment:
    return Experiment.model_validate(tomllib.loads(experiment_text))


def measured(number: int) -> Measurement:
    return Measurement(
        measurement_id=f"m{number}", candidate=number, position=(0.0, 0.0), value=10.0 - number, electrons=1e6
    )


def test_without_a_terminal_there_are_plain_lines_at_a_bounded_rate(experiment: Experiment) -> None:
    out, seconds = io.StringIO(), iter(range(100))
    console = Console(file=out, force_terminal=False, width=60)
    with progress(experiment, console, clock=lambda: 0.5 * next(seconds)) as onlooker:
        onlooker.note("pool: a grid [of] 20 x 24")
        for number in range(1, 13):
            onlooker.arrived(SUGGESTION, measured(number))
        onlooker.declined("refused", "LimitRefused: too far")
    lines = out.getvalue().splitlines()
    assert lines[0] == "pool: a grid [of] 20 x 24"
    assert lines[-1] == "refused: LimitRefused: too far"
    steps = [line.split()[1] for line in lines if line.startswith("step")]
    assert steps == ["1/12", "5/12", "9/12", "12/12"]
    assert "best edge ratio 9 counts" in lines[-2]
    assert "last -2 counts" in lines[-2]
    assert "\x1b" not in out.getvalue()


def test_in_a_terminal_the_panel_shows_the_latest(experiment: Experiment) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with progress(experiment, console) as onlooker:
        onlooker.arrived(SUGGESTION, measured(1))
        onlooker.declined("failed", "DriverFailed: [red]x")
    shown = out.getvalue()
    assert "1/12" in shown
    assert "9 counts" in shown
    assert "failed: DriverFailed: [red]x" in shown
