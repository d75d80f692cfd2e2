"""The journal of a run: an append-only table of events, and the one truth about the run.

Every event is written before its effect. `write` returns when the event is committed;
`note` is for the rows of frames, of which there are many, and joins the next commit.
Durability is stated, see `core/storage.py`.

A disk may fail in the middle of anything. Then the file is closed and opened afresh by the next
`write`, as after a crash: what lies on the disk decides what was kept. An event whose commit
failed may be there all the same; writing it again then adds nothing.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ...core import RecordingUnreadable, StorageFailed
from ...core.closing import Closing
from ...core.storage import Connect, empty_log, make_durable, sqlite_file, storing
from ...core.storage import Durability as Durability
from .events import Event, event_of_json
from .journal_making import make_journal
from .journal_mark import Claim, Mark
from .journal_rows import FORMAT, INSERT, Row, chained, read_rows, writer_of

_Said = tuple[float, str, int, str]
"""An event on its way: time, kind, version, JSON."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a journal.

    Attributes
    ----------
    seq
        Its number, 1, 2, 3, ... without gaps.
    time_s
        When it was written, seconds since 1970, UTC.
    event
        What happened.
    """

    seq: int
    time_s: float
    event: Event


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit of which it is not known yet whether the disk has it: what was said, as rows."""

    said: tuple[_Said, ...]
    rows: tuple[Row, ...]


