"""A server that was killed in a scan, over real processes: blanked, nobody holds it, and it says what it was doing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from beamloop.core import Interrupted, LeaseHeld, LocalControl, LocalOverride, PointScan, RequestReused
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.guard_line import say
from beamloop.instrument_server.lease.local_switch import LocalSwitch

from .test_processes import client, served, set_values, until

PLAN = PointScan(detector="camera", points=((0.0, 0.0),) * 500, dwell_s=1e-3)
ASKED = {"plan": PLAN.model_dump(), "measurement_id": "m"}


def interrupted(line: ControlLine) -> list[str]:
    return [one["request_id"] for one in line.ask("state")["interrupted"]]


def test_a_killed_server_comes_back_blanked_without_a_lease_and_says_what_was_interrupted(tmp_path: Path) -> None:
    with served(tmp_path) as bench, client(bench) as (line, _):
        set_values(line, frame_s=0.02)
        line.ask("acquire", ASKED, "ada/the scan")
        until(bench.beam_is_open, within_s=10.0)
        os.kill(bench.process.pid, signal.SIGKILL)
        bench.process.wait(10.0)
    with served(tmp_path) as bench:
        line = ControlLine(bench.address, "ada")
        assert not bench.beam_is_open()
        assert line.ask("state")["lease"] is None
        assert interrupted(line) == ["ada/the scan"]
        with pytest.raises(LeaseHeld):
            line.ask("renew")
        other = ControlLine(bench.address, "bob")
        with pytest.raises(RequestReused):
            other.ask("acquire", ASKED, "ada/the scan")
        assert interrupted(other) == ["ada/the scan"]
        with pytest.raises(Interrupted):
            line.ask("acquire", ASKED, "ada/the scan")
        assert interrupted(other) == []
        for each in (line, other):
            each.close()


def test_the_switch_halts_a_scan_and_holds_over_a_restart(tmp_path: Path) -> None:
    switch = LocalSwitch(tmp_path / "state")
    with served(tmp_path) as bench, client(bench) as (line, _):
        set_values(line, frame_s=0.02)
        line.ask("acquire", ASKED)
        until(bench.beam_is_open, within_s=10.0)
        switch.turn_on(LocalControl(by="eva", reason="aperture", since="now"))
        until(lambda: not bench.beam_is_open(), within_s=10.0)
        until(lambda: line.ask("state")["activity"] != "acquiring", within_s=10.0)
        refused_by(line)
    with served(tmp_path) as bench:
        line = ControlLine(bench.address, "ada")
        refused_by(line)
        assert say(bench.address, "stop").beam == "confirmed"
        assert line.ask("state")["local"]["by"] == "eva"
        switch.turn_off()
        until(lambda: line.ask("state")["local"] is None, within_s=10.0)
        assert line.ask("lease")["holder"] == "ada"
        line.close()


def refused_by(line: ControlLine) -> None:
    with pytest.raises(LocalOverride, match="by eva: aperture"):
        line.ask("lease")
