"""The heartbeat that keeps a lease: silence gives the instrument back by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...core import BeamloopError, InstrumentUnreachable

BEATS_A_LEASE = 4
"""Renewals in one length of the lease, so that single losses do no harm."""


class Heartbeat:
    """Renew a lease from a thread of its own until told to stop.

    Parameters
    ----------
    renew
        Renews the lease once.
    length_s
        How long the lease lasts unrenewed.

    Attributes
    ----------
    lost
        What ended the lease; None while all is well. Written by the thread, read by anyone.
    """

    def __init__(self, renew: Callable[[], object], length_s: float) -> None:
        self._renew, self._pause_s = renew, length_s / BEATS_A_LEASE
        self._over = threading.Event()
        self.lost: BeamloopError | None = None
        self._thread = threading.Thread(target=self._beat, name="lease heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing and wait for the thread to end."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._pause_s):
            try:
                self._renew()
                self.lost = None
            except InstrumentUnreachable as error:
                # The line may come back before the lease runs out.
                self.lost = error
            except BeamloopError as error:
                self.lost = error
                return