class Journal(Closing):
    """A journal open for writing, by one process; any thread may write, each event is whole.

    Parameters
    ----------
    file
        New SQLite file.
    durability
        `power` or `process`.
    clock
        Gives seconds since 1970.
    connect
        Opens the file.

    Raises
    ------
    OutputExists
        If the file is already there.
    StorageFailed
        If folder or disk do not take it; nothing is left behind.
    """

    def __init__(
        self,
        file: Path,
        durability: Durability = "process",
        clock: Callable[[], float] = time.time,
        connect: Connect = sqlite_file,
    ) -> None:
        with storing(file):
            claim = make_journal(file, connect)
        self._begin(file, durability, clock, connect, claim, FORMAT, Mark(0, 0))

    @classmethod
    def reopened(
        cls,
        file: Path,
        durability: Durability = "process",
        clock: Callable[[], float] = time.time,
        connect: Connect = sqlite_file,
    ) -> Self:
        """Open an existing journal to go on with it, after checking it from its first row to its last.

        Raises
        ------
        RecordingUnreadable
            If it cannot be read whole; see `read`.
        OutputExists
            If another process writes it.
        StorageFailed
            If folder or disk do not let it be written.
        """
        if not file.is_file():
            raise RecordingUnreadable(f"no journal at {file}")
        with storing(file):
            claim = Claim(file)
            try:
                found, rows = read_rows(file)
                journal = cls.__new__(cls)
                journal._begin(file, durability, clock, connect, claim, found, _mark(rows))
                journal._rows = journal._connected()
            except BaseException:
                claim.close()
                raise
        return journal

    @property
    def count(self) -> int:
        """Events committed, those of earlier processes included."""
        return self._last.seq

    def write(self, event: Event) -> float:
        """Commit one event, with all that was noted before it; return the time it carries.

        Raises
        ------
        StorageFailed
            If the disk did not take it. Nothing that was noted is lost: it is kept in memory and
            joins the next commit. The event itself may be written again.
        """
        with self._lock, storing(self._file):
            said, rows = self._said(event), self._usable()
            late = next((late for late in self._late if late[1:] == said[1:]), None)
            if late is None:
                self._commit(rows, (*self._noted, said))
                return said[0]
            self._commit(rows, tuple(self._noted))
            self._late.remove(late)
            return late[0]

    def note(self, event: Event) -> None:
        """Add an event to the next commit."""
        with self._lock:
            self._noted.append(self._said(event))

    def close(self) -> None:
        """Commit what was noted and close the file; may be repeated.

        Raises
        ------
        StorageFailed
            If the disk did not take what was noted; the file is closed all the same.
        """
        with self._lock, storing(self._file):
            try:
                if self._noted:
                    self._commit(self._usable(), tuple(self._noted))
            finally:
                self._noted.clear()
                self._disconnect()
                self._claim.close()

    def _begin(
        self, file: Path, durability: Durability, clock: Callable[[], float], connect: Connect, claim: Claim,
        journal_format: int, last: Mark,
    ) -> None:  # fmt: skip
        self._file, self._clock, self._connect = file, clock, connect
        self._durability: Durability = durability
        self._claim, self._format, self._last = claim, journal_format, last
        self._lock = threading.Lock()
        self._rows: sqlite3.Connection | None = None
        self._noted: list[_Said] = []
        self._late: list[_Said] = []
        self._attempt: _Attempt | None = None
        self._marked()

    def _said(self, event: Event) -> _Said:
        return self._clock(), event.kind, event.version, event.model_dump_json(exclude={"kind"})

    def _usable(self) -> sqlite3.Connection:
        """Return the open connection, or open one afresh after a failure, or when the file was moved away."""
        if self._rows is not None and self._place != _place(self._file):
            self._disconnect()
        if self._rows is None:
            self._rows = self._connected()
        return self._rows

    def _connected(self) -> sqlite3.Connection:
        self._place = _place(self._file)
        rows = self._connect(self._file)
        try:
            make_durable(rows, self._file, self._durability)
            empty_log(rows, self._file)
            self._settle(_mark(rows.execute("SELECT * FROM events ORDER BY seq DESC LIMIT 1").fetchall()))
        except BaseException:
            rows.close()
            raise
        return rows

    def _settle(self, found: Mark) -> None:
        """Take in what the disk says about the commit that failed."""
        attempt = self._attempt
        if attempt is not None and found == _mark(attempt.rows):
            self._late.append(attempt.said[-1])
            self._kept(attempt)
        elif found != self._last:
            raise StorageFailed(
                f"{self._file} ends with event {found.seq}, this process left it with event {self._last.seq}: somebody "
                "else changed it. Put back the file of this run, then go on"
            )

    def _commit(self, rows: sqlite3.Connection, said: tuple[_Said, ...]) -> None:
        if not said:
            return
        attempt = _Attempt(said, chained(said, self._last, self._format))
        self._attempt = attempt
        try:
            rows.execute("BEGIN IMMEDIATE")
            rows.executemany(INSERT, attempt.rows)
            rows.execute("COMMIT")
            self._kept(attempt)
        except BaseException:
            self._disconnect()
            raise

    def _kept(self, attempt: _Attempt) -> None:
        """Go on from what was committed; may be repeated, since an interrupt may fall into it."""
        taken = set(map(id, attempt.said))
        self._last = _mark(attempt.rows)
        self._noted = [said for said in self._noted if id(said) not in taken]
        self._attempt = None
        self._marked()

    def _marked(self) -> None:
        # What is committed is kept, whether or not the mark can follow.
        with suppress(OSError):
            self._claim.put(self._last)

    def _disconnect(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            # Closing tidies up; a disk that fails then has already told.
            with suppress(sqlite3.Error):
                rows.close()


def read(file: Path) -> list[Entry]:
    """Return all committed events of a journal, in order, also while it is being written.

    Raises
    ------
    RecordingUnreadable
        If it is missing, no journal, of a newer format or with newer events, has a gap, a row fails
        its checksum, or it ends before its mark.
    """
    rows = read_rows(file)[1]
    try:
        return [Entry(seq, time_s, event_of_json(kind, version, data)) for seq, time_s, kind, version, data, _ in rows]
    except RecordingUnreadable as error:
        raise RecordingUnreadable(f"{file}, written by {writer_of(rows)}: {error}") from None


def _mark(rows: Sequence[Row]) -> Mark:
    return Mark(rows[-1][0], rows[-1][5]) if rows else Mark(0, 0)


def _place(file: Path) -> tuple[int, int]:
    """Return what tells this very file from another one under its name."""
    found = file.stat()
    return found.st_dev, found.st_ino
