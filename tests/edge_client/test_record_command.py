"""`beamloop record`: the frames that somebody else measures, in a file, and what is said of those that lack."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.core import BeamBlanked, FrameBatch, OutputExists, Signal, StorageFailed
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.commands.record import INTERRUPTED, record
from beamloop.streaming.files import open_recording
from beamloop.streaming.files.scan_file import ScanFile
from beamloop.streaming.reader import Reader

from ..served import Served

WAIT_S = 30.0
PACED = 'folder = "."\n[instrument]\nplugin = "simulator"\nsettings = { pace = 1.0 }\n'


def call(*words: str) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("record")(record)
    return CliRunner().invoke(app, ["record", *words])


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture
def seated(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as the instrument knows of the reader: a scan that begins now is read from its first frame on."""
    seated, read_along = threading.Event(), RemoteInstrument.read_along

    def heard(self: RemoteInstrument, only: str = "", credit: int = 32) -> Reader:
        reader = read_along(self, only, credit)
        until(lambda: reader.statistics().channel.session != 0)
        seated.set()
        return reader

    monkeypatch.setattr(RemoteInstrument, "read_along", heard)
    return seated


class Owner:
    """Somebody who scans, in a thread, once `begin` is set."""

    def __init__(self, address: str, dwell_s: float, begin: threading.Event | None = None) -> None:
        self.address, self.dwell_s, self.begin = address, dwell_s, begin
        self.data: Signal | None = None
        self.thread = threading.Thread(target=self._scan)
        self.thread.start()

    def _scan(self) -> None:
        assert self.begin is None or self.begin.wait(WAIT_S)
        with connect(self.address, purpose="a map") as stem, suppress(BeamBlanked):
            self.data = stem.scan("diffraction", (16, 16), self.dwell_s)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    """Serve a simulator that takes its time."""
    config = tmp_path / "slow.toml"
    config.write_text(PACED)
    served = Served(tmp_path / "state", str(config))
    served.up()
    yield served
    served.down()


def test_a_scan_of_somebody_else_is_recorded_whole(simulator: str, seated: threading.Event, tmp_path: Path) -> None:
    file, owner = tmp_path / "scan.h5", Owner(simulator, 1e-4, seated)
    told = call(simulator, "-o", str(file))
    owner.thread.join(WAIT_S)
    assert told.exit_code == 0, told.output
    assert "256 of 256 frames recorded" in told.output
    assert owner.data is not None
    with open_recording(file) as recording:
        assert recording.main.valid.all()
        np.testing.assert_array_equal(recording.main.signal().data, owner.data.data)


def test_what_lacks_is_named_when_the_scan_is_stopped_or_was_under_way(slow: Served, tmp_path: Path) -> None:
    file, owner = tmp_path / "scan.h5", Owner(slow.address, 0.05)
    with connect(slow.address) as looking:
        until(lambda: looking.state().activity == "acquiring")
        stopping = threading.Timer(4.0, looking.stop)
        stopping.start()
        told = call(slow.address, "-o", str(file), "--json")
        stopping.join()
    owner.thread.join(WAIT_S)
    assert told.exit_code == 1
    facts = json.loads(told.output)
    assert 0 < facts["frames"] < facts["of"] == 256
    assert not facts["interrupted"]
    assert f"lacks {256 - facts['frames']} of 256 frames" in facts["lacks"]
    assert "its end says stopped" in facts["lacks"]
    with open_recording(file) as recording:
        assert recording.main.valid.sum() == facts["frames"]


def test_ctrl_c_between_taking_frames_and_writing_them_counts_what_is_in_the_file(
    simulator: str, seated: threading.Event, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, add, batches = tmp_path / "scan.h5", ScanFile.add, itertools.count()

    def interrupted(self: ScanFile, batch: FrameBatch) -> None:
        if next(batches) == 2:
            raise KeyboardInterrupt
        add(self, batch)

    monkeypatch.setattr(ScanFile, "add", interrupted)
    owner = Owner(simulator, 1e-4, seated)
    told = call(simulator, "-o", str(file), "--json")
    owner.thread.join(WAIT_S)
    assert told.exit_code == INTERRUPTED
    facts = json.loads(told.output)
    with open_recording(file) as recording:
        there = int(recording.main.valid.sum())
    assert 0 < there == facts["frames"]
    assert f"lacks {256 - there} of 256 frames" in facts["lacks"]


def test_ctrl_c_leaves_a_file_of_what_came_until_then(slow: Served, tmp_path: Path) -> None:
    file = tmp_path / "scan.h5"
    command = [sys.executable, "-m", "beamloop", "record", slow.address, "-o", str(file), "--json"]
    recorder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    owner = Owner(slow.address, 0.05)
    try:
        until(lambda: file.exists() and file.stat().st_size > 200_000)
        recorder.send_signal(signal.SIGINT)
        out, err = recorder.communicate(timeout=WAIT_S)
    finally:
        recorder.kill()
        recorder.communicate()
        owner.thread.join(WAIT_S)
    assert (recorder.returncode, err) == (INTERRUPTED, "")
    facts = json.loads(out)
    assert facts["interrupted"]
    assert "its end has not come" in facts["lacks"]
    assert owner.data is not None, "nobody else was disturbed"
    with open_recording(file) as recording:
        there = np.flatnonzero(recording.main.valid)
        assert 0 < len(there) == facts["frames"] < 256
        np.testing.assert_array_equal(recording.main.frames(there), owner.data.data.reshape(256, 128, 128)[there])


def test_what_cannot_be_written_is_refused_before_a_scan_is_waited_for(tmp_path: Path) -> None:
    there = tmp_path / "scan.h5"
    there.write_text("somebody's data")
    # No instrument is asked, so none need be there.
    taken = call("localhost:1", "-o", str(there)).exception
    assert isinstance(taken, OutputExists)
    assert "already exists; a scan is recorded into a new file" in str(taken)
    lost = call("localhost:1", "-o", str(tmp_path / "none" / "scan.h5")).exception
    assert isinstance(lost, StorageFailed)
    assert "there is no folder" in str(lost)
    assert there.read_text() == "somebody's data"
    missing = call("localhost:1")
    assert (missing.exit_code, "-o" in missing.output) == (2, True)


def test_help_has_examples() -> None:
    told = call("--help").output
    assert "Example: beamloop record stem:7440 -o scan.h5" in told
