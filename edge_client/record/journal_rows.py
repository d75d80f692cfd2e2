"""The rows of a journal as they lie in the file: the table, its checksums, and reading them back.

SQLite has no checksum of its own, so each row carries one. It goes on from that of the row
before it (a CRC-32 over everything so far), so a row that was taken out, changed or put
elsewhere is noticed at its place. Format 1 took each row alone and is still read and continued.

A run folder may lie where nothing can be written. Without a write-ahead log beside it a journal is
therefore read as a file that does not change, and nothing is put beside it.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ...core import RecordingUnreadable
from .journal_mark import Mark, mark_file, mark_of

FORMAT = 2
"""Version of the table; raised whenever its columns or their meaning change."""

READ = (1, 2)
"""Formats that are read and continued."""

Row = tuple[int, float, str, int, str, int]
"""Number, time in seconds since 1970, kind, version of the kind, JSON, checksum."""

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"

_SELECT = "SELECT seq, time_s, kind, version, data, checksum FROM events ORDER BY seq"

_TABLE = f"""
BEGIN;
PRAGMA user_version = {FORMAT};
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, time_s REAL NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    data TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'a journal is append-only'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'a journal is append-only'); END;
COMMIT;
"""


def make_table(rows: sqlite3.Connection) -> None:
    """Make the empty table, whole or not at all."""
    rows.executescript(_TABLE)


def chained(said: Iterable[tuple[float, str, int, str]], last: Mark, journal_format: int) -> tuple[Row, ...]:
    """Return the rows that follow the last one: time, kind, version and JSON of each as given."""
    rows: list[Row] = []
    before = last.checksum
    for number, what in enumerate(said, start=last.seq + 1):
        before = _checksum((number, *what), before if journal_format > 1 else 0)
        rows.append((number, *what, before))
    return tuple(rows)


def read_rows(file: Path) -> tuple[int, list[Row]]:
    """Return the format and all committed rows of a journal, in order, also while it is written.

    Raises
    ------
    RecordingUnreadable
        If it is missing, no journal, of a newer format, has a gap, a row fails its checksum, or it
        ends before its mark.
    """
    if not file.is_file():
        raise RecordingUnreadable(f"no journal at {file}")
    # The mark first: what it names was committed before, so the rows must have it.
    mark, still = mark_of(file), is_still(file)
    try:
        found, rows = _fetched(file, still)
        _check(file, found, rows, mark)
    except (RecordingUnreadable, sqlite3.Error, UnicodeError) as error:
        if still and not is_still(file):
            # Somebody began to write meanwhile; a file that changes is read with its log.
            return read_rows(file)
        if isinstance(error, RecordingUnreadable):
            raise
        raise RecordingUnreadable(f"{file} is no readable journal: {error}") from None
    return found, rows


def writer_of(rows: Sequence[Row]) -> str:
    """Return which beamloop wrote these rows, as the last of them that tells versions says it."""
    telling = (row[4] for row in reversed(rows) if '"versions"' in row[4])
    versions = json.loads(next(telling, "{}")).get("versions", {})
    return f"beamloop {versions['beamloop']}" if "beamloop" in versions else "a newer beamloop"


def is_still(file: Path) -> bool:
    """Tell whether a journal has no write-ahead log, so that nothing is written to it now."""
    log = file.with_name(f"{file.name}-wal")
    return not log.exists() or log.stat().st_size == 0


def _fetched(file: Path, still: bool) -> tuple[int, list[Row]]:
    with reading(file, still) as connection:
        # One transaction, so that both answers come from the same moment.
        connection.execute("BEGIN")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            raise RecordingUnreadable(f"{file} holds nothing: the run died while it was made, or it is no journal")
        rows = connection.execute(_SELECT).fetchall()
    if found not in READ:
        raise RecordingUnreadable(
            f"{file} has journal format {found}; this beamloop reads {READ[0]} to {READ[-1]}: install {writer_of(rows)}"
        )
    return found, rows


@contextmanager
def reading(file: Path, still: bool) -> Iterator[sqlite3.Connection]:
    """Give a connection for reading; `still` if nothing is written to the file meanwhile."""
    uri = f"{file.resolve().as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def _check(file: Path, found: int, rows: Sequence[Row], mark: Mark | None) -> None:
    before = 0
    for number, row in enumerate(rows, start=1):
        if row[0] != number:
            raise RecordingUnreadable(f"{file}: event {number} is missing, the next one is {row[0]}")
        if row[5] != _checksum(row, before if found > 1 else 0):
            raise RecordingUnreadable(
                f"{file}: event {number} ({row[2]}) fails its checksum; the file was damaged. "
                "Put a copy of it back; a run file that was closed holds the events as well, under /run/events"
            )
        before = row[5]
    if mark is not None and mark.seq > 0 and (mark.seq > len(rows) or rows[mark.seq - 1][5] != mark.checksum):
        raise RecordingUnreadable(
            f"{file} ends with event {len(rows)}, but {mark.seq} were written: its end was lost. Its -wal file is "
            "missing or damaged, or the power failed under durability 'process'. To read what is left, remove "
            f"{mark_file(file).name}"
        )


def _checksum(row: Sequence[object], before: int) -> int:
    seq, time_s, kind, version, data = row[:5]
    return zlib.crc32(f"{seq}|{time_s!r}|{kind}|{version}|{data}".encode(), before)
