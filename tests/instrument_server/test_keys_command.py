"""`beamloop keys`, as a person uses it: what it writes, who may read it, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from beamloop.core import BeamloopError, SettingsInvalid
from beamloop.core.key_file import read_key
from beamloop.instrument_server.keys.commands import keys
from beamloop.instrument_server.keys.place import Place


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    result = CliRunner().invoke(keys, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_only_its_owner_reads_what_is_private() -> None:
    run("init")
    run("add", "ada")
    private = [Path("ada.key"), *Path("keys").glob("*.key"), *Path("keys").glob("*.curve"), Path("keys/server.pem")]
    assert len(private) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in private} == {0o600}
    assert stat.S_IMODE(Path("keys").stat().st_mode) == 0o700
    assert not list(Path("keys").rglob(".*.new"))


def test_a_key_says_how_it_is_used_and_lists_its_role_and_end() -> None:
    assert "beamloop keys add NAME" in run("init").stdout
    told = run("add", "ada", "--role", "operator", "--days", "90").stdout
    assert "beamloop info HOST --key ada.key" in told
    (listed,) = json.loads(run("list", "--json").stdout)
    assert (listed["name"], listed["role"], listed["expired"]) == ("ada", "operator", False)
    assert read_key(Path("ada.key")).name == "ada"
    assert "ada: operator, until " in run("list").stdout


def test_a_second_key_of_a_name_is_refused_until_the_first_is_revoked() -> None:
    run("init")
    run("add", "ada")
    with pytest.raises(BeamloopError, match="a key 'ada' is listed already"):
        run("add", "ada", "-o", "other.key")
    assert not Path("other.key").exists()
    run("revoke", "ada")
    run("add", "ada", "-o", "other.key")
    assert read_key(Path("other.key")).public != read_key(Path("ada.key")).public


def test_nothing_is_overwritten() -> None:
    run("init")
    with pytest.raises(BeamloopError, match="holds keys already"):
        run("init")
    Path("ada.key").write_text("mine")
    with pytest.raises(BeamloopError, match="exists already and is not overwritten"):
        run("add", "ada")
    assert Path("ada.key").read_text() == "mine"
    assert run("list").stdout.strip() == "keys: no keys"


@pytest.mark.parametrize("words", [("list",), ("add", "ada"), ("revoke", "ada")])
def test_a_folder_without_keys_says_what_to_do(words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsInvalid, match=r"holds no keys: .* beamloop keys init --folder keys"):
        run(*words)


@pytest.mark.parametrize("name", ["", "../ada", "a/b", ".hidden", "two words", "x" * 80])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    run("init")
    with pytest.raises(SettingsInvalid, match="cannot be the name of a key"):
        run("add", "--", name)


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    run("init")
    run("add", "ada")
    for words in (("revoke", "adda"), ("change", "adda")):
        with pytest.raises(BeamloopError, match="did you mean 'ada'"):
            run(*words)


def test_keys_are_revoked_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    run("add", "ada")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(Path, "write_text", full)
    run("revoke", "ada")
    assert json.loads(run("list", "--json").stdout) == []


def test_a_key_needs_the_authority_and_says_so_where_it_was_taken_away() -> None:
    run("init")
    Place(Path("keys")).authority_key.unlink()
    with pytest.raises(SettingsInvalid, match=r"authority\.key is needed to make a key .* bring it back"):
        run("add", "ada")


def test_a_key_file_that_others_can_read_is_not_used() -> None:
    run("init")
    run("add", "ada")
    Path("ada.key").chmod(0o644)
    with pytest.raises(SettingsInvalid, match=r"can be read by others .*mode 644.*chmod 600"):
        read_key(Path("ada.key"))


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "is no key file"), ('beamloop-key: {"format": 2}', "is of version 2"), ("beamloop-key: [1]", "is no key")],
)
def test_another_file_is_no_key(text: str, told: str) -> None:
    Path("x.key").touch(0o600)
    Path("x.key").write_text(text)
    with pytest.raises(SettingsInvalid, match=told):
        read_key(Path("x.key"))
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        read_key(Path("missing.key"))
