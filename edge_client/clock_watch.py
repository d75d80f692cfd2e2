"""Compare the two clocks again and again while a run goes on, and write down by how much they differ."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..core import BeamloopError
from .instrument import RemoteInstrument
from .opening import clocked
from .record.events import Event

EVERY_S = 60.0
"""Clocks of computers drift by some microseconds a second; more often would tell nothing new."""


class ClockWatch:
    """Called now and then, it compares the clocks when it is time to. One thread.

    Parameters
    ----------
    instrument
        The other side.
    write
        Keeps what was found.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, instrument: RemoteInstrument, write: Callable[[Event], object], clock: Callable[[], float]
    ) -> None:
        self._instrument, self._write, self._clock = instrument, write, clock
        self._next_s = clock() + EVERY_S

    def look(self) -> None:
        """Compare the clocks if it is time to; an instrument that does not answer is no matter of this."""
        if self._clock() < self._next_s:
            return
        self._next_s = self._clock() + EVERY_S
        with suppress(BeamloopError):
            for event in clocked(self._instrument):
                self._write(event)
