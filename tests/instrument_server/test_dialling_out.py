"""An instrument behind a relay: whole scans through it, and when it dies the instrument is safe by itself."""

from __future__ import annotations

import queue
import time
from pathlib import Path

import pytest

from beamloop.core import BeamloopError, RelayRefused, SettingsInvalid
from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.halt import stop
from beamloop.instrument_server.dialling_out import TICKET, reachable

from ..streaming.relay.relayed import relay


def test_everything_works_through_a_relay_and_nothing_is_left_to_it(tmp_path: Path) -> None:
    told: queue.Queue[str] = queue.Queue()
    with embedded("simulator") as local:
        port = int(local.rpartition(":")[2])
        with relay() as where, reachable(f"{where.host}:{where.port}", port, tmp_path, told.put) as there:
            assert told.get(timeout=20) == f"reachable as {there}"
            far = connect(str(there), purpose="from afar", name="far")
            assert str(far.address) == str(there)
            assert far.scan("haadf", shape=(32, 32), dwell_s=1e-6).data.shape == (32, 32)
            assert far.pause().beam == "confirmed"
            far.arm()
        # The relay is gone: the one who came through it is cut off, the instrument gives itself back.
        with pytest.raises(BeamloopError):
            far.state()
        far.close()
        with connect(local, name="near") as near:
            until = time.monotonic() + 20
            while near.state().lease is not None:
                assert time.monotonic() < until
                time.sleep(0.1)
            assert near.stop().beam == "confirmed"


def test_the_name_stays_and_only_its_owner_may_read_the_ticket(tmp_path: Path) -> None:
    with relay() as where:
        names = []
        for _ in range(2):
            told: queue.Queue[str] = queue.Queue()
            with reachable(f"{where.host}:{where.port}", 1, tmp_path, told.put) as there:
                names.append(there.name)
                told.get(timeout=20)
        assert names[0] == names[1]
        assert (tmp_path / TICKET).stat().st_mode & 0o077 == 0
        with pytest.raises(RelayRefused, match="no instrument"):
            connect(f"relay://{where.host}:{where.port}/{names[0]}")


def test_a_relay_setting_that_names_an_instrument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="its ticket names it"), reachable("relay://h/x", 1, tmp_path, print):
        pass


def test_a_stop_goes_through_a_relay_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: queue.Queue[str] = queue.Queue()
    with embedded("simulator") as local, relay() as where:
        port = int(local.rpartition(":")[2])
        with reachable(f"{where.host}:{where.port}", port, tmp_path, told.put) as there:
            told.get(timeout=20)
            stop(str(there))
    assert "beam         confirmed at rest" in capsys.readouterr().out
