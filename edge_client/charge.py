"""What a measurement is charged with when nobody knows how it ended: the most that it can have cost.

The dose budget must never be told less than reached the specimen. All measurements of a
run are alike, so the dearest so far stands for the one that was cut off; before there is
any, the beam current of an instrument that tells it, for the whole exposure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..core import BeamloopError, InstrumentState, Measurement

ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Exact since the SI of 2019."""

BEAM_CURRENT = "beam_current_a"


class Telling(Protocol):
    """Who can be asked for the beam current."""

    def state(self) -> InstrumentState:
        """Say what the instrument is doing, and its parameters."""
        ...


class Charge:
    """The dearest measurement so far. Call it from one thread.

    Parameters
    ----------
    measured
        What has been measured before.
    """

    def __init__(self, measured: Iterable[Measurement] = ()) -> None:
        self._electrons = self._duration_s = 0.0
        self._is_known = False
        for measurement in measured:
            self.saw(measurement)

    def saw(self, measurement: Measurement) -> None:
        """Take in what one measurement cost."""
        self._electrons = max(self._electrons, measurement.electrons)
        self._duration_s = max(self._duration_s, measurement.duration_s)
        self._is_known = True

    def most(self, dwell_s: float, instrument: Telling) -> tuple[float, float]:
        """Return electrons and instrument seconds that a measurement of this exposure can have cost at most.

        Where nothing was measured yet and the instrument tells no beam current, the electrons are 0.
        """
        if self._is_known:
            return self._electrons, self._duration_s
        return _current_a(instrument) * dwell_s / ELEMENTARY_CHARGE_C, dwell_s


def _current_a(instrument: Telling) -> float:
    try:
        return instrument.state().parameters.get(BEAM_CURRENT, 0.0)
    except BeamloopError:
        # An instrument that is gone tells nothing.
        return 0.0
