"""The journal of a run: an append-only table of events, and the one truth about the run.

Every event is written before its effect. `write` returns when the event is committed;
`note` is for the rows of frames, of which there are many, and joins the next commit.
Durability is stated: `power` survives a power cut (every commit reaches the disk, about
5 ms each), `process` survives any kill of the process. Each row carries a checksum, since
SQLite has none of its own.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core import OutputExists, RecordingUnreadable
from ...core.closing import Closing
from .events import Event, event_from

FORMAT = 1
"""Version of the table; raised whenever its columns or their meaning change."""

Durability = Literal["power", "process"]

_TABLE = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, time_s REAL NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    data TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'a journal is append-only'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'a journal is append-only'); END;
"""


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


class Journal(Closing):
    """A journal open for writing; any thread may write, each event is whole.

    Parameters
    ----------
    file
        New SQLite file.
    durability
        `power` or `process`.
    clock
        Gives seconds since 1970.

    Raises
    ------
    OutputExists
        If the file is already there.
    """

    def __init__(self, file: Path, durability: Durability = "process", clock: Callable[[], float] = time.time) -> None:
        try:
            file.touch(exist_ok=False)
        except FileExistsError:
            raise OutputExists(f"{file} already exists; a journal is written once, choose another run folder") from None
        self._clock, self._lock, self._seq = clock, threading.Lock(), 0
        self._rows = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        self._rows.execute(f"PRAGMA user_version = {FORMAT}")
        self._rows.executescript(_TABLE)

    def write(self, event: Event) -> float:
        """Commit one event, with all that was noted before it; return the time it carries."""
        with self._lock:
            time_s = self._add(event)
            self._rows.execute("COMMIT")
            return time_s

    def note(self, event: Event) -> None:
        """Add an event to the next commit."""
        with self._lock:
            self._add(event)

    def close(self) -> None:
        """Commit what was noted and close the file."""
        with self._lock:
            if self._rows.in_transaction:
                self._rows.execute("COMMIT")
            self._rows.close()

    def _add(self, event: Event) -> float:
        if not self._rows.in_transaction:
            self._rows.execute("BEGIN")
        time_s, data = self._clock(), event.model_dump_json(exclude={"kind"})
        row = (self._seq + 1, time_s, event.kind, event.version, data)
        self._rows.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (*row, _checksum(*row)))
        self._seq += 1
        return time_s


def read(file: Path) -> list[Entry]:
    """Return all committed events of a journal, in order, also while it is being written.

    Raises
    ------
    RecordingUnreadable
        If it is missing, no journal, of a newer format, has a gap, or a row fails its checksum.
    """
    if not file.is_file():
        raise RecordingUnreadable(f"no journal at {file}")
    rows = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = rows.execute("PRAGMA user_version").fetchone()[0]
        if found != FORMAT:
            raise RecordingUnreadable(f"{file} has journal format {found}; this version of beamloop reads {FORMAT}")
        entries = rows.execute("SELECT seq, time_s, kind, version, data, checksum FROM events ORDER BY seq").fetchall()
    except sqlite3.DatabaseError as error:
        raise RecordingUnreadable(f"{file} is no readable journal: {error}") from None
    finally:
        rows.close()
    return [_entry(file, number, row) for number, row in enumerate(entries, start=1)]


def _entry(file: Path, number: int, row: tuple[int, float, str, int, str, int]) -> Entry:
    seq, time_s, kind, version, data, checksum = row
    if seq != number:
        raise RecordingUnreadable(f"{file}: event {number} is missing, the next one is {seq}")
    if checksum != _checksum(seq, time_s, kind, version, data):
        raise RecordingUnreadable(f"{file}: event {seq} ({kind}) fails its checksum; the file was damaged")
    return Entry(seq, time_s, event_from(kind, version, json.loads(data)))


def _checksum(seq: int, time_s: float, kind: str, version: int, data: str) -> int:
    return zlib.crc32(f"{seq}|{time_s!r}|{kind}|{version}|{data}".encode())
