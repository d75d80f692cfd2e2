"""Which candidates have no dose left for a measurement, as the instrument counts it.

Its budget is the hard limit and refuses by itself; but a policy that does not know of it would run into
one refusal after another. So it is asked after each measurement, once for all candidates, and
those are closed before the next decision. Nothing is asked where nothing is bounded.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core import Acquisition, BeamloopError, DoseUncounted, ProtocolMismatch, Signal
from ..core.dose import PER_NM2
from .instrument import RemoteInstrument
from .preparation import Preparation


class Counting(Protocol):
    """Who can be asked: `RemoteInstrument.safety`."""

    def dose_left(self, plan: Acquisition) -> NDArray[np.bool_] | None:
        """Tell of each position whether it could be measured; None if nothing is bounded."""
        ...


class DoseLeft:
    """Asks for the candidates without dose. Call it from one thread.

    Parameters
    ----------
    counting
        The instrument.
    prepared
        The experiment made concrete.
    known
        Candidates that are closed or were visited already.
    """

    def __init__(self, counting: Counting, prepared: Preparation, known: Collection[int] = ()) -> None:
        self._counting, self._prepared = counting, prepared
        self._closed = set(known)
        self._is_bounded = True

    @property
    def reason(self) -> str:
        """Why candidates are closed."""
        return f"no dose left for a measurement of {self._prepared.experiment.measure.dwell_s:g} s"

    def bounded(self) -> None:
        """Ask again from now on: something was refused for its dose."""
        self._is_bounded = True

    def visit(self, candidate: int) -> None:
        """Note that a candidate was asked for: whether it has dose left for another time does not matter."""
        self._closed.add(candidate)

    def used_up(self) -> tuple[int, ...]:
        """Return the candidates never visited that have no dose left since this was last asked, in the pool's order.

        Raises
        ------
        BeamloopError
            If the instrument cannot be asked.
        """
        if not self._is_bounded:
            return ()
        left = self._left()
        self._is_bounded = left is not None
        new = [] if left is None else sorted(set(np.flatnonzero(~left).tolist()) - self._closed)
        self._closed.update(new)
        return tuple(new)

    def _left(self) -> NDArray[np.bool_] | None:
        try:
            parts = [self._counting.dose_left(plan) for plan in self._prepared.everywhere()]
        except (DoseUncounted, ProtocolMismatch):
            # Nobody counts, or an older server does not know how; its own refusals are all there is.
            return None
        return None if any(part is None for part in parts) else np.concatenate([p for p in parts if p is not None])


def dose_over_field(instrument: RemoteInstrument) -> Signal | None:
    """Return the dose that the specimen has had, in the scan's own coordinates; None where nobody can tell it.

    Electrons per square nanometre, shape (ny, nx); the largest of each pixel's cells.
    """
    try:
        found, values = instrument.safety.dose().map(), instrument.state().parameters
    except BeamloopError:
        # A run that is over is not spoilt by an instrument that does not count, or is gone.
        return None
    stage = [0.0 if instrument.info.stage is None else values[name] for name in instrument.info.stage or ("", "")]
    y, x = (a.model_copy(update={"offset": a.offset - at}) for a, at in zip(found.axes, stage, strict=True))
    return Signal(found.data * PER_NM2, (y, x), "dose", "1/nm^2")
