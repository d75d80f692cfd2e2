"""The bytes of a file for a writer that must not hear of a failing disk.

HDF5 loses its bearings when a write fails, to the point of a segmentation fault when it closes. This
file takes every write: from the first one that the disk refuses they stay in memory, and `check` tells
the owner, who then throws the file away.
"""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class PatientFile(FileIO):
    """A new file, for reading and writing; for one thread.

    Parameters
    ----------
    path
        Written over if it is there.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the error with which the disk refused a write; return if it took them all.

        Raises
        ------
        OSError
            As the disk gave it.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it, to the disk or, once that has failed, to memory."""
        left, place = memoryview(data).cast("B"), self.tell()
        size = len(left)
        try:
            self.check()
            while left:
                # A disk that becomes full takes a part first and says so at the next.
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
            self._kept.append((place + size - len(left), bytes(left)))
        return size

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what was written; zeros where nothing was."""
        view, place = memoryview(buffer).cast("B"), self.tell()
        found = super().readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        for start, kept in self._kept:
            first, last = max(start, place), min(start + len(kept), place + len(view))
            if first < last:
                view[first - place : last - place] = kept[first - start : last - start]
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length, unless the disk has failed."""
        try:
            self.check()
            return super().truncate(size)
        except OSError as error:
            self._error = error
            return size or 0
