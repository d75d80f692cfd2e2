"""Every command is answered once: it is begun, then done, and its answer is stored before it is announced.

A client that lost a reply asks again with the same request id and gets the first answer;
nothing is done twice. Kept in SQLite, so it also holds across a restart of the server. A command
that was begun and never answered, because the server or its driver died on it, is *interrupted*: what
became of it is not known, and whoever asks again is told so instead of doing it a second time. So is a scan
that was answered and had not ended. What was interrupted stays *unsettled*, over restarts, until it was told.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..core import Interrupted, Interruption, OutputExists, RecordingUnreadable, Reply, StorageFailed
from ..core.storage import Connect, Durability, empty_log, make_durable, sqlite_file, storing, sync_folder
from .asked import Asked
from .audit import wall_clock

KEPT = 10_000
"""Answers kept; older ones are forgotten."""

FORMAT = 3
"""Version of the table; raised whenever its columns or their meaning change."""

_COLUMNS = "request_id, reply, checksum, asked, began, goes_on"
_TABLE = (
    "CREATE TABLE answers (number INTEGER PRIMARY KEY, request_id TEXT UNIQUE, reply TEXT, checksum INTEGER, "
    "asked TEXT, began TEXT, goes_on INTEGER)"
)
_NEWER = {
    1: ("ALTER TABLE answers ADD COLUMN checksum INTEGER",),
    2: tuple(f"ALTER TABLE answers ADD COLUMN {column}" for column in ("asked TEXT", "began TEXT", "goes_on INTEGER")),
}
"""What makes a table of this format one of the next."""

_BEGIN = f"INSERT INTO answers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_CHANGE = "UPDATE answers SET reply = ?, checksum = ?, goes_on = ? WHERE request_id = ?"
_ONE = f"SELECT {_COLUMNS} FROM answers WHERE request_id = ?"
_ALL = f"SELECT {_COLUMNS} FROM answers ORDER BY number"
_FORGET = "DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?"


class _Row(NamedTuple):
    """One request as it is kept; the checksum is that of all the others."""

    request_id: str
    reply: str | None
    checksum: int | None
    asked: str | None = None
    began: str | None = None
    goes_on: int | None = None

    def sealed(self) -> _Row:
        kept = f"{self.request_id}|{self.reply}|{self.asked}|{self.began}|{self.goes_on}"
        return self._replace(checksum=zlib.crc32(kept.encode()))


class Answers:
    """Stored answers by request id; the server calls it under its lock.

    Parameters
    ----------
    file
        SQLite file, made if missing; one of an older format is taken over.
    durability
        Whether begun commands and answers survive a power cut (`power`) or a kill (`process`).
    connect
        Opens the file.
    clock
        Gives the time of day, at which a command was begun.

    Raises
    ------
    OutputExists
        If another server has this file open.
    RecordingUnreadable
        If it is damaged, or of a newer format.
    StorageFailed
        If folder or disk do not let it be written; also from `begin` and `store`.
    """

    def __init__(
        self, file: Path, durability: Durability = "power", connect: Connect = sqlite_file,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:  # fmt: skip
        self._file, self._connect, self._clock = file, connect, clock
        self._durability: Durability = durability
        self._rows: sqlite3.Connection | None = None
        self._unsure: set[str] = set()
        self._late: set[str] = set()
        try:
            with storing(file):
                file.touch()
                rows = [_Row(*values) for values in _found(self._usable(), file, _ALL)]
                self._interrupted = tuple(row.request_id for row in rows if row.reply is None)
                self._unsettled = tuple(_interrupted(row) for row in rows if row.reply is None or row.goes_on)
                # File and folder may be new, or left over from when they could not be made whole.
                for folder in file.resolve().parents[:2]:
                    sync_folder(folder)
            for request_id in self._interrupted:
                self.store(request_id, _interruption(request_id), goes_on=True)
        except BaseException:
            self.close()
            raise

    def interrupted(self) -> tuple[str, ...]:
        """Return the requests that were begun and not answered when the file was opened, oldest first."""
        return self._interrupted

    def promise(self, durability: Durability) -> None:
        """Change the durability of what is kept from now on."""
        self._durability = durability
        with storing(self._file):
            make_durable(self._usable(), self._file, durability)

    def unsettled(self) -> tuple[Interruption, ...]:
        """Return what was under way when the file was opened, oldest first, and was not settled since it was begun."""
        return self._unsettled

    def kept(self, request_id: str) -> tuple[Asked | None, Reply | None]:
        """Return what was asked under this id, and the stored answer; both None if it was never begun.

        One that was begun and never answered gives a failed reply with the error `Interrupted`. What was asked is
        None for requests from before that was kept (format 2).

        Raises
        ------
        RecordingUnreadable
            If the answer is damaged.
        """
        row = self._row(request_id)
        if row is None:
            return None, None
        reply = _interruption(request_id) if row.reply is None else Reply.model_validate_json(row.reply)
        return None if row.asked is None else Asked.model_validate_json(row.asked), reply

    def of(self, request_id: str) -> Reply | None:
        """Return the stored answer alone."""
        return self.kept(request_id)[1]

    def begin(self, request_id: str, asked: Asked | None = None) -> None:
        """Keep that this request is going to be done; to be called before anything is done.

        After `StorageFailed` nothing was begun, and it may be begun again.
        """
        told = None if asked is None else asked.model_dump_json()
        began = self._clock().isoformat(timespec="seconds")
        self._unsure.add(request_id)
        self._keep((_BEGIN, tuple(_Row(request_id, None, None, told, began, 0).sealed())))
        self._unsure.discard(request_id)

    def store(self, request_id: str, reply: Reply, goes_on: bool = False) -> None:
        """Keep the answer to this request, to be called before it is announced; an answer given is never changed.

        After `StorageFailed` it may be stored again.

        Parameters
        ----------
        request_id, reply
            What was asked and answered.
        goes_on
            Whether what it began goes on after it, until `settle`.
        """
        before = self._row(request_id, even_unsure=True) or _Row(request_id, None, None)
        if before.reply is None:
            row = before._replace(reply=reply.model_dump_json(), goes_on=int(goes_on)).sealed()
            self._keep((_BEGIN, tuple(row)), _changed(row))
        self._unsure.discard(request_id)

    def settle(self, *request_ids: str) -> None:
        """Keep that nothing of these requests goes on or is untold any more; a disk that is full hears of it later."""
        self._late.update(request_ids)
        # A file that has become damaged is told to whoever asks for a command next.
        with suppress(StorageFailed, RecordingUnreadable):
            self._keep()

    def close(self) -> None:
        """Close the file; may be repeated."""
        rows, self._rows = self._rows, None
        if rows is not None:
            # Closing tidies up; a disk that fails then has already told.
            with suppress(sqlite3.Error):
                rows.close()

    def _row(self, request_id: str, even_unsure: bool = False) -> _Row | None:
        if request_id in self._unsure and not even_unsure:
            return None
        with storing(self._file):
            found = _found(self._usable(), self._file, _ONE, request_id)
        return _checked(self._file, _Row(*found[0])) if found else None

    def _keep(self, *steps: tuple[str, tuple[str | int | None, ...]]) -> None:
        with storing(self._file):
            rows, late = self._usable(), tuple(self._late)
            try:
                rows.execute("BEGIN IMMEDIATE")
                for words, values in steps:
                    rows.execute(words, values)
                for request_id in late:
                    for values in rows.execute(_ONE, (request_id,)).fetchall():
                        rows.execute(*_changed(_Row(*values)._replace(goes_on=0).sealed()))
                rows.execute(_FORGET, (KEPT,))
                rows.execute("COMMIT")
            except BaseException:
                # What the disk has of it is found when the file is opened afresh, as after a crash.
                self.close()
                raise
            self._late.difference_update(late)

    def _usable(self) -> sqlite3.Connection:
        if self._rows is None:
            self._rows = self._opened()
        return self._rows

    def _opened(self) -> sqlite3.Connection:
        rows = self._connect(self._file)
        try:
            rows.execute("PRAGMA busy_timeout = 200")
            rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            make_durable(rows, self._file, self._durability)
            empty_log(rows, self._file)
            self._prepare(rows)
        except (sqlite3.DatabaseError, UnicodeError) as error:
            rows.close()
            raise _meaning(self._file, error) from None
        except BaseException:
            rows.close()
            raise
        return rows

    def _prepare(self, rows: sqlite3.Connection) -> None:
        """Make or take over the table, and check what is in it."""
        found = rows.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise RecordingUnreadable(
                f"{self._file} has format {found}, this beamloop reads up to {FORMAT}; install the one that wrote it"
            )
        if found < FORMAT:
            self._renew(rows, found)
        # Finds what checksums cannot: a request that its index no longer leads to would be done twice.
        said = rows.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise _damaged(self._file, said)
        for values in rows.execute(_ALL):
            _checked(self._file, _Row(*values))

    def _renew(self, rows: sqlite3.Connection, found: int) -> None:
        """Make the table, or make an older one, which has number 0 or that of its format, into one of today."""
        is_old = rows.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'answers'").fetchone()[0]
        rows.execute("BEGIN IMMEDIATE")
        if not is_old:
            rows.execute(_TABLE)
        for older in range(max(found, 1), FORMAT) if is_old else ():
            for step in _NEWER[older]:
                rows.execute(step)
        for values in rows.execute(_ALL).fetchall():
            row = _Row(*values)
            if found == 2 and row.checksum != (None if row.reply is None else _checksum_of_format_2(row)):
                raise _damaged(self._file, f"the answer to request {row.request_id} fails its checksum")
            rows.execute(*_changed(row.sealed()))
        rows.execute(f"PRAGMA user_version = {FORMAT}")
        rows.execute("COMMIT")


def _found(rows: sqlite3.Connection, file: Path, words: str, *values: str) -> list[tuple[Any, ...]]:
    try:
        return rows.execute(words, values).fetchall()
    except (sqlite3.DatabaseError, UnicodeError) as error:
        raise _meaning(file, error) from None


def _changed(row: _Row) -> tuple[str, tuple[str | int | None, ...]]:
    return _CHANGE, (row.reply, row.checksum, row.goes_on, row.request_id)


def _meaning(file: Path, error: sqlite3.DatabaseError | UnicodeError) -> Exception:
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    if name.startswith("SQLITE_BUSY"):
        return OutputExists(f"{file} is in use; another server is running on this folder: end it first")
    if name.startswith(("SQLITE_ERROR", "SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged(file, str(error))
    return error


def _checked(file: Path, row: _Row) -> _Row:
    if row != row.sealed():
        raise _damaged(file, f"the answer to request {row.request_id} fails its checksum")
    return row


def _checksum_of_format_2(row: _Row) -> int:
    return zlib.crc32(f"{row.request_id}|{row.reply}".encode())


def _damaged(file: Path, what: str) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"{file} is damaged: {what}. See what the instrument is doing, then move the file away: requests made before "
        "are then no longer known, so repeat none of them"
    )


def _interrupted(row: _Row) -> Interruption:
    asked = None if row.asked is None else Asked.model_validate_json(row.asked)
    client, what = ("", "a command") if asked is None else (asked.client, asked.what)
    return Interruption(request_id=row.request_id, client=client, what=what, began=row.began or "")


def _interruption(request_id: str) -> Reply:
    return Reply(
        status="failed",
        error=Interrupted.__name__,
        message=f"request {request_id} was begun, and the server or driver ended before it was answered; whether it "
        "was done is not known. See what the instrument is doing, then ask under a new request id",
    )
