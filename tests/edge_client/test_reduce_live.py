"""`beamloop reduce` of a detector's stream gives what it gives of the file that the detector plays."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.core import Axis, FrameBatch, InstrumentUnreachable, OutputExists, SettingsInvalid, Signal, UnknownName
from beamloop.edge_client.commands.reduce import reduce
from beamloop.streaming.files import open_recording, write_signal
from beamloop.streaming.reduce import Reducing

REDUCTIONS = ("--sum", "--com", "--moments", "--virtual-detector", "ring=ring:2,7px")


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamloop.edge_client.file_reductions.picture.DOTS_PER_INCH", 30)


def recording(folder: Path, valid: np.ndarray | None = None) -> Path:
    data = np.random.default_rng(0).poisson(3.0, (6, 5, 16, 24)).astype("<u2")
    y, x = (Axis(name=n, size=s, units="m", quantity="length", scale=1e-9) for n, s in (("y", 6), ("x", 5)))
    v, u = Axis(name="v", size=16), Axis(name="u", size=24)
    with h5py.File(folder / "scan.h5", "w") as file:
        write_signal(file, "Channel_000", "camera", Signal(data, (y, x, v, u), "intensity", "counts", valid))
    return folder / "scan.h5"


def call(*words: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("reduce")(reduce)
    return CliRunner().invoke(app, ["reduce", *map(str, words)])


@contextmanager
def emulated(*words: str | Path) -> Iterator[int]:
    """Run `beamloop emulate` and give the port of its stream."""
    ports = ("--control-port", "0") if words[0] == "merlin" else ("--api-port", "0")
    command = [sys.executable, "-m", "beamloop", "emulate", *map(str, words), "--port", "0", *ports, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()
            process.wait(20)


def results_in(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: group[name][name][()] for group in file["Measurement_000"].values() for name in group}


@pytest.mark.parametrize(
    "words", [("merlin", "--raw"), ("dectris", "--version", "1"), ("dectris", "--compression", "lz4")]
)
def test_live_results_are_exactly_those_of_the_file(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = recording(tmp_path)
    assert call(file, *REDUCTIONS, "-o", tmp_path / "offline.h5").exit_code == 0
    scan = () if words[0] == "merlin" else ("--scan", "6x5")
    with emulated(words[0], file, *words[1:]) as port:
        source = f"{words[0]}://127.0.0.1:{port}"
        done = call(source, *REDUCTIONS, *scan, "--step", "1", "-o", tmp_path / "live.h5", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["frames"], told["scan_shape"], told["lacks"], told["notes"]) == (30, [6, 5], "", [])
    offline, live = results_in(tmp_path / "offline.h5"), results_in(tmp_path / "live.h5")
    assert offline.keys() == live.keys()
    for name, expected in offline.items():
        np.testing.assert_array_equal(live[name], expected, err_msg=name)
    assert (tmp_path / "live.png").read_bytes().startswith(b"\x89PNG")
    with open_recording(tmp_path / "live.h5") as opened:
        provenance = opened.detector("sum").signal().metadata["reduced_by"]
    assert (provenance["source_stream"], provenance["source_frames"]) == (source, 30)


def test_frames_that_never_come_are_told_and_leave_with_status_1(tmp_path: Path) -> None:
    valid = np.ones((6, 5), np.bool_)
    valid[2, 1:4] = False
    with emulated("dectris", recording(tmp_path, valid)) as port:
        done = call(f"dectris://127.0.0.1:{port}", "--sum", "--scan", "6x5", "-o", tmp_path / "live.h5")
    assert done.exit_code == 1
    assert "it lacks 3 of 30 frames: 11-13 (the detector ended it)" in done.output
    with open_recording(tmp_path / "live.h5") as opened:
        np.testing.assert_array_equal(opened.detector("sum").valid, valid)


def test_ctrl_c_writes_what_came_until_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, taken = Reducing.add, []

    def interrupted(self: Reducing, batch: FrameBatch) -> None:
        if len(taken) > 2:
            raise KeyboardInterrupt
        add(self, batch)
        taken.extend(batch.indices)

    monkeypatch.setattr(Reducing, "add", interrupted)
    with emulated("merlin", recording(tmp_path), "--rate", "40") as port:
        done = call(f"merlin://127.0.0.1:{port}", "--sum", "--scan", "6x5", "-o", tmp_path / "live.h5")
    assert done.exit_code == 130, done.output
    assert "(Ctrl-C)" in done.output
    with open_recording(tmp_path / "live.h5") as opened:
        there = np.flatnonzero(opened.detector("sum").valid)
    assert 2 < len(there) < 30
    np.testing.assert_array_equal(there, taken)


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (("merlin://127.0.0.1:1", "--sum"), InstrumentUnreachable, "cannot be reached"),
        (("mrelin://127.0.0.1:1", "--sum"), UnknownName, "did you mean 'merlin'"),
        (("merlin://127.0.0.1:1",), SettingsInvalid, "say what to compute"),
        (("merlin://what is this", "--sum"), SettingsInvalid, "no address"),
        (("merlin://127.0.0.1:1/7", "--sum"), SettingsInvalid, "means nothing there"),
        (("dectris://127.0.0.1:1", "--sum", "--wait", "0.05"), InstrumentUnreachable, "within 0.05 s"),
        (("dectris://127.0.0.1:1", "--sum", "--scan", "4"), SettingsInvalid, "write NYxNX"),
        (("dectris://127.0.0.1:1", "--sum", "--scan", "99999x99999"), SettingsInvalid, "positions at most"),
        (("dectris://127.0.0.1:1", "--sum", "--detector", "t"), SettingsInvalid, "HOST:PORT/CHANNEL"),
        (("merlin://127.0.0.1:1", "--sum", "-o", "missing/out.h5"), SettingsInvalid, "no folder missing"),
        (("scan.h5", "--sum", "--scan", "4x4"), SettingsInvalid, "are for streams"),
        (("scan.h5", "--sum", "--step", "2"), SettingsInvalid, "are for streams"),
    ],
)
def test_wrong_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], error: type[Exception], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    raised = call(*words).exception
    assert isinstance(raised, error)
    assert told in str(raised)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_and_nothing_waited_for_then(tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"merlin://127.0.0.1:{silent.getsockname()[1]}"
        assert isinstance(call(source, "--sum", "-o", tmp_path / "out.h5").exception, OutputExists)
    assert (tmp_path / "out.h5").read_text() == "mine"
