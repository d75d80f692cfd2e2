"""The driver in the server's own process: for a machine where only one interpreter may load the vendor's library.

The guard stays a process of its own, so a stop still blanks and halts over the line. What is given up is said in
`InstrumentInfo.guarantee` to everybody who asks what the instrument is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .driver import DriverOrders, drive
from .processes.children import LEAVE_S

LOG = logging.getLogger(__name__)


class Housed:
    """A driver in a thread of this process.

    Parameters
    ----------
    orders
        As for a driver of its own.
    turned_away
        Hears who was refused frames, and why.
    """

    def __init__(self, orders: DriverOrders, turned_away: Callable[[str, str], None]) -> None:
        self._orders, self._turned_away = orders, turned_away
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="driver", daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        """Return None while it runs, as a process does."""
        return None if self._thread.is_alive() else 1

    def leave(self) -> None:
        """Let it close its instrument; one that hangs is left behind, and ends with this process."""
        self._gone.set()
        self._thread.join(LEAVE_S)

    def _drive(self) -> None:
        try:
            drive(self._orders, self._gone, self._turned_away)
        except Exception:  # the border to vendor code: report it, the server lives on and says that its driver ended
            LOG.exception("the driver ended")


@contextmanager
def housed(orders: DriverOrders, turned_away: Callable[[str, str], None]) -> Iterator[Housed]:
    """Run a driver in this process until the context is left."""
    driver = Housed(orders, turned_away)
    try:
        yield driver
    finally:
        driver.leave()
