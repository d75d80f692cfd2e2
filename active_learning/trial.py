"""One policy on a map whose answer is known: how far from the best place, how wrong the map.

A trial runs the same loop as an experiment, only that the answer comes from a known map.
One trial says little, since the first places are a matter of luck: policies are compared by
the median and the quartiles of many seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core import FrameShapeWrong, Measurement, NotEnoughData, Policy, Pool, Prediction
from .loop import Failed, Loop, Measure, Measured
from .stopping import StopRules


@dataclass(frozen=True, slots=True)
class KnownMap:
    """A pool with its answer: a recording, or what a simulator would give without noise.

    Attributes
    ----------
    pool
        The candidates.
    truth
        The property at each, shape (m,); nan where there is none, so that a measurement there fails.
    std
        Standard error that a measurement says it has; nan if it says none.
    noise
        Standard deviation of what is added to the truth; 0 where the record is the value itself.

    Raises
    ------
    FrameShapeWrong
        If the truth does not pair up with the pool.
    NotEnoughData
        If the truth has not two different values, between which there is nothing to find.
    """

    pool: Pool
    truth: NDArray[np.float64]
    std: float = math.nan
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.truth.shape != (len(self.pool),):
            raise FrameShapeWrong(f"a truth of shape {self.truth.shape} does not fit {len(self.pool)} candidates")
        if not self.values.size or not np.ptp(self.values) > 0:
            raise NotEnoughData(
                f"policies cannot be compared on {self.values.size} known values without any difference between them"
            )

    @property
    def values(self) -> NDArray[np.float64]:
        """The values that are known, in the order of the candidates."""
        return self.truth[np.isfinite(self.truth)]

    def answers(self, seed: int) -> Callable[[Measure], Measurement | None]:
        """Return what measures this map; None where it has no value.

        The noise at a candidate follows from the seed alone, not from when it is measured.
        """
        noise = self.noise * np.random.default_rng([seed, 1]).standard_normal(len(self.pool))

        def measured(asked: Measure) -> Measurement | None:
            place = asked.suggestion
            if not math.isfinite(self.truth[place.candidate]):
                return None
            return Measurement(
                measurement_id=asked.measurement_id,
                candidate=place.candidate,
                position=place.position,
                value=float(self.truth[place.candidate] + noise[place.candidate]),
                std=None if math.isnan(self.std) else self.std,
            )

        return measured


@dataclass(frozen=True, slots=True)
class Trial:
    """What one policy with one seed had found after each of n measurements.

    Attributes
    ----------
    candidates
        Places measured, shape (n,).
    regret
        True value of the best place there is, less that of the best place measured so far, in units
        of the range of true values, shape (n,).
    map_error
        Root mean square error of the belief over the places not yet measured, in standard deviations
        of the truth, shape (n,); nan where there is no belief, or no place left.
    """

    candidates: NDArray[np.intp]
    regret: NDArray[np.float64]
    map_error: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Mean regret over all measurements: how much was missed along the way, not only at the end."""
        return float(self.regret.mean())

    def needed(self, tolerance: float) -> float:
        """Return measurements until the regret was at most `tolerance`; infinite if it never was."""
        reached = np.flatnonzero(self.regret <= tolerance)
        return float(reached[0] + 1) if reached.size else math.inf


@dataclass(frozen=True, slots=True)
class Quartiles:
    """First quartile, median and third quartile over the trials of one policy; numbers or curves."""

    low: NDArray[np.float64]
    median: NDArray[np.float64]
    high: NDArray[np.float64]


def trial(known: KnownMap, policy: Policy, points: int, seed: int = 0, ahead: int = 1) -> Trial:
    """Let a policy measure a known map and return what it had found after each measurement.

    Parameters
    ----------
    known
        The map.
    policy
        A new policy over the same pool.
    points
        Measurements; fewer if the map has fewer known values.
    seed
        Of the noise.
    ahead
        Choices made before the last measurement is known, as in an experiment.
    """
    candidates, errors, seen = [], [], np.zeros(len(known.pool), dtype=bool)
    for measurement in visits(known.answers(seed), policy, min(points, len(known.values)), ahead):
        candidates.append(measurement.candidate)
        seen[measurement.candidate] = True
        errors.append(_map_error(policy.belief(), known.truth, seen))
    rows = np.array(candidates, dtype=np.intp)
    regret = (known.values.max() - np.maximum.accumulate(known.truth[rows])) / np.ptp(known.values)
    return Trial(rows, regret, np.array(errors))


def visits(
    measure: Callable[[Measure], Measurement | None], policy: Policy, points: int, ahead: int = 1
) -> Iterator[Measurement]:
    """Run a loop on anything that measures and yield each value once the policy has learnt it.

    None is a measurement that failed. Stop asking, and the loop is over.
    """
    # A map may lack many values in a row, and lacking them is no fault of an instrument.
    loop = Loop(policy, StopRules(points=points), ahead, patience=1_000_000_000)
    queue = loop.start()
    while queue and isinstance(command := queue.pop(0), Measure):
        measurement = measure(command)
        if measurement is None:
            queue += loop.handle(Failed(command.measurement_id, "there is no value here"))
            continue
        queue += loop.handle(Measured(measurement))
        yield measurement


def quartiles(found: Iterable[float | NDArray[np.float64]]) -> Quartiles:
    """Return quartiles over trials of a number or a curve; infinite where a quarter, a half, ... never got there.

    >>> float(quartiles([10.0, 20.0, float("inf")]).median)
    20.0
    """
    every = np.sort(np.array(list(found), dtype=np.float64), axis=0)
    at = (len(every) - 1) * np.array([0.25, 0.5, 0.75])
    below, above = every[np.floor(at).astype(int)], every[np.ceil(at).astype(int)]
    weight = (at - np.floor(at)).reshape(3, *[1] * (every.ndim - 1))
    # Linear between ranks, but never the difference of two infinities, nor infinity times nothing.
    gap = np.zeros_like(below)
    np.subtract(above, below, out=gap, where=(below != above) & (weight > 0))
    between = below + weight * gap
    return Quartiles(*(np.asarray(part) for part in between))


def _map_error(belief: Prediction | None, truth: NDArray[np.float64], seen: NDArray[np.bool_]) -> float:
    left = ~seen & np.isfinite(truth)
    if belief is None or not left.any():
        return math.nan
    return float(np.sqrt(np.mean((belief.mean - truth)[left] ** 2)) / np.nanstd(truth))
