"""Every command is answered once: the answer is stored before it is announced.

A client that lost a reply asks again with the same request id and gets the first answer;
nothing is done twice. Kept in SQLite, so it also holds across a restart of the server.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..core import OutputExists, Reply

KEPT = 10_000
"""Answers kept; older ones are forgotten."""


class Answers:
    """Stored answers by request id; the server calls it under its lock.

    Parameters
    ----------
    file
        SQLite file, made if missing.

    Raises
    ------
    OutputExists
        If another server has this file open.
    """

    def __init__(self, file: Path) -> None:
        self._rows = sqlite3.connect(file, check_same_thread=False, isolation_level=None, timeout=0.2)
        try:
            self._rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = NORMAL")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, request_id TEXT UNIQUE, reply TEXT)"
            )
        except sqlite3.OperationalError as error:
            self._rows.close()
            raise OutputExists(
                f"{file} cannot be used ({error}); another server may be running on this folder"
            ) from None

    def of(self, request_id: str) -> Reply | None:
        """Return the stored answer to this request; None if it was never answered."""
        row = self._rows.execute("SELECT reply FROM answers WHERE request_id = ?", (request_id,)).fetchone()
        return None if row is None else Reply.model_validate_json(row[0])

    def store(self, request_id: str, reply: Reply) -> None:
        """Keep the answer to this request."""
        added = self._rows.execute(
            "INSERT INTO answers (request_id, reply) VALUES (?, ?)", (request_id, reply.model_dump_json())
        )
        self._rows.execute("DELETE FROM answers WHERE number <= ?", ((added.lastrowid or 0) - KEPT,))

    def close(self) -> None:
        """Close the file."""
        self._rows.close()
