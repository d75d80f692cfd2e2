"""The journal on a disk that fails at call number n, for every n until nothing fails any more."""

from __future__ import annotations

import itertools
import os
import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import apsw
import pytest

from beamloop.core import StorageFailed
from beamloop.core.storage import sqlite_file
from beamloop.edge_client.record.events import Event, Framed, Noted
from beamloop.edge_client.record.journal import Journal, read

from ...failing_disk import Disk

# SQLite passes over some errors of the disk, as of a checkpoint; apsw then complains into the air.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FULL, BROKEN = apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE
TRIES = 100
EVENTS = 7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def noted(number: int) -> Noted:
    return Noted(text=f"event {number} ".ljust(2000, "."))


def framed(number: int) -> Framed:
    return Framed(measurement_id=f"m{number}", scan_id="s1", frames=number, nbytes=64)


def made(disk: Disk, file: Path) -> tuple[Journal, int]:
    """Return a new journal and how often it failed to be made; a failure leaves nothing in the way."""
    for failures in range(TRIES):
        try:
            return Journal(file, "power", connect=disk.connect), failures
        except StorageFailed:
            assert list(file.parent.iterdir()) == []
    raise AssertionError("the disk never recovers")


def written(journal: Journal, event: Event, again: bool) -> int:
    """Write an event, again and again if wished, and return how often that failed."""
    for failures in range(TRIES):
        try:
            journal.write(event)
            return failures
        except StorageFailed:
            if not again:
                return 1
    raise AssertionError("the disk never recovers")


def run(folder: Path, first: int, times: int, code: int, again: bool = True) -> tuple[int, list[bool]]:
    """Write a journal while some calls fail; return the failures, and for each event whether it was acknowledged."""
    folder.mkdir()
    disk, file = Disk(folder), folder / "journal.sqlite"
    disk.fail_at(first, times, code)
    with disk.mounted():
        journal, failures = made(disk, file)
        acknowledged = []
        for number in range(EVENTS):
            journal.note(framed(number))
            failed = written(journal, noted(number), again)
            failures += failed
            acknowledged.append(again or not failed)
        disk.cut(folder / "power gone", random.Random(first))
        disk.fail_at(0, 0, code)
        journal.note(framed(99))
        journal.close()
    return failures, acknowledged


def events(folder: Path) -> list[Event]:
    return [entry.event for entry in read(folder / "journal.sqlite")]


@pytest.mark.parametrize(("code", "times"), [(FULL, 1), (FULL, 30), (BROKEN, 2)], ids=["full", "long-full", "broken"])
def test_what_failed_and_was_written_again_is_there_once(tmp_path: Path, code: int, times: int) -> None:
    expected = [event for number in range(EVENTS) for event in (framed(number), noted(number))]
    first, failures = 0, 1
    while failures or first < 50:
        first += 1
        failures, _ = run(tmp_path / "run", first, times, code)
        assert events(tmp_path / "run") == [*expected, framed(99)], f"call {first}"
        assert events(tmp_path / "run" / "power gone") == expected, f"call {first}, then a power cut"
        shutil.rmtree(tmp_path / "run")
    assert first > 50


def test_what_failed_and_was_given_up_is_there_once_or_never(tmp_path: Path) -> None:
    first, failures = 0, 1
    while failures or first < 50:
        first += 1
        failures, acknowledged = run(tmp_path / "run", first, 2, BROKEN, again=False)
        found = events(tmp_path / "run")
        frames = [event for event in found if isinstance(event, Framed)]
        assert frames == [*map(framed, range(EVENTS)), framed(99)], f"call {first}: what was noted is never lost"
        words = [event for event in found if isinstance(event, Noted)]
        kept = [n for n in range(EVENTS) if noted(n) in words]
        assert words == [noted(n) for n in kept], f"call {first}: in order, once"
        assert {n for n in range(EVENTS) if acknowledged[n]} <= set(kept)
        shutil.rmtree(tmp_path / "run")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_may_not_grow_is_told_and_then_continued(file: Path) -> None:
    """The same without a model: the system itself refuses."""
    with Journal(file) as journal:
        journal.write(noted(0))
        journal.note(framed(0))
        with files_no_larger_than(file.with_name("journal.sqlite-wal").stat().st_size):
            for _ in range(2):
                with pytest.raises(StorageFailed, match=r"journal\.sqlite could not be written: .* then go on"):
                    journal.write(noted(1))
        journal.write(noted(1))
    assert [entry.event for entry in read(file)] == [noted(0), framed(0), noted(1)]


class Interrupting:
    """A connection on which Ctrl-C falls right behind one of its calls."""

    def __init__(self, file: Path, calls: Iterator[int]) -> None:
        self._rows, self._calls = sqlite_file(file), calls

    def __getattr__(self, name: str) -> object:
        there = getattr(self._rows, name)
        if name not in ("execute", "executemany"):
            return there

        def call(*words: object) -> object:
            done = there(*words)
            if next(self._calls) == 0:
                raise KeyboardInterrupt
            return done

        return call


@pytest.mark.parametrize("call", [1, 2, 3], ids=["begin", "insert", "commit"])
def test_an_interrupt_within_a_commit_neither_loses_nor_doubles_it(file: Path, call: int) -> None:
    calls = itertools.repeat(-1)
    with Journal(file, connect=lambda file: cast(sqlite3.Connection, Interrupting(file, calls))) as journal:
        journal.write(noted(0))
        journal.note(framed(0))
        journal._rows._calls = itertools.count(1 - call)  # type: ignore[union-attr]
        with pytest.raises(KeyboardInterrupt):
            journal.write(noted(1))
        journal.write(noted(1))
        journal.write(noted(2))
    assert events(file.parent) == [noted(0), framed(0), noted(1), noted(2)]


def test_a_journal_that_was_moved_away_is_told_and_one_put_back_is_continued(file: Path) -> None:
    with Journal(file) as journal:
        journal.write(noted(0))
        away = file.parent.rename(file.parent.with_name("away"))
        for _ in range(2):
            with pytest.raises(StorageFailed, match=r"No such file or directory .* then go on"):
                journal.write(noted(1))
        away.rename(file.parent)
        journal.write(noted(1))
    assert [entry.event for entry in read(file)] == [noted(0), noted(1)]


def test_a_journal_that_was_replaced_is_told_and_not_written(file: Path) -> None:
    with Journal(file) as journal:
        journal.write(noted(0))
        with Journal(file.with_name("other.sqlite")) as other:
            other.write(noted(2))
        journal.write(noted(1))
        for part in ("-wal", "-shm"):
            file.with_name(file.name + part).unlink()
        file.with_name("other.sqlite").replace(file)
        with pytest.raises(StorageFailed, match="ends with event 1, this process left it with event 2: somebody"):
            journal.write(noted(2))


def test_a_folder_that_takes_nothing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"nothing/journal\.sqlite could not be written: No such file .* go on$"):
        Journal(tmp_path / "nothing" / "journal.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.write(noted(0))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageFailed, match=r"Permission denied .* make file and folder writable, then go on$"):
            Journal(tmp_path / "other.sqlite")
        assert [entry.event for entry in read(tmp_path / "journal.sqlite")] == [noted(0)]
    finally:
        tmp_path.chmod(0o700)
