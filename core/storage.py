"""SQLite files that are written to: how they are opened, how durable a commit is, what a failure means.

Durability is stated, not hoped for. `power`: a commit returns when the disk has it
(synchronous=FULL). `process`: it survives any kill of the process, and a power cut may take the
last moments (synchronous=NORMAL). Both use write-ahead logging, so that readers never wait.

Whatever the disk refuses becomes `StorageFailed`, with what to do about it.

Source: https://www.sqlite.org/pragma.html#pragma_synchronous and https://www.sqlite.org/rescode.html.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from .errors import StorageFailed

Durability = Literal["power", "process"]

Connect = Callable[[Path], sqlite3.Connection]
"""Opens an existing SQLite file for writing; a test gives one with a disk that fails."""

_REMEDIES = {
    "SQLITE_FULL": "its disk is full: make space, then go on",
    "SQLITE_READONLY": "make file and folder writable, then go on",
    "SQLITE_CANTOPEN": "see that its folder is there and writable, then go on",
    "SQLITE_IOERR": "its disk failed or is gone: see that it is there and has space, then go on",
    "SQLITE_BUSY": "another program holds it: end that, then go on",
    "SQLITE_CORRUPT": "the file is damaged: put it aside and begin a new one",
    "SQLITE_NOTADB": "the file is damaged: put it aside and begin a new one",
}

LOG_PAGES = 10_000
"""Pages of 4 KiB in the write-ahead log before the file itself takes them, which makes one commit wait for the disk.

With the 1,000 of SQLite that was every hundredth command.
"""

_NAMES = {
    errno.ENOSPC: "SQLITE_FULL",
    errno.EDQUOT: "SQLITE_FULL",
    errno.EROFS: "SQLITE_READONLY",
    errno.EACCES: "SQLITE_READONLY",
    errno.EPERM: "SQLITE_READONLY",
    errno.ENOENT: "SQLITE_CANTOPEN",
}


def sqlite_file(file: Path) -> sqlite3.Connection:
    """Return a connection to an existing file that any thread may use and that commits when told."""
    uri = f"{file.resolve().as_uri()}?mode=rw"
    rows = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    rows.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    return rows


def make_durable(rows: sqlite3.Connection, file: Path, durability: Durability) -> None:
    """Set a connection to write-ahead logging with this durability.

    Raises
    ------
    StorageFailed
        If the disk cannot do write-ahead logging.
    """
    # The change to logging itself must last: EXTRA also syncs the name of the rollback journal away.
    rows.execute("PRAGMA synchronous = EXTRA")
    mode = rows.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    # SQLite says "wal" even when a sync failed and nothing was changed; -1 pages of log tell.
    pages = rows.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    if mode != "wal" or pages < 0:
        raise StorageFailed(
            f"{file}: its disk does no write-ahead logging (SQLite says {mode!r}): if it is full or failing, mend that "
            "and try again, otherwise use a local disk"
        )
    rows.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    # Where a plain sync stops at the drive's own cache (macOS), ask for more; elsewhere it changes nothing.
    rows.execute(f"PRAGMA fullfsync = {'ON' if durability == 'power' else 'OFF'}")


def empty_log(rows: sqlite3.Connection, file: Path) -> None:
    """Have the file itself take what lies in its write-ahead log, and the disk forget the log.

    After a sync that failed, the system may hold the log in memory only and never bring it to the
    disk, though later syncs succeed. What was read from such a log must not be trusted to it.

    Raises
    ------
    StorageFailed
        If somebody reads the file and does not end.

    Source: Rebello et al., "Can applications recover from fsync failures?", USENIX ATC 2020.
    """
    busy = rows.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise StorageFailed(f"{file}: somebody reads it and does not end; end that, then go on")
    log = file.with_name(f"{file.name}-wal")
    if log.exists():
        _sync(log, os.O_RDWR)


@contextmanager
def storing(file: Path) -> Iterator[None]:
    """Turn whatever the disk refuses within the block into `StorageFailed`.

    Raises
    ------
    StorageFailed
        With the file, what SQLite or the system said, and what to do.
    """
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        raise _failure(file, str(error), getattr(error, "sqlite_errorname", "")) from error
    except OSError as error:
        raise _failure(file, error.strerror or str(error), _NAMES.get(error.errno or 0, "SQLITE_IOERR")) from error


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names of new files in a folder; does nothing where folders cannot be synced."""
    if os.name == "nt":
        return
    # Who may not list a folder has put nothing new into it.
    with suppress(PermissionError):
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _failure(file: Path, said: str, name: str) -> StorageFailed:
    remedy = next((words for code, words in _REMEDIES.items() if name.startswith(code)), "see to its disk, then go on")
    return StorageFailed(f"{file} could not be written: {said}{f' ({name})' if name else ''}; {remedy}")
