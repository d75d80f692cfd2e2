"""What the proof of the chain costs where its beam falls on a specimen: charged to the place under the parked probe.

Charged beforehand is the longest that a proof can keep the beam open, and settled by how long it was open.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

from ...core import LimitRefused, StorageFailed
from .charging import Dose


class ParkedBeam:
    """The beam of a probe that stands still; called under the lock of whoever commands.

    Parameters
    ----------
    dose
        Takes the charge; its settings say where the probe is parked.
    values
        Returns the present values of the instrument's parameters.
    """

    def __init__(self, dose: Dose, values: Callable[[], Mapping[str, float]]) -> None:
        self._dose, self._values = dose, values
        self._names = (f"proof-{secrets.token_hex(3)}-{number}" for number in itertools.count(1))
        self._name = ""

    def may_open(self, most_s: float) -> bool:
        """Charge what `most_s` of open beam cost; False if that has no room in the budget or on the disk."""
        self._name = next(self._names)
        try:
            self._dose.reserve_parked(self._name, most_s, self._values())
        except (LimitRefused, StorageFailed):
            return False
        return True

    def was_open(self, seconds: float) -> None:
        """Charge instead how long the beam was open, at most what was charged before."""
        # What the disk does not take stays charged in full.
        with suppress(StorageFailed):
            self._dose.settle_parked(self._name, seconds)
