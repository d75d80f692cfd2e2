"""Waiting until the instrument is idle; where time is simulated, another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Idle:
    """Lets threads wait until something is so, and wakes them to look again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `is_so`, at most `timeout_s`; it is looked at when woken."""
        with self._changed:
            self._changed.wait_for(is_so, timeout_s)

    def woken(self) -> None:
        """Let everybody who waits look again."""
        with self._changed:
            self._changed.notify_all()
