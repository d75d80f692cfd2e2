"""The commands: a status for scripts, words for people, and nothing that commands a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from beamloop.core import SettingsInvalid
from beamloop.instrument_server.audit import Audit
from beamloop.instrument_server.audit.command import audit

from .folders import counting_clock, noted


def called(*words: str) -> Result:
    return CliRunner().invoke(audit, words)


def spoken(folder: Path) -> Path:
    kept = Audit(folder / "audit.jsonl", "process", counting_clock())
    kept.note("asked", client="ada@lab", verb="set", request="r1", arguments={"plan": {"kind": "set"}})
    kept.note("refused", client="ada@lab", verb="set", request="r1", message="defocus_m = 2 m refused")
    kept.note("refused", client="eve\x1b[2J", verb="lease", request="r2", message="a\nb")
    kept.close()
    return folder


def test_verify_says_where_the_chain_stands_and_leaves_with_0_or_1(tmp_path: Path) -> None:
    folder = str(noted(tmp_path, 3))
    whole = called("verify", folder)
    assert whole.exit_code == 0
    assert "audit.jsonl: lines 1 to 4 follow from each other\nwhole; 4 lines, head 4:" in whole.stdout
    head = whole.stdout.split("head ")[1].strip()
    assert called("verify", folder, "--head", head).exit_code == 0
    assert called("verify", folder, "--head", "3" + head[1:]).exit_code == 1
    (tmp_path / "audit.jsonl").write_bytes((tmp_path / "audit.jsonl").read_bytes().replace(b"ada", b"eve", 1))
    changed = called("verify", folder)
    assert changed.exit_code == 1
    assert "BAD: audit.jsonl line 2: found hash" in changed.stdout
    facts = json.loads(called("verify", folder, "--json").stdout)
    assert not facts["whole"]
    assert len(facts["problems"]) == 2


def test_show_filters_by_client_event_time_and_number(tmp_path: Path) -> None:
    folder = str(spoken(tmp_path))
    assert len(called("show", folder).stdout.splitlines()) == 4
    assert "defocus_m = 2 m refused" in called("show", folder, "--event", "refused", "-n", "2").stdout
    assert len(called("show", folder, "--client", "ada").stdout.splitlines()) == 2
    assert len(called("show", folder, "--since", "2026-11-24T00:00:02").stdout.splitlines()) == 2
    last = json.loads(called("show", folder, "--json", "-n", "1").stdout)
    assert (last["number"], last["client"]) == (4, "eve\x1b[2J")


def test_show_escapes_what_would_command_the_terminal(tmp_path: Path) -> None:
    text = called("show", str(spoken(tmp_path))).stdout
    assert "\x1b" not in text
    assert "eve\\x1b[2J" in text
    assert "a\\nb" in text


def test_show_goes_on_past_a_line_that_is_none(tmp_path: Path) -> None:
    file = spoken(tmp_path) / "audit.jsonl"
    file.write_bytes(file.read_bytes() + b"\xff\n[1]\n")
    assert called("show", str(tmp_path)).stdout.count("unreadable") == 2


@pytest.mark.parametrize(
    ("words", "said"), [(("verify", "--head", "7:abc"), "NUMBER:HASH"), (("show", "--since", "tea"), "10m, 2h, 3d")]
)
def test_wrong_use_says_what_would_be_right(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    result = called(words[0], str(spoken(tmp_path)), *words[1:])
    assert isinstance(result.exception, SettingsInvalid)
    assert said in str(result.exception)
