"""The instrument's clock: virtual seconds, played back fast or at the pace of a real microscope.

Everything that happens in the simulator (settling, dwell, flyback, drift) is counted in
virtual seconds, so a result depends on what was commanded and never on how quickly the
computer worked. `pace` says how many real seconds a virtual one takes: 0 does not wait at
all, 1 is real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.005
"""Real seconds between two looks at whether a wait was interrupted."""


class VirtualClock:
    """A clock that only moves when it is told to; for one thread.

    Parameters
    ----------
    pace
        Real seconds per virtual second, 0 or more.
    real_s, sleep
        Where real seconds come from and how to let them pass.
    """

    def __init__(
        self,
        pace: float = 0.0,
        real_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pace = pace
        self._real_s = real_s
        self._sleep = sleep
        self._now_s = 0.0

    @property
    def pace(self) -> float:
        """Real seconds per virtual second."""
        return self._pace

    def now_s(self) -> float:
        """Return the virtual seconds since the clock was made."""
        return self._now_s

    def real_s(self) -> float:
        """Return the real time that waits are counted from, seconds."""
        return self._real_s()

    def advance(
        self, seconds: float, interrupted: Callable[[], bool] = lambda: False, since_real_s: float | None = None
    ) -> float:
        """Let virtual seconds pass; return how many did, fewer only if the wait was interrupted.

        Parameters
        ----------
        seconds
            Virtual seconds, 0 or more.
        interrupted
            Looked at before and every few milliseconds during a wait; ends it by returning True.
            A clock without pace does not wait, so nothing can interrupt it.
        since_real_s
            Real time at which these seconds began, so that computing counts as waiting; None for now.

        Raises
        ------
        ValueError
            If asked to go back.
        """
        if not seconds >= 0:
            raise ValueError(f"the clock cannot advance by {seconds} s; it only goes forward")
        passed = seconds if self._pace == 0 else self._waited(seconds, interrupted, since_real_s)
        self._now_s += passed
        return passed

    def _waited(self, seconds: float, interrupted: Callable[[], bool], since_real_s: float | None) -> float:
        began = self._real_s() if since_real_s is None else since_real_s
        due = began + seconds * self._pace
        while (left := due - self._real_s()) > 0:
            if interrupted():
                return min(seconds, max(0.0, (self._real_s() - began) / self._pace))
            self._sleep(min(left, POLL_S))
        return seconds
