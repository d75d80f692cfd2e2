"""A line to beam and stage that works while the driver hangs: three bytes of memory shared through a file.

Guard and driver map the same file: whether the beam is through, whether motion is halted,
whether anything moves. Blanking and halting are stores to memory: they need no lock, no
message and nobody at the other end, and a reader sees them at once. This stands in for the
electrical lines of a real microscope, so it loads nothing but the standard library.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_BEAM, _HALT, _MOTION = range(3)
_OFF, _ON = 0, 1
_READ = {_OFF: False, _ON: True}


class SharedLine:
    """The line between guard, driver, blanker and stage; any process or thread may hold one.

    Parameters
    ----------
    folder
        Existing folder that the processes share. The line is the file `beam` in it: a new one
        starts blanked and at rest, an existing one is adopted as it stands.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the disk has no room for three bytes; a line that is there needs no more, whatever becomes of the disk.
    """

    def __init__(self, folder: Path) -> None:
        path = Path(folder) / "beam"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Zeros are written, not only counted: memory mapped over a hole fails when the disk is full. One byte
            # after the other, so that two processes that meet here both leave it blanked.
            for place in range(os.fstat(handle).st_size, _MOTION + 1):
                os.lseek(handle, place, os.SEEK_SET)
                os.write(handle, bytes([_OFF]))
            self._line = mmap.mmap(handle, _MOTION + 1)
        finally:
            os.close(handle)

    def open(self) -> None:
        """Let the beam through.

        Raises
        ------
        ValueError
            If this end of the line was released.
        """
        self._line[_BEAM] = _ON

    def close(self) -> None:
        """Blank the beam; never raises and never waits."""
        self._put(_BEAM, _OFF)

    def is_open(self) -> bool | None:
        """Read back whether the beam is through; None if this end was released or the byte is neither state."""
        return self._read(_BEAM)

    def halt(self) -> None:
        """Stop what moves and hold it until `free`; never raises and never waits."""
        self._put(_HALT, _ON)

    def free(self) -> None:
        """Let things move again."""
        self._put(_HALT, _OFF)

    def is_halted(self) -> bool:
        """Tell whether nothing may move: a byte that is neither state, or a released end, lets nothing move."""
        return self._read(_HALT) is not False

    def moves(self, moving: bool) -> None:
        """Say that a move begins or is over."""
        self._put(_MOTION, int(moving))

    def is_moving(self) -> bool | None:
        """Read back whether a move is under way; None if this end was released or the byte is neither state."""
        return self._read(_MOTION)

    def release(self) -> None:
        """Let go of the shared memory; beam and stage stay as they are."""
        self._line.close()

    def _put(self, place: int, state: int) -> None:
        if not self._line.closed:
            self._line[place] = state

    def _read(self, place: int) -> bool | None:
        return None if self._line.closed else _READ.get(self._line[place])
