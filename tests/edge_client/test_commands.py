"""The three commands as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from beamloop.core import InstrumentUnreachable, SettingsInvalid
from beamloop.edge_client import connect
from beamloop.edge_client.commands.info import info
from beamloop.edge_client.commands.run import run
from beamloop.halt import stop

COMMANDS = {"info": info, "run": run, "stop": stop}


def call(*words: str):
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"beamloop {name} " in result.output
    assert "Example" in result.output


def test_info_says_simulator_parameters_limits_detectors_state_and_lease(simulator: str) -> None:
    out = call("info", simulator).output
    for part in ("SIMULATOR", "defocus_m", "-2e-06 .. 2e-06", "eels", "256 energy_loss", "state: idle, beam blanked"):
        assert part in out, part
    assert "nobody holds it" in out
    with connect(simulator, purpose="alignment") as stem:
        out = call("info", simulator).output
        assert f"{stem.client} (alignment)" in out


def test_info_as_json_has_the_same_facts(simulator: str) -> None:
    told = json.loads(call("info", simulator, "--json").output)
    assert told["info"]["source"] == "simulator"
    assert told["state"]["activity"] == "idle"
    assert {"defocus_m", "beam_current_a"} <= {p["name"] for p in told["info"]["parameters"]}


@pytest.mark.parametrize(
    ("option", "word", "armed"), [("--blank", "blank", True), ("--pause", "pause", False), (None, "stop", False)]
)
def test_stop_reports_every_part(simulator: str, option: str | None, word: str, armed: bool) -> None:
    try:
        result = call("stop", simulator, *([option] if option else []))
        assert result.exit_code == 0
        assert result.output.startswith(word)
        assert "beam         confirmed at rest" in result.output
        assert f"armed        {'yes' if armed else 'no'}" in result.output
        told = json.loads(call("stop", simulator, "--json").output)
        assert (told["word"], told["beam"], told["armed"]) == ("stop", "confirmed", False)
    finally:
        with connect(simulator, purpose="arm") as stem:
            stem.arm()


def test_wrong_use_is_told() -> None:
    for wrong in (("--blank", "--pause"), ("localhost:port",), (":7440",), ("localhost:70000",)):
        assert call("stop", *wrong).exit_code == 2
    assert isinstance(call("info", "localhost:1").exception, InstrumentUnreachable)
    unheard = call("stop", "localhost:1", "--timeout-s", "0.1")
    assert unheard.exit_code == 1
    assert "not answered within 0.1 s" in unheard.output
    assert call("run").exit_code == 2


def test_a_misspelt_experiment_is_refused_before_anything_starts(tmp_path: Path, experiment_text: str) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(experiment_text.replace("[target]", "[tarqet]"))
    error = call("run", str(file), "-o", str(tmp_path / "runs")).exception
    assert isinstance(error, SettingsInvalid)
    assert "did you mean 'target'" in str(error)
    assert not (tmp_path / "runs").exists()
