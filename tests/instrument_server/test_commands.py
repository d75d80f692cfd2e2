"""What `beamloop serve` takes in place of a configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from beamloop.instrument_server.commands import _settings


def files(config: str) -> list[str]:
    settings, _ = _settings(config)
    assert settings.instrument.plugin == "replay"
    return [Path(name).name for name in settings.instrument.settings["file"]]


def test_files_of_one_session_are_joined_by_a_plus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files("replay:a.dm3") == ["a.dm3"]
    assert files("replay:a.dm3+b.dm3+c.h5") == ["a.dm3", "b.dm3", "c.h5"]
    settings, _ = _settings("replay:a.dm3+b.dm3")
    assert settings.instrument.settings["file"] == [str(tmp_path / "a.dm3"), str(tmp_path / "b.dm3")]


def test_a_file_with_a_plus_in_its_name_is_meant_as_a_whole_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert files("replay:Fe+Ti.h5") == ["Fe", "Ti.h5"]
    (tmp_path / "Fe+Ti.h5").touch()
    assert files("replay:Fe+Ti.h5") == ["Fe+Ti.h5"]
