"""The instrument computer's disk, which can be full for a while: audit, answers, dose and spilled frames lie on it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from beamloop.core import storage

ENOUGH = 20
"""A full disk takes a part of what is longer than this before it refuses the rest."""


class Disk:
    """What programs of one computer write through.

    Attributes
    ----------
    full_since_s
        Since when it takes nothing more, None if it does; what is there can be read, and written over in place.
    """

    def __init__(self) -> None:
        self.full_since_s: float | None = None

    def places(self) -> dict[Any, Any]:
        """Return what of the programs writes here."""
        return {os: SimpleNamespace(**vars(os) | {"write": self._write}), storage.sqlite_file: self._rows,
                FileIO: self._file()}  # fmt: skip

    def _refuse(self) -> None:
        if self.full_since_s is not None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _write(self, number: int, data: memoryview) -> int:
        if self.full_since_s is not None and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND:
            if len(data) <= ENOUGH:
                self._refuse()
            data = data[:ENOUGH]
        return os.write(number, data)

    def _file(self) -> type[FileIO]:
        disk = self

        class Fillable(FileIO):
            def write(self, data: Any, /) -> int:
                disk._refuse()
                return super().write(data)

        return Fillable

    def _rows(self, file: Path) -> sqlite3.Connection:
        disk = self

        class Fillable(sqlite3.Connection):
            def execute(self, words: str, *values: Any) -> sqlite3.Cursor:
                if disk.full_since_s is not None and words.startswith(("COMMIT", "CREATE")):
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(words, *values)

        uri = f"{file.resolve().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, factory=Fillable)
