"""`beamloop local` turns a switch that is nothing but a file of the server, and says whether the server has seen it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from beamloop.core import SettingsInvalid
from beamloop.instrument_server.lease import local as module
from beamloop.instrument_server.lease.local import Position, local
from beamloop.instrument_server.lease.local_switch import LocalSwitch, Seen

CONFIG = '[instrument]\nplugin = "simulator"\n'


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARD_WITHIN_S", 0.2)


def test_it_is_turned_by_configuration_or_by_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, folder = tmp_path / "bench.toml", tmp_path / "instrument-state"
    config.write_text(CONFIG)
    folder.mkdir()
    local(Position.on, config, "aperture", "eva")
    control = LocalSwitch(folder).position()
    assert control is not None
    assert (control.reason, control.admits) == ("aperture", "eva")
    assert "no server has seen it yet" in capsys.readouterr().out
    LocalSwitch(folder).confirm(Seen(since=control.since, beam="blanked"))
    local(Position.show, folder, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["local"]["reason"], told["seen"], told["beam"]) == ("aperture", True, "blanked")
    LocalSwitch(folder).confirm(None)
    local(Position.off, folder)
    assert LocalSwitch(folder).position() is None
    assert "off: remote commands are taken" in capsys.readouterr().out


def test_a_place_that_is_no_servers_is_told(tmp_path: Path) -> None:
    config = tmp_path / "bench.toml"
    config.write_text(CONFIG)
    with pytest.raises(SettingsInvalid, match="is no folder of a server"):
        local(Position.on, config)


def test_a_reason_that_would_break_the_line_is_refused_and_nothing_is_turned(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="printable"):
        local(Position.on, tmp_path, "a\nb")
    assert LocalSwitch(tmp_path).position() is None
