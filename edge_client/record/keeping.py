"""Keep what must be kept although the disk is full or gone: say so, wait, and go on when there is space again.

A run that loses its disk does not end; it pauses. Nothing new is asked of the instrument
meanwhile, because every command waits for its journal entry, and what was measured stays
in memory until the disk takes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ...core import StorageFailed
from .events import Event
from .journal import Journal

PAUSE_S = 1.0
"""Between two tries."""

Kept = TypeVar("Kept")


class Keeping:
    """Do something that needs the disk until the disk takes it; any thread may call.

    Parameters
    ----------
    told
        Called once for each wait, with what the disk said and what to do, and once when it goes on.
    pause_s
        Between two tries.
    """

    def __init__(self, told: Callable[[str], None], pause_s: float = PAUSE_S) -> None:
        self._told, self._pause_s = told, pause_s
        self._over = threading.Event()

    def give_up(self) -> None:
        """Wait no more: whatever the disk refuses from now on is raised."""
        self._over.set()

    def __call__(self, action: Callable[[], Kept], told: Callable[[str], None] | None = None) -> Kept:
        """Return what `action` returns, trying again as long as the disk refuses.

        Raises
        ------
        StorageFailed
            If the disk still refuses when nobody waits any more.
        """
        say, refused = told or self._told, False
        while True:
            try:
                result = action()
            except StorageFailed as failure:
                if self._over.is_set():
                    raise
                if not refused:
                    say(f"PAUSED, the run goes on when the disk does: {failure}")
                refused = True
                self._over.wait(self._pause_s)
            else:
                if refused:
                    say("the disk is back; the run goes on")
                return result


class KeptJournal:
    """A journal whose disk may be full for a while; see `Keeping`.

    Parameters
    ----------
    journal
        The journal.
    keeping
        Waits for the disk.
    """

    def __init__(self, journal: Journal, keeping: Keeping) -> None:
        self._journal, self._keeping = journal, keeping

    def write(self, event: Event) -> float:
        """Commit one event, waiting for the disk if it must; return the time it carries.

        Raises
        ------
        StorageFailed
            If the disk still refuses when nobody waits any more.
        """
        return self._keeping(lambda: self._journal.write(event))

    def note(self, event: Event) -> None:
        """Add an event to the next commit."""
        self._journal.note(event)
