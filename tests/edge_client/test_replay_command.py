"""`beamloop replay` as a person meets it, on a small run on the simulator."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.edge_client.commands.replay import replay

RUN = Path(__file__).parent / "record" / "data" / "run_1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "runs" / "2026-01-01-120000_first"))


def call(*words: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("replay")(replay)
    return CliRunner().invoke(app, ["replay", *map(str, words)])


def test_help_has_examples() -> None:
    assert "Example: beamloop replay latest --policy random" in call("--help").output


def test_the_table_the_picture_and_the_numbers_tell_of_every_policy(run: Path) -> None:
    done = call("latest", "--runs", run.parent, "--policy", "random", "--policy", "grid", "--seeds", "3")
    assert done.exit_code == 0, done.output
    for name in ("gp-coordinates (this run)", "random", "grid", "no map", "within 2%"):
        assert name in done.output
    assert (run / "comparison.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((run / "comparison.json").read_text())
    assert (numbers["points"], numbers["candidates"], numbers["seeds"]) == (6, 36, [0, 1, 2])
    assert numbers["noise"] == numbers["std"] > 0


def test_json_is_all_that_is_printed_and_goes_where_it_is_told(run: Path, tmp_path: Path) -> None:
    into = tmp_path / "elsewhere" / "here"
    done = call(run, "--policy", "random", "--seeds", "1", "--points", "9", "-o", into, "--json")
    facts = json.loads(done.stdout)
    assert facts["numbers"] == str(into / "comparison.json")
    assert facts["points"] == 9
    assert not (run / "comparison.json").exists()


def test_without_a_policy_a_run_of_the_first_format_decides_as_it_did(run: Path) -> None:
    done = call(run)
    assert done.exit_code == 0, done.output
    assert "the same next point at each of 6 decisions" in done.output
    facts = json.loads(call(run, "--json").stdout)
    assert facts["same"]
    assert [decision["then"]["candidate"] for decision in facts["decisions"]] == [7, 23, 26, 3, 13, 4]
