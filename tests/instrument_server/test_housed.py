"""A driver in the server's own process: the same instrument, a guard of its own, and told is what it lacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beamloop.core import BeamBlanked, GridScan
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.commands.info import info as tell_info
from beamloop.instrument_server.server import serving
from beamloop.instrument_server.settings import Plugin, ServerSettings


@pytest.fixture
def housed(tmp_path: Path) -> Iterator[RemoteInstrument]:
    plugin = Plugin(plugin="simulator", settings={"pace": 1.0})
    settings = ServerSettings(instrument=plugin, port=0, processes="one")
    with serving(settings, tmp_path) as (_, port), connect(f"127.0.0.1:{port}", purpose="test") as instrument:
        yield instrument


def test_it_measures_and_everybody_is_told_what_is_given_up(
    housed: RemoteInstrument, capsys: pytest.CaptureFixture[str]
) -> None:
    assert any(thread.name == "driver" for thread in threading.enumerate())
    assert housed.scan("haadf", shape=(16, 16), dwell_s=1e-6).data.shape == (16, 16)
    assert "one process" in housed.info.guarantee
    tell_info(str(housed.address))
    told = capsys.readouterr().out
    assert "REDUCED GUARANTEE" in told
    assert "stop proved in" in told


def test_a_stop_still_goes_to_a_guard_of_its_own(housed: RemoteInstrument) -> None:
    scan = housed.start(GridScan(detector="haadf", shape=(64, 64), dwell_s=5e-3), "m")
    while housed.state().beam != "open":
        time.sleep(0.01)
    report = housed.stop()
    assert (report.beam, report.acquisition) == ("confirmed", "confirmed")
    for _ in scan.batches(10.0):
        continue
    with pytest.raises(BeamBlanked):
        housed.require_whole(scan)
