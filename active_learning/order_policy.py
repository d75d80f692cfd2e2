"""Measure in an order fixed beforehand: what learning has to beat."""

from __future__ import annotations

from collections.abc import Collection

from ..core import Measurement, Pool, Prediction, Suggestion
from .surrogate_policy import Order, position_of


class OrderPolicy:
    """Visit the pool in one order; never look at a value.

    Parameters
    ----------
    pool
        The candidates.
    order
        Chooses the next from those visited.
    why
        The line that explains each suggestion.
    """

    def __init__(self, pool: Pool, order: Order, why: str) -> None:
        self._pool, self._order, self._why = pool, order, why
        self._measured: set[int] = set()

    def observe(self, measurement: Measurement) -> None:
        """Remember that this candidate is done."""
        self._measured.add(measurement.candidate)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        """Return the next candidate of the order that is not measured, `taken` or `closed`; None if none is left."""
        candidate = self._order.next(self._measured | set(taken) | set(closed))
        if candidate is None:
            return None
        return Suggestion(candidate=candidate, position=position_of(self._pool, candidate), why=self._why)

    def belief(self) -> Prediction | None:
        """Return None: an order believes nothing."""
        return None
