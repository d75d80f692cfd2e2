"""A disk that loses its power or fails on purpose, under the code that really writes.

A file system for SQLite that passes everything on to real files and remembers what a real disk
would not have yet: writes and truncations since the last sync, names since the last sync of
their folder. `cut` makes what the disk holds after a power cut at this very moment: of every
write that was not synced, each sector of 512 bytes is kept, dropped or torn at random; names
and truncations that were not synced may be there or not.

Source: the crash tests of SQLite, https://www.sqlite.org/testing.html (section 3.3), and
under SQLite's assumption that a write leaves the bytes around it alone ("powersafe overwrite").
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from beamloop.core.storage import Connect

SECTOR = 512
CRASHES = int(os.environ.get("BEAMLOOP_CRASHES", "20"))
"""How many power cuts a test makes; BEAMLOOP_CRASHES=200 for the long form."""

_rename = os.rename
_numbers = itertools.count()


@dataclass
class Held:
    """One file as the disk has it: what is certain, and what came since (offset and bytes, or a size)."""

    named: bool = False
    certain: bytes = b""
    since: list[tuple[int, bytes] | int] = field(default_factory=list)

    def after(self, keep: float, rng: random.Random) -> bytes:
        """Return what is found after a power cut, when a sector is kept with this probability."""
        found = bytearray(self.certain)
        for change in self.since:
            if isinstance(change, int):
                if rng.random() < keep:
                    del found[change:]
                continue
            for offset, data in _sectors(*change):
                fate = rng.random()
                if fate < keep:
                    _put(found, offset, data)
                elif fate < keep + 0.3 * (1 - keep):
                    cut = rng.randrange(len(data))
                    start, torn = (offset, data[:cut]) if rng.random() < 0.5 else (offset + cut, data[cut:])
                    _put(found, start, torn)
        return bytes(found)


class Disk(apsw.VFS):
    """The disk under one folder.

    Parameters
    ----------
    folder
        Where its files are; what is there now is certain.
    synchronous
        Overrides what the code under test asks SQLite for.
    """

    def __init__(self, folder: Path, synchronous: str | None = None) -> None:
        self.folder, self.calls = folder.resolve(), 0
        self.trouble: Callable[[int], None] = lambda call: None
        self._name, self._synchronous = f"failing-{next(_numbers)}", synchronous
        self._held = {p.name: [Held(True, p.read_bytes())] for p in folder.iterdir() if p.is_file()}
        self._gone: set[str] = set()
        super().__init__(self._name, "")

    def connect(self, file: Path) -> sqlite3.Connection:
        """Open a file on this disk; for the `connect` of the code under test."""
        with _as_sqlite3():
            flags = apsw.SQLITE_OPEN_READWRITE
            rows = apsw.Connection(str(file.resolve()), flags=flags, vfs=self._name)
            # Shared memory is not modelled; alone, SQLite does without it. Checkpoint often.
            rows.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 8")
        return cast(sqlite3.Connection, _Connection(rows, self._synchronous))

    @contextmanager
    def mounted(self) -> Iterator[Connect]:
        """See to it that what the code under test syncs by itself reaches this disk as well."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", self._fsync)
            patch.setattr(os, "rename", self._rename)
            yield self.connect

    def fail_at(self, first: int, times: int, code: int) -> None:
        """Fail so many calls from the first one on."""

        def trouble(call: int) -> None:
            if first <= call < first + times:
                raise apsw.exception_for(code)

        self.trouble = trouble

    def cut(self, to: Path, rng: random.Random) -> None:
        """Put into a new folder what the disk holds if the power goes now."""
        to.mkdir()
        keep = rng.choice([0.0, 1.0, rng.random(), rng.random()])
        for name, states in self._held.items():
            held = states[-1]
            if not held.named or name in self._gone:
                held = rng.choice([*states, None])
            if held is not None:
                (to / name).write_bytes(held.after(keep, rng))

    def called(self) -> None:
        """Count a call that may fail."""
        self.calls += 1
        self.trouble(self.calls)

    def held(self, name: str) -> Held:
        """Return what is known of the file of this name."""
        if name not in self._held or name in self._gone:
            self.renew(name)
        return self._held[name][-1]

    def renew(self, name: str) -> None:
        """Take the file of this name for a new, empty one; the disk may still have the one before."""
        self._held.setdefault(name, []).append(Held())
        self._gone.discard(name)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open a real file, watched."""
        return _File(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        """Delete a file; without a sync of the folder the disk may still have it."""
        self.called()
        super().xDelete(name, syncdir)
        self._gone.add(Path(name).name)
        if syncdir:
            self._held.pop(Path(name).name, None)

    def sync(self, name: str) -> None:
        """Have the disk keep what a file holds, or fail."""
        held = self.held(name)
        try:
            self.called()
        except apsw.Error:
            # As Linux does: what a failed sync did not bring to the disk is not tried again, but can be read.
            held.since = []
            raise
        held.certain, held.since = held.after(1.0, random.Random()), []

    def _rename(self, old: Path, new: Path) -> None:
        _rename(old, new)
        if Path(new).parent.resolve() == self.folder:
            # Until the folder is synced, the disk may have it under the old name, the new one, or none.
            held = self.held(Path(old).name)
            self._gone.add(Path(old).name)
            self._held.setdefault(Path(new).name, []).append(Held(False, held.certain, held.since))

    def _fsync(self, number: int) -> None:
        found = os.fstat(number)
        try:
            if os.path.samestat(found, self.folder.stat()):
                self._sync_names()
            for path in self.folder.iterdir():
                if os.path.samestat(found, path.stat()):
                    self.sync(path.name)
        except apsw.Error as error:
            raise OSError(errno.EIO, "Input/output error") from error

    def _sync_names(self) -> None:
        self.called()
        there = {path.name for path in self.folder.iterdir() if path.is_file()}
        self._held = {name: [self.held(name)] for name in there}
        self._gone.clear()
        for [held] in self._held.values():
            held.named = True


class _File(apsw.VFSFile):
    """One open file of a `Disk`."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk, self._path = disk, Path(name.filename() if hasattr(name, "filename") else name)
        if not self._path.exists() or self._path.stat().st_size == 0:
            disk.renew(self._path.name)
        super().__init__("", name, flags)
        # SQLite's own file system syncs the folder with the first sync of a log it made.
        self._names_itself = bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))

    @property
    def _held(self) -> Held:
        return self._disk.held(self._path.name)

    def xWrite(self, data: bytes, offset: int) -> None:
        try:
            self._disk.called()
        except apsw.Error:
            # A write that fails may have done half of its work.
            self._write(data[: len(data) // 2], offset)
            raise
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        self._held.since.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.called()
        self._held.since.append(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.sync(self._path.name)
        self._held.named |= self._names_itself

    def xSectorSize(self) -> int:
        return SECTOR


class _Connection:
    """An apsw connection that looks like the standard library's, as far as our code uses that."""

    def __init__(self, rows: apsw.Connection, synchronous: str | None) -> None:
        self._rows, self._synchronous = rows, synchronous

    def execute(self, words: str, values: tuple[Any, ...] = ()) -> apsw.Cursor:
        if self._synchronous and words.startswith("PRAGMA synchronous"):
            words = f"PRAGMA synchronous = {self._synchronous}"
        with _as_sqlite3():
            return self._rows.execute(words, values)

    def executemany(self, words: str, values: Any) -> None:
        with _as_sqlite3():
            self._rows.executemany(words, values)

    def executescript(self, words: str) -> None:
        self.execute(words)

    def close(self) -> None:
        with _as_sqlite3():
            self._rows.close()


@contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        code = getattr(error, "extendedresult", 0) or getattr(error, "result", 0)
        twin = sqlite3.OperationalError(str(error) or type(error).__name__)
        names = {**apsw.mapping_result_codes, **apsw.mapping_extended_result_codes}
        twin.sqlite_errorcode, twin.sqlite_errorname = code, str(names.get(code, ""))
        raise twin from error


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
        yield offset + start, data[start:end]
        start = end


def _put(found: bytearray, offset: int, data: bytes) -> None:
    found.extend(bytes(max(0, offset - len(found))))
    found[offset : offset + len(data)] = data
