"""Real server processes whose recorder does not take its frames: the source waits, or tells which it lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import Acquisition, DriverFailed, Interrupted, ScanIncomplete, plan_from
from beamloop.core.plan import GridScan
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.instrument import raise_unless_whole

from ..served import Served

WAIT_S = 30.0


def _plan(shape: tuple[int, int] = (16, 16)) -> Acquisition:
    plan = plan_from({"kind": "grid", "detector": "diffraction", "shape": shape, "dwell_s": 1e-3})
    assert isinstance(plan, GridScan)
    return plan


def _configured(folder: Path, settings: str, frames: str) -> str:
    file = folder / "server.toml"
    file.write_text(f'port = 0\n[instrument]\nplugin = "simulator"\nsettings = {settings}\n[frames]\n{frames}\n')
    return str(file)


def _until_told(stem: RemoteInstrument) -> str:
    late = time.monotonic() + WAIT_S
    while not (told := stem.state().frames_wait):
        assert time.monotonic() < late, "nobody said that the source is paused"
        time.sleep(0.05)
    return told


def test_a_source_that_can_wait_is_paused_at_the_bounds_says_so_and_loses_nothing(tmp_path: Path) -> None:
    where = _configured(tmp_path, "{}", "memory_bytes = 1_100_000\ndisk_bytes = 2_200_000")
    with embedded(where) as address, connect(address, purpose="tests") as stem:
        incoming = stem.start(_plan(), "m1")
        told = _until_told(stem)
        assert "the bound is 1100000" in told
        assert "on disk, where it is 2200000" in told
        assert stem.client in told
        taken = 0
        for batch in incoming.batches(WAIT_S):
            taken += len(batch.indices)
            incoming.stored()
        assert (taken, incoming.lost, incoming.complete) == (256, 0, True)
        incoming.stored()
        late = time.monotonic() + WAIT_S
        while stem.state().frames_wait:
            assert time.monotonic() < late
            time.sleep(0.05)


def test_a_source_that_cannot_wait_names_what_it_lost_on_both_sides(tmp_path: Path) -> None:
    where = _configured(tmp_path, "{ pausable = false }", "memory_bytes = 1_100_000\ndisk_bytes = 0")
    with embedded(where) as address, connect(address, purpose="tests") as stem:
        assert not stem.info.detector("diffraction").pausable
        incoming = stem.start(_plan(), "m1")
        late = time.monotonic() + WAIT_S
        while stem.state().activity == "acquiring":
            assert time.monotonic() < late, "a source that cannot wait has waited"
            time.sleep(0.05)
        for _ in incoming.batches(WAIT_S):
            pass
        assert incoming.end is not None
        lacking = np.flatnonzero(~incoming.valid)
        assert len(lacking) == incoming.lost == len(incoming.lost_frames) > 0
        assert (incoming.end.status, incoming.end.n_frames) == ("failed", 256 - len(lacking))
        assert incoming.end.reason.startswith(f"lacks frames {lacking[0]}-{lacking[-1]}: diffraction cannot wait")
        with pytest.raises(ScanIncomplete, match=f"lacks {len(lacking)} of 256 frames"):
            raise_unless_whole(incoming)
        incoming.stored()
        # What comes after it comes whole.
        assert stem.scan("haadf", (8, 8), 1e-6).data.shape == (8, 8)


def test_who_gave_the_lease_back_unfetched_comes_for_its_frames_after_somebody_else_held_it(simulator: str) -> None:
    with connect(simulator, purpose="tests", name="ada") as ada:
        scan_id = ada.start(_plan(), "m1", "ada/m1").header.scan_id
        late = time.monotonic() + WAIT_S
        while ada.state().activity == "acquiring":
            assert time.monotonic() < late
            time.sleep(0.05)
    with connect(simulator, purpose="others") as bob:
        bob.scan("haadf", (8, 8), 1e-6)
    with connect(simulator, name="ada") as ada:
        incoming = ada.start(_plan(), "m1", "ada/m1")
        for _ in incoming.batches(WAIT_S):
            pass
        incoming.stored()
        assert (incoming.header.scan_id, incoming.complete) == (scan_id, True)


def test_frames_on_the_disk_of_a_killed_driver_come_to_their_recorder_after_the_restart(tmp_path: Path) -> None:
    where = _configured(tmp_path, "{}", "memory_bytes = 1_100_000\ndisk_bytes = 2_200_000")
    served = Served(tmp_path / "served", where)
    try:
        with connect(served.up(), purpose="tests", name="ada") as ada:
            ada.start(_plan(), "m1", "ada/m1")
            _until_told(ada)
            served.kill("driver")
        with connect(served.up(), purpose="tests", name="ada") as ada:
            with pytest.raises(Interrupted):
                ada.start(_plan(), "m1", "ada/m1")
            incoming = ada.left_scan()
            for _ in incoming.batches(WAIT_S):
                pass
            there = np.flatnonzero(incoming.valid)
            assert there.tolist() == list(range(there[0], there[-1] + 1))
            assert 0 < there[0] < there[-1] < 255
            with pytest.raises(DriverFailed, match=rf"lacks .*: 0-{there[0] - 1}, .*died with {len(there)} of its"):
                raise_unless_whole(incoming)
        # It was not said to be stored, so it is there for the next, and does not lie in its way.
        with connect(served.address, name="ada", purpose="tests") as ada:
            assert ada.scan("haadf", (8, 8), 1e-6).data.shape == (8, 8)
    finally:
        served.down()


def test_others_look_on_and_read_along_without_the_lease(simulator: str) -> None:
    with (
        connect(simulator, purpose="tests") as stem,
        connect(simulator) as other,
        other.watch() as viewer,
        other.read_along() as reader,
    ):
        reader_there = viewer_there = False
        while not (reader_there and viewer_there):
            viewer_there, reader_there = viewer.heard, reader.statistics().channel.session != 0
            time.sleep(0.01)
        image = stem.scan("haadf", (32, 32), 1e-6)
        seen, last = np.zeros(1024, image.data.dtype), viewer.look(WAIT_S)
        while last.end is None:
            last = viewer.look(WAIT_S)
            if last.batch is not None:
                seen[last.batch.indices] = last.batch.frames
        assert (last.scan.receiver, last.seen + last.passed) == (stem.client, 1024)
        along = reader.next_scan(WAIT_S)
        frames = np.zeros(1024, image.data.dtype)
        for batch in along.batches(WAIT_S):
            frames[batch.indices] = batch.frames
        along.stored()
        assert along.complete
        np.testing.assert_array_equal(frames.reshape(32, 32), image.data)


def test_beamloop_watch_tells_each_scan_with_the_number_passed_over(simulator: str) -> None:
    command = [sys.executable, "-m", "beamloop", "watch", simulator, "--json", "--scans", "1"]
    with (
        connect(simulator, purpose="tests") as stem,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child,
    ):
        while child.poll() is None:
            stem.scan("haadf", (16, 16), 1e-6)
        assert child.stdout is not None
        told = [json.loads(line) for line in child.stdout]
    assert child.returncode == 0
    assert told[-1]["ended"] == "complete"
    assert told[-1]["seen"] + told[-1]["passed_over"] == told[-1]["frames"] == 256
    assert told[-1]["recorder"] == stem.client
