"""A run without a terminal: begun by a process that leaves, listed, looked on at, ended in order, resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beamloop.edge_client.record.glance import glance
from beamloop.edge_client.record.journal_mark import writing_process
from beamloop.edge_client.record.run_folder import RunFolder

EXAMPLES = Path(__file__).parents[2] / "examples"


def beamloop(*words: object, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beamloop", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)


def experiment(folder: Path) -> Path:
    text = (EXAMPLES / "simulator.toml").read_text().replace("gp-features", "random")
    text = text.replace("shape = [256, 256]", "shape = [32, 32]").replace("components = 8", "components = 2")
    file = folder / "experiment.toml"
    file.write_text(text)
    return file


def until_measured(run: RunFolder, count: int) -> None:
    until = time.monotonic() + 60
    while glance(run).measured < count:
        assert time.monotonic() < until, glance(run)
        time.sleep(0.05)


def until_nobody_works_on(run: RunFolder) -> None:
    until = time.monotonic() + 60
    while writing_process(run.journal) is not None:
        assert time.monotonic() < until
        time.sleep(0.05)


def slow_simulator(folder: Path) -> Path:
    """Return the configuration of a simulator that takes 0.1 s for a measurement."""
    file = folder / "slow.toml"
    file.write_text('folder = "state"\n[instrument]\nplugin = "simulator"\nsettings = { pace = 2.0 }\n')
    return file


def test_a_detached_run_is_listed_followed_ended_and_resumed(tmp_path: Path) -> None:
    begun = beamloop(
        "run", experiment(tmp_path), "--instrument", slow_simulator(tmp_path), "-o", tmp_path / "runs", "--points", 400,
        "--detach", "--json",
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    run = RunFolder(Path(json.loads(begun.stdout)["folder"]))
    process = writing_process(run.journal)
    assert process is not None
    try:
        until_measured(run, 3)
        (listed,) = [json.loads(line) for line in beamloop("list", tmp_path / "runs", "--json").stdout.splitlines()]
        assert (listed["state"], listed["process"], listed["wanted"]) == ("running", process, 400)
        again = beamloop("resume", run.path)
        assert again.returncode == 1
        assert f"being written by process {process}" in again.stderr
        assert beamloop("recover", run.path).stderr.startswith(f"OutputExists: process {process} works on")
        attached = beamloop("attach", run.path, "--stop")
    finally:
        if writing_process(run.journal) == process:
            os.kill(process, signal.SIGKILL)
    assert attached.returncode == 0, attached.stderr
    assert "stopped: Ctrl-C" in attached.stdout
    until_nobody_works_on(run)
    assert run.report.exists()
    assert "stopping: Ctrl-C" in (run.path / "run.log").read_text()
    # The same instrument at another pace.
    gone_on = beamloop("resume", run.path, "--instrument", "simulator", "--json")
    assert gone_on.returncode == 0, gone_on.stderr
    told = json.loads(gone_on.stdout)
    assert (told["outcome"], told["measured"]) == ("finished", 400)


def test_a_run_that_cannot_begin_says_why_to_whoever_detached_it(tmp_path: Path) -> None:
    refused = beamloop(
        "run", experiment(tmp_path), "--instrument", "replay:nowhere.h5", "-o", tmp_path / "runs", "--detach"
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("RecordingUnreadable: ")
    assert "no such recording" in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("word", ["attach", "resume"])
def test_a_run_that_is_not_there_is_told(word: str, tmp_path: Path) -> None:
    told = beamloop(word, "nowhere", "--runs", tmp_path)
    assert told.returncode == 1
    assert told.stderr.startswith("RecordingUnreadable: nowhere does not exist")
