"""A beam blanker that works while the driver hangs: one byte of memory shared through a file.

Guard and driver map the same one-byte file. Blanking is a store to memory: it needs no
lock, no message and nobody at the other end, and a reader sees it at once. This stands in
for the electrical line of a real microscope, so it loads nothing but the standard library.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_BLANKED = 0
_OPEN = 1


class SharedLine:
    """The line between guard, driver and blanker; any process or thread may hold one.

    Parameters
    ----------
    folder
        Existing folder that the processes share. The line is the file `beam` in it: a new one
        starts blanked, an existing one is adopted as it stands.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """

    def __init__(self, folder: Path) -> None:
        path = Path(folder) / "beam"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size == 0:
                # Growing an empty file fills it with zeros, so two processes that meet here both leave it blanked.
                os.ftruncate(handle, 1)
            self._line = mmap.mmap(handle, 1)
        finally:
            os.close(handle)

    def open(self) -> None:
        """Let the beam through.

        Raises
        ------
        ValueError
            If this end of the line was released.
        """
        self._line[0] = _OPEN

    def close(self) -> None:
        """Blank the beam; never raises and never waits."""
        if not self._line.closed:
            self._line[0] = _BLANKED

    def is_open(self) -> bool | None:
        """Read back whether the beam is through; None if this end was released or the byte is neither state."""
        if self._line.closed:
            return None
        return {_BLANKED: False, _OPEN: True}.get(self._line[0])

    def release(self) -> None:
        """Let go of the shared memory; the beam stays as it is."""
        self._line.close()
