"""How often one key is answered: whoever asks more often waits, in the thread of their own connection.

The server shares its computer with the guard and the driver. A key that asks on all its connections
as fast as it can would take a whole core, and a stop would wait for the operating system to
share that out. No work of ours comes near the bound: an autonomous loop asks some hundred times a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_PER_S = 1000.0
"""Requests of one key in a second, over all its connections."""

BURST = 100
"""Requests that may come at once after a rest."""


class Pace:
    """Lets each key go on at its pace; any thread may call.

    Parameters
    ----------
    clock, sleep
        Monotonic seconds, and how to wait.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next_s: dict[str, float] = {}

    def wait(self, key: str) -> None:
        """Return when the next request of a key may be answered; they go in the order of coming."""
        with self._lock:
            now_s = self._clock()
            due_s = max(self._next_s.get(key, float("-inf")), now_s - BURST / MOST_PER_S)
            self._next_s[key] = due_s + 1 / MOST_PER_S
        if due_s > now_s:
            self._sleep(due_s - now_s)
