"""The writer: goes on where it ended, puts aside what ended badly, and refuses where the disk does."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beamloop.core import StorageFailed
from beamloop.instrument_server.audit import Audit, verdict_on
from beamloop.instrument_server.audit.files import Sheet

from ...failing_disk import CRASHES
from .folders import counting_clock, noted


def said(folder: Path, name: str = "audit.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_start_goes_on_with_the_chain(tmp_path: Path) -> None:
    for _ in range(3):
        noted(tmp_path, 2)
    assert [line["number"] for line in said(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert verdict_on(tmp_path).problems == ()


def test_half_a_line_is_put_aside_and_told_and_no_whole_line_is_lost(tmp_path: Path) -> None:
    data = (noted(tmp_path, 3) / "audit.jsonl").read_bytes()
    torn = data + data.splitlines()[-1][:20]
    (tmp_path / "audit.jsonl").write_bytes(torn)
    assert "half a line of 20 bytes" in verdict_on(tmp_path).problems[0]
    noted(tmp_path, 1)
    assert (tmp_path / "audit-000001.jsonl").read_bytes() == torn
    first = said(tmp_path)[0]
    assert (first["number"], first["follows"]["ended"], first["follows"]["bytes"]) == (5, "half a line", 20)
    verdict = verdict_on(tmp_path)
    assert verdict.problems == ()
    assert verdict.remarks == ("audit-000001.jsonl ends in half a line of 20 bytes, put aside by the next start",)


def test_a_first_line_of_which_only_half_is_there_is_no_older_servers_audit(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"number":1,"ti')
    noted(tmp_path, 1)
    assert verdict_on(tmp_path).problems == ()
    assert said(tmp_path)[0]["follows"]["ended"] == "half a line"


def test_lines_that_are_gone_at_the_next_start_are_told_and_their_numbers_not_given_again(tmp_path: Path) -> None:
    lines = (noted(tmp_path, 5) / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "audit.jsonl").write_bytes(b"".join(lines[:3]))
    noted(tmp_path, 1)
    first = said(tmp_path)[0]
    assert (first["number"], first["follows"]["ended"], first["follows"]["missing"]) == (7, "cut off", 3)
    assert "3 lines that were once written before it are gone" in verdict_on(tmp_path).problems[0]


@pytest.mark.parametrize("aside", [False, True])
def test_files_that_are_gone_at_the_next_start_are_told(tmp_path: Path, aside: bool) -> None:
    noted(tmp_path, 5, full=700 if aside else 1 << 20)
    (tmp_path / "audit.jsonl").unlink()
    noted(tmp_path, 1)
    assert "once written before it are gone" in " ".join(verdict_on(tmp_path).problems)


def test_damage_does_not_keep_the_instrument_from_starting_and_is_never_hidden(tmp_path: Path) -> None:
    file = noted(tmp_path, 5) / "audit.jsonl"
    damaged = file.read_bytes().replace(b'"n":2', b'"n":7')
    file.write_bytes(damaged)
    noted(tmp_path, 2)
    assert (tmp_path / "audit-000001.jsonl").read_bytes() == damaged
    assert said(tmp_path)[0]["follows"]["ended"] == "damaged"
    assert [problem.partition(":")[0] for problem in verdict_on(tmp_path).problems] == ["audit-000001.jsonl line 4"]


def test_the_audit_of_an_older_server_is_kept_and_the_chain_begins_after_it(tmp_path: Path) -> None:
    old = "".join(json.dumps({"time": "2026-11-01T00:00:00", "event": "done", "n": n}) + "\n" for n in range(3))
    (tmp_path / "audit.jsonl").write_text(old)
    assert "3 lines of an older server that are not chained" in verdict_on(tmp_path).problems[0]
    noted(tmp_path, 1)
    verdict = verdict_on(tmp_path)
    assert verdict.problems == ()
    assert "3 lines of an older server, not chained; the chain begins at audit.jsonl line 1" in verdict.remarks[0]
    (tmp_path / "audit-000001.jsonl").write_text(old.replace("done", "none"))
    assert "is not as it was when" in verdict_on(tmp_path).problems[0]


def test_a_file_that_is_full_is_put_aside_and_the_next_follows_it(tmp_path: Path) -> None:
    noted(tmp_path, 40, full=1000)
    files = sorted(tmp_path.glob("audit-*.jsonl"))
    assert len(files) > 5
    assert all(1000 <= file.stat().st_size < 1400 for file in files)
    assert verdict_on(tmp_path).problems == ()


class Small(Sheet):
    """A disk with room for a few bytes more, shared by all files; what does not fit is written in part."""

    room = 0
    may_truncate = True

    def append(self, data: bytes) -> None:
        if len(data) <= Small.room:
            Small.room -= len(data)
            super().append(data)
            return
        before = self.size
        super().append(data[: Small.room])
        if Small.may_truncate:
            os.ftruncate(self._number, before)
        self.size = before
        Small.room = 0
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("may_truncate", [True, False])
@pytest.mark.parametrize("room", [0, 1, 150, 400, 700, 1000])
def test_a_full_disk_raises_and_is_got_over_when_there_is_room(tmp_path: Path, room: int, may_truncate: bool) -> None:
    noted(tmp_path, 1)
    Small.room, Small.may_truncate = room, may_truncate
    audit, kept, refused = Audit(tmp_path / "audit.jsonl", "process", counting_clock(), sheet=Small), [], []
    for number in range(12):
        try:
            audit.note("done", attempt=number)
        except StorageFailed as full:
            refused.append(str(full))
        else:
            kept.append(number)
    assert all("No space left on device" in words and "make space" in words for words in refused)
    Small.room = 1 << 20
    audit.note("done", attempt="after")
    audit.close()
    lines = [line for name in sorted(tmp_path.glob("audit*.jsonl")) for line in whole_lines(name)]
    assert sorted(str(line["attempt"]) for line in lines if "attempt" in line) == sorted([*map(str, kept), "after"])
    assert sum(line.get("unwritten", 0) for line in lines) == len(refused) > 0
    assert verdict_on(tmp_path).problems == ()


def whole_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]]


class Unsynced(Sheet):
    """A disk that remembers what it was told to keep, and what of each file came since."""

    synced: dict[str, int] = {}  # noqa: RUF012
    fails = False

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._name = str(os.fstat(self._number).st_ino)
        Unsynced.synced.setdefault(self._name, self.size)

    def sync(self) -> None:
        if Unsynced.fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync()
        Unsynced.synced[self._name] = self.size


def cut_power(folder: Path, rng: random.Random) -> None:
    """Leave of each file what was synced, and of the rest any part, some of it zeros."""
    for file in folder.glob("*.jsonl"):
        data, certain = file.read_bytes(), Unsynced.synced.get(str(file.stat().st_ino), 0)
        rest = bytearray(data[certain : rng.randint(certain, len(data))])
        if rest and rng.random() < 0.5:
            start = rng.randrange(len(rest))
            rest[start:] = bytes(len(rest) - start)
        file.write_bytes(data[:certain] + rest)


def told_until_the_cut(folder: Path, rng: random.Random, first: int) -> list[int]:
    audit, told = Audit(folder / "audit.jsonl", "power", counting_clock(), full=900, sheet=Unsynced), []
    for number in range(first, first + rng.randint(1, 12)):
        Unsynced.fails = rng.random() < 0.1
        try:
            audit.note("done", told=number)
        except StorageFailed:
            continue
        told.append(number)
    Unsynced.fails = False
    audit.close()
    return told


@pytest.mark.timeout(60 + CRASHES)
def test_what_was_noted_for_power_survives_any_power_cut(tmp_path: Path) -> None:
    for seed in range(CRASHES):
        folder, rng, told = tmp_path / str(seed), random.Random(seed), []
        folder.mkdir()
        Unsynced.synced.clear()
        for life in range(3):
            told += told_until_the_cut(folder, rng, 100 * life)
            cut_power(folder, rng)
        noted(folder, 1)
        files = sorted(folder.glob("audit*.jsonl"))
        there = [
            line["told"] for file in files for line in map(_read, file.read_bytes().split(b"\n")) if "told" in line
        ]
        assert set(told) <= set(there), f"seed {seed}"


def _read(line: bytes) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:
        return {}


def test_power_syncs_every_line_and_process_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(Sheet, "sync", lambda sheet: synced.append("line"))
    audit = Audit(tmp_path / "audit.jsonl", "power")
    audit.note("done")
    audit.promise("process")
    audit.note("done")
    audit.close()
    assert synced == ["line", "line"]


@pytest.mark.parametrize("spoil", [lambda folder: folder.chmod(0o500), lambda folder: folder.rmdir()])
def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    spoil(folder)
    if folder.exists() and os.access(folder, os.W_OK):
        folder.rmdir()  # whoever may write everywhere cannot try this one
    with pytest.raises(StorageFailed, match=r"audit\.jsonl could not be written"):
        Audit(folder / "audit.jsonl")
