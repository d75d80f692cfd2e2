"""Beside a journal lies its mark: who writes it, and how far it went.

The writer holds a lock on the mark for as long as it writes. The system lets go of it when
the process ends, however it ends, so a killed writer never stands in the way of the next.

After each commit the mark takes number and checksum of the last event. SQLite drops a damaged
end of its write-ahead log without a word, and a lost one even more so; a journal that ends before
its mark has lost something. The mark itself is not synced: after a power cut it may lag behind,
which is harmless.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from ...core import OutputExists
from ...core.closing import Closing

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 1 << 30
"""Where Windows locks, far behind the text, so that everybody can read that."""

_SIZE = 64

GLANCE_S = 0.2
"""Longer than anybody needs to look who holds a lock."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a journal went: number and checksum of its last event."""

    seq: int
    checksum: int


def mark_file(journal: Path) -> Path:
    """Return where the mark of a journal lies."""
    return journal.with_name(f"{journal.name}-mark")


def mark_of(journal: Path) -> Mark | None:
    """Return the mark beside a journal; None if there is none, or none that can be read."""
    try:
        said, _, check = mark_file(journal).read_bytes().strip().rpartition(b" ")
    except OSError:
        return None
    if check != b"%08x" % zlib.crc32(said):
        return None
    seq, checksum, _ = map(int, said.split())
    return Mark(seq, checksum)


class Claim(Closing):
    """The right to write a journal, held by one process at a time.

    Parameters
    ----------
    journal
        The journal; its mark is made if missing.

    Raises
    ------
    OutputExists
        If another process, or another part of this one, writes this journal.
    OSError
        If the mark cannot be made.
    """

    def __init__(self, journal: Path) -> None:
        self._file = os.open(mark_file(journal), os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            _lock_soon(self._file)
        except OSError as error:
            holder = os.read(self._file, _SIZE).split()[2:3]
            self.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            who = f"process {holder[0].decode()}" if holder else "another process"
            raise OutputExists(
                f"{journal} is being written by {who}; a journal has one writer: wait for it to end, or end it"
            ) from None

    def put(self, mark: Mark) -> None:
        """Write down how far the journal went."""
        said = b"%d %d %d" % (mark.seq, mark.checksum, os.getpid())
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, (said + b" %08x" % zlib.crc32(said)).ljust(_SIZE - 1) + b"\n")

    def close(self) -> None:
        """Let the next writer in."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _lock_soon(file: int) -> None:
    """Take the lock, giving way to somebody who only looks who holds it."""
    until_s = time.monotonic() + GLANCE_S
    while True:
        try:
            _lock(file)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES) or time.monotonic() > until_s:
                raise
            time.sleep(GLANCE_S / 10)


def _lock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def writing_process(journal: Path) -> int | None:
    """Return the number of the process that writes a journal, 0 if it cannot be told; None if none does."""
    try:
        mark = os.open(mark_file(journal), os.O_RDWR | getattr(os, "O_BINARY", 0))
    except OSError:
        # Nobody can write where nothing can be opened for writing.
        return None
    try:
        _lock(mark)
    except OSError:
        said = os.read(mark, _SIZE).split()
        return int(said[2]) if len(said) > 2 else 0
    finally:
        os.close(mark)
    return None
