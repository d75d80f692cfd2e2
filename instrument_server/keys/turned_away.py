"""Everybody who is refused is written into the audit, and a flood of them does not fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...core import StorageFailed

SPACING_S = 1.0
"""The same refusal is written once in this time, with the number of those it stands for."""


class TurnedAway:
    """Writes refusals of connections and keys; any thread may call.

    Parameters
    ----------
    note
        Writes one line into the audit.
    clock
        Monotonic seconds.
    """

    def __init__(self, note: Callable[..., object], clock: Callable[[], float] = time.monotonic) -> None:
        self._note, self._clock = note, clock
        self._lock = threading.Lock()
        self._written_s: dict[tuple[str, str], float] = {}
        self._unwritten: dict[tuple[str, str], int] = {}

    def tell(self, line: str, peer: str, reason: str) -> None:
        """Note that somebody was refused on a line: `control`, `frames` or `guard`."""
        now_s, what = self._clock(), (line, reason)
        with self._lock:
            if now_s - self._written_s.get(what, float("-inf")) < SPACING_S:
                self._unwritten[what] = self._unwritten.get(what, 0) + 1
                return
            self._written_s = {kind: s for kind, s in self._written_s.items() if now_s - s < SPACING_S} | {what: now_s}
        self._write(line=line, peer=peer, reason=reason)
        self.flush()

    def flush(self) -> None:
        """Write how many were not written yet."""
        with self._lock:
            missed, self._unwritten = self._unwritten, {}
        for (line, reason), count in missed.items():
            self._write(line=line, reason=reason, more=count)

    def _write(self, **facts: object) -> None:
        # Somebody who is refused stays refused, whatever the disk says.
        with suppress(StorageFailed):
            self._note("turned away", **facts)
