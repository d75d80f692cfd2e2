"""Measure where a surrogate and an acquisition say: the learning policy.

The state is made by observations alone and in their order; a suggestion only reads it.
So a run that is rebuilt from its journal goes on at the same next point. Candidates in
`taken` are conditioned on at their predicted value and forgotten again, which lets a
decision be made while the last one is still being measured.

Source: Ginsbourger, Le Riche & Carraro, "Kriging is well-suited to parallelize
optimization", 2010 (the kriging believer).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core import Measurement, Pool, Prediction, SettingsInvalid, Suggestion, Surrogate
from .acquisition import Acquisition


class Order(Protocol):
    """An order of visiting that needs no values."""

    def next(self, visited: Collection[int]) -> int | None:
        """Return the next candidate after these; None if none is left."""
        ...


class FantasySurrogate(Surrogate, Protocol):
    """A surrogate that can also say what it would believe once pending measurements are in."""

    @property
    def basis(self) -> str:
        """What the belief rests on, to be added to the line that explains a choice; empty where it goes without."""
        ...

    def predict_given(self, pending: Collection[int]) -> Prediction:
        """Return the belief as if these candidates had given their present mean."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a surrogate policy looks, learns and relearns.

    Attributes
    ----------
    first
        Places taken from the first order before the acquisition chooses.
    growth
        Hyperparameters are learnt anew when the data have grown by this factor.
    fit_from
        Measurements for the first fit.

    Raises
    ------
    SettingsInvalid
        If `first` or `growth` is less than 1.
    """

    first: int = 10
    growth: float = 1.25
    fit_from: int = 3

    def __post_init__(self) -> None:
        if self.first < 1 or not self.growth >= 1:
            raise SettingsInvalid(f"a policy needs first >= 1 and growth >= 1; got {self.first} and {self.growth}")


@dataclass(slots=True)
class _Seen:
    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)


class SurrogatePolicy:
    """Choose by an acquisition over the surrogate's belief. Call it from one thread.

    Parameters
    ----------
    pool
        The candidates.
    surrogate
        The belief, built over the same pool.
    acquisition, name
        What is maximised, and what a person calls it.
    order
        Where to look before there is a belief to follow.
    schedule
        When to look, learn and relearn.
    """

    def __init__(
        self,
        pool: Pool,
        surrogate: FantasySurrogate,
        acquisition: Acquisition,
        name: str,
        order: Order,
        schedule: Schedule,
    ) -> None:
        self._pool, self._surrogate, self._acquisition, self._name = pool, surrogate, acquisition, name
        self._order, self._schedule = order, schedule
        self._seen = _Seen()
        self._fit_at = max(1, min(schedule.fit_from, schedule.first))
        self._has_fit = False

    def observe(self, measurement: Measurement) -> None:
        """Learn from one finished measurement; now and then relearn the hyperparameters."""
        seen, std = self._seen, float("nan") if measurement.std is None else measurement.std
        seen.rows.append(measurement.candidate)
        seen.values.append(measurement.value)
        seen.std.append(std)
        n = len(seen.rows)
        if n >= self._fit_at:
            self._surrogate.fit(np.array(seen.rows, dtype=np.intp), np.array(seen.values), np.array(seen.std))
            self._fit_at = max(n + 1, int(np.ceil(n * self._schedule.growth)))
            self._has_fit = True
        elif self._has_fit:
            self._surrogate.update(measurement.candidate, measurement.value, std)

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        """Return the open candidate of largest acquisition; None if none is open."""
        visited = set(self._seen.rows) | set(taken)
        shut = visited | set(closed)
        if len(shut) >= len(self._pool):
            return None
        if not self._has_fit or len(visited) < self._schedule.first:
            return self._from_order(visited, shut)
        pending = sorted(set(taken) - set(self._seen.rows))
        belief = self._surrogate.predict_given(pending)
        # Mean, not value: with noise the largest value is often a lucky one.
        best = float(belief.mean[sorted(visited)].max())
        score = np.array(self._acquisition(belief.mean, belief.std, best), dtype=np.float64)
        score[sorted(shut)] = -np.inf
        candidate = self._largest(score, belief, shut)
        return Suggestion(
            candidate=candidate,
            position=position_of(self._pool, candidate),
            why=f"largest {self._name} of {len(self._pool) - len(shut)} open candidates{self._surrogate.basis}",
            score=float(score[candidate]) if np.isfinite(score[candidate]) else None,
            mean=float(belief.mean[candidate]),
            std=float(belief.std[candidate]),
        )

    def belief(self) -> Prediction | None:
        """Return the present belief over the pool; None before the first fit."""
        return self._surrogate.predict() if self._has_fit else None

    def _from_order(self, visited: set[int], shut: set[int]) -> Suggestion | None:
        candidate = self._order.next(shut)
        if candidate is None:
            return None
        why = f"first look {len(visited) + 1} of {self._schedule.first}, spread over the pool"
        return Suggestion(candidate=candidate, position=position_of(self._pool, candidate), why=why)

    @staticmethod
    def _largest(score: NDArray[np.float64], belief: Prediction, closed: set[int]) -> int:
        if np.isfinite(score).any():
            return int(np.argmax(np.nan_to_num(score, nan=-np.inf)))
        # Nowhere is any gain expected, not even in the tail: go where least is known.
        std = belief.std.copy()
        std[sorted(closed)] = -1.0
        return int(np.argmax(std))


def position_of(pool: Pool, candidate: int) -> tuple[float, float]:
    """Return `(y, x)` of a candidate in metres, as a suggestion carries it."""
    y, x = pool.positions[candidate].tolist()
    return y, x
