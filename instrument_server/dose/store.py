"""The dose map on disk: what was charged survives a kill of the server at any moment.

Before a scan begins its whole dose is charged and its name noted, in one commit; when it has
ended, what it did not use is given back and the name is struck out, in one commit. So after a
kill in between the map holds the full charge, and the names that are still there tell of
which scans nobody knows how they ended.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from ...core import OutputExists, RecordingUnreadable, SettingsInvalid, StorageFailed
from ...core.storage import Connect, Durability, empty_log, make_durable, sqlite_file, storing, sync_folder
from .map import TILE, Cells, Tile

FORMAT = 1
"""Version of the tables; raised whenever their columns or their meaning change."""

_TABLES = (
    "CREATE TABLE tiles (y INTEGER, x INTEGER, electrons BLOB, checksum INTEGER, PRIMARY KEY (y, x))",
    "CREATE TABLE begun (scan_id TEXT PRIMARY KEY)",
    "CREATE TABLE specimen (name TEXT, since TEXT, cell_m REAL)",
)
_KEEP = "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)"


class DoseStore:
    """Keeps the tiles of one specimen; one thread at a time may call it.

    After a `StorageFailed` nothing was changed, or all of it: read `tiles` again.

    Parameters
    ----------
    file
        SQLite file, made if missing.
    cell_m
        Side of the map's cells, which a file keeps for as long as its specimen.
    durability
        What a commit survives: a power cut or a kill.
    connect
        Opens the file.

    Raises
    ------
    SettingsInvalid
        If the file was begun with cells of another size.
    OutputExists
        If another server has it open.
    RecordingUnreadable
        If it is damaged, or of a newer format.
    StorageFailed
        If it cannot be written; also from every other method.
    """

    def __init__(
        self, file: Path, cell_m: float, durability: Durability = "power", connect: Connect = sqlite_file
    ) -> None:
        self._file, self._cell_m, self._connect = file, cell_m, connect
        self._durability: Durability = durability
        self._rows: sqlite3.Connection | None = None
        self._closed = False
        try:
            with storing(file):
                file.touch()
                self._usable()
                sync_folder(file.resolve().parent)
            self.unsettled = tuple(name for (name,) in self._usable().execute("SELECT scan_id FROM begun"))
            if self.unsettled:
                self.settle(self.unsettled, {})
        except BaseException:
            self.close()
            raise

    def tiles(self) -> dict[Tile, Cells]:
        """Return every tile."""
        with storing(self._file):
            rows = self._usable().execute("SELECT y, x, electrons, checksum FROM tiles").fetchall()
        return {(y, x): _tile(self._file, y, x, data, checksum) for y, x, data, checksum in rows}

    def specimen(self) -> tuple[str, str]:
        """Return the name of the specimen and since when it is there, ISO 8601; both empty if nobody said."""
        with storing(self._file):
            name, since = self._usable().execute("SELECT name, since FROM specimen").fetchone()
        return name, since

    def begin(self, scan_id: str, tiles: Mapping[Tile, Cells]) -> None:
        """Keep the full charge of a scan that is going to be exposed."""
        self._change(tiles, ("INSERT INTO begun VALUES (?)", (scan_id,)))

    def settle(self, scan_ids: tuple[str, ...], tiles: Mapping[Tile, Cells]) -> None:
        """Keep what scans cost in the end, or that they stay charged as they are."""
        self._change(tiles, *(("DELETE FROM begun WHERE scan_id = ?", (name,)) for name in scan_ids))

    def exchange(self, name: str, since: str) -> None:
        """Forget the map and begin another specimen."""
        self._change(
            {}, ("DELETE FROM tiles", ()), ("DELETE FROM begun", ()),
            ("UPDATE specimen SET name = ?, since = ?", (name, since)),
        )  # fmt: skip

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            # Closing tidies up; a disk that fails then has already told.
            with suppress(sqlite3.Error):
                rows.close()

    def _change(self, tiles: Mapping[Tile, Cells], *words: tuple[str, tuple[str, ...]]) -> None:
        with storing(self._file):
            rows = self._usable()
            try:
                rows.execute("BEGIN IMMEDIATE")
                for (y, x), cells in tiles.items():
                    data = cells.astype("<f8").tobytes()
                    rows.execute(_KEEP, (y, x, data, _checksum(y, x, data)))
                for sentence, values in words:
                    rows.execute(sentence, values)
                rows.execute("COMMIT")
            except BaseException:
                # What the disk has of it is found when the file is opened afresh, as after a crash.
                self._drop()
                raise

    def _usable(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageFailed(f"{self._file} is closed: the server is ending")
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
        except sqlite3.DatabaseError as error:
            rows.close()
            raise _meaning(self._file, error) from None
        except BaseException:
            rows.close()
            raise
        return rows

    def _prepare(self, rows: sqlite3.Connection) -> None:
        """Make the tables if they are missing, and check what is in them."""
        found = rows.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise RecordingUnreadable(
                f"{self._file} has format {found}, this beamloop reads up to {FORMAT}; install the one that wrote it"
            )
        if found < FORMAT:
            rows.execute("BEGIN IMMEDIATE")
            for words in _TABLES:
                rows.execute(words)
            rows.execute("INSERT INTO specimen VALUES ('', '', ?)", (self._cell_m,))
            rows.execute(f"PRAGMA user_version = {FORMAT}")
            rows.execute("COMMIT")
        if rows.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise _damaged(self._file)
        cell_m = rows.execute("SELECT cell_m FROM specimen").fetchone()[0]
        if cell_m != self._cell_m:
            raise SettingsInvalid(
                f"dose.cell_m = {self._cell_m:g} m, but {self._file} was begun with cells of {cell_m:g} m: set that "
                "again, or move the file away if the specimen was exchanged"
            )


def _tile(file: Path, y: int, x: int, data: bytes, checksum: int) -> Cells:
    if _checksum(y, x, data) != checksum:
        raise _damaged(file)
    return np.frombuffer(data, dtype="<f8").reshape(TILE, TILE).astype(np.float64)


def _checksum(y: int, x: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(f"{y}|{x}".encode()))


def _meaning(file: Path, error: sqlite3.DatabaseError) -> Exception:
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    if name.startswith("SQLITE_BUSY"):
        return OutputExists(f"{file} is in use; another server is running on this folder: end it first")
    if name.startswith(("SQLITE_ERROR", "SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged(file)
    return error


def _damaged(file: Path) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"{file} is damaged: what dose the specimen has had is no longer known. Exchange the specimen, or lower the "
        "budget by what it may have had, then move the file away"
    )
