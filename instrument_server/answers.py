"""Every command is answered once: it is begun, then done, and its answer is stored before it is announced.

A client that lost a reply asks again with the same request id and gets the first answer;
nothing is done twice. Kept in SQLite, so it also holds across a restart of the server. A command
that was begun and never answered, because the server or its driver died on it, is *interrupted*: what
became of it is not known, and whoever asks again is told so instead of doing it a second time.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core import Interrupted, OutputExists, RecordingUnreadable, Reply
from ..core.storage import Connect, Durability, empty_log, make_durable, sqlite_file, storing, sync_folder

KEPT = 10_000
"""Answers kept; older ones are forgotten."""

FORMAT = 2
"""Version of the table; raised whenever its columns or their meaning change."""

_TABLE = "CREATE TABLE answers (number INTEGER PRIMARY KEY, request_id TEXT UNIQUE, reply TEXT, checksum INTEGER)"
_FROM_FORMAT_1 = "ALTER TABLE answers ADD COLUMN checksum INTEGER"
_BEGIN = "INSERT INTO answers (request_id) VALUES (?) ON CONFLICT DO NOTHING"
_STORE = (
    "INSERT INTO answers (request_id, reply, checksum) VALUES (?, ?, ?) ON CONFLICT (request_id) "
    "DO UPDATE SET reply = excluded.reply, checksum = excluded.checksum WHERE answers.reply IS NULL"
)
_ANSWER = "SELECT reply, checksum FROM answers WHERE request_id = ?"
_UNANSWERED = "SELECT request_id FROM answers WHERE reply IS NULL ORDER BY number"
_FORGET = "DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?"


class Answers:
    """Stored answers by request id; the server calls it under its lock.

    Parameters
    ----------
    file
        SQLite file, made if missing; one of format 1 is taken over.
    durability
        Whether begun commands and answers survive a power cut (`power`) or a kill (`process`).
    connect
        Opens the file.

    Raises
    ------
    OutputExists
        If another server has this file open.
    RecordingUnreadable
        If it is damaged, or of a newer format.
    StorageFailed
        If folder or disk do not let it be written; also from `begin` and `store`.
    """

    def __init__(self, file: Path, durability: Durability = "power", connect: Connect = sqlite_file) -> None:
        self._file, self._connect = file, connect
        self._durability: Durability = durability
        self._rows: sqlite3.Connection | None = None
        self._unsure: set[str] = set()
        try:
            with storing(file):
                file.touch()
                self._interrupted = tuple(name for (name,) in _asked(self._usable(), file, _UNANSWERED))
                # File and folder may be new, or left over from when they could not be made whole.
                for folder in file.resolve().parents[:2]:
                    sync_folder(folder)
            for request_id in self._interrupted:
                self.store(request_id, _interruption(request_id))
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

    def of(self, request_id: str) -> Reply | None:
        """Return the stored answer to this request; None if it was never begun.

        One that was begun and never answered gives a failed reply with the error `Interrupted`.

        Raises
        ------
        RecordingUnreadable
            If the answer is damaged.
        """
        row = self._row(request_id)
        if row is None:
            return None
        return _checked(self._file, request_id, *row)

    def begun(self, request_id: str) -> bool:
        """Tell whether this request was begun, answered or not."""
        return self._row(request_id) is not None

    def begin(self, request_id: str) -> None:
        """Keep that this request is going to be done; to be called before anything is done.

        After `StorageFailed` nothing was begun, and it may be begun again.
        """
        self._unsure.add(request_id)
        self._keep(_BEGIN, (request_id,))
        self._unsure.discard(request_id)

    def store(self, request_id: str, reply: Reply) -> None:
        """Keep the answer to this request, to be called before it is announced; an answer given is never changed.

        After `StorageFailed` it may be stored again.
        """
        text = reply.model_dump_json()
        self._keep(_STORE, (request_id, text, _checksum(request_id, text)))
        self._unsure.discard(request_id)

    def close(self) -> None:
        """Close the file; may be repeated."""
        rows, self._rows = self._rows, None
        if rows is not None:
            # Closing tidies up; a disk that fails then has already told.
            with suppress(sqlite3.Error):
                rows.close()

    def _row(self, request_id: str) -> tuple[str | None, int | None] | None:
        if request_id in self._unsure:
            return None
        with storing(self._file):
            found = _asked(self._usable(), self._file, _ANSWER, request_id)
        return found[0] if found else None

    def _keep(self, words: str, values: tuple[str | int, ...]) -> None:
        with storing(self._file):
            rows = self._usable()
            try:
                rows.execute("BEGIN IMMEDIATE")
                rows.execute(words, values)
                rows.execute(_FORGET, (KEPT,))
                rows.execute("COMMIT")
            except BaseException:
                # What the disk has of it is found when the file is opened afresh, as after a crash.
                self.close()
                raise

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
            is_old = rows.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'answers'").fetchone()[0]
            rows.execute("BEGIN IMMEDIATE")
            rows.execute(_FROM_FORMAT_1 if is_old else _TABLE)
            old = rows.execute("SELECT request_id, reply FROM answers").fetchall()
            sums = [(_checksum(request_id, reply), request_id) for request_id, reply in old]
            rows.executemany("UPDATE answers SET checksum = ? WHERE request_id = ?", sums)
            rows.execute(f"PRAGMA user_version = {FORMAT}")
            rows.execute("COMMIT")
        # Finds what checksums cannot: a request that its index no longer leads to would be done twice.
        said = rows.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise _damaged(self._file, said)
        for request_id, reply, checksum in rows.execute("SELECT request_id, reply, checksum FROM answers"):
            _checked(self._file, request_id, reply, checksum)


def _asked(rows: sqlite3.Connection, file: Path, words: str, *values: str) -> list[tuple[Any, ...]]:
    try:
        return rows.execute(words, values).fetchall()
    except (sqlite3.DatabaseError, UnicodeError) as error:
        raise _meaning(file, error) from None


def _meaning(file: Path, error: sqlite3.DatabaseError | UnicodeError) -> Exception:
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    if name.startswith("SQLITE_BUSY"):
        return OutputExists(f"{file} is in use; another server is running on this folder: end it first")
    if name.startswith(("SQLITE_ERROR", "SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged(file, str(error))
    return error


def _checked(file: Path, request_id: str, text: str | None, checksum: int | None) -> Reply:
    if checksum != (None if text is None else _checksum(request_id, text)):
        raise _damaged(file, f"the answer to request {request_id} fails its checksum")
    return _interruption(request_id) if text is None else Reply.model_validate_json(text)


def _checksum(request_id: str, text: str) -> int:
    return zlib.crc32(f"{request_id}|{text}".encode())


def _damaged(file: Path, what: str) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"{file} is damaged: {what}. See what the instrument is doing, then move the file away: requests made before "
        "are then no longer known, so repeat none of them"
    )


def _interruption(request_id: str) -> Reply:
    return Reply(
        status="failed",
        error=Interrupted.__name__,
        message=f"request {request_id} was begun, and the server or driver ended before it was answered; whether it "
        "was done is not known. See what the instrument is doing, then ask under a new request id",
    )
