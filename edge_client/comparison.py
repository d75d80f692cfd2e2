"""How other policies would have done on a run's own record: the same loop, many seeds, the known answer.

Every policy meets the same seeds and, where there is noise, the same noise at the same
place. On a recording the record is the value itself; on a simulator the value is its
noise-free answer plus noise of the size that the run's measurements had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..active_learning.trial import KnownMap, Quartiles, Trial, quartiles, trial
from ..core import NotEnoughData, Policy, Pool
from ..core.registry import POLICIES
from .contender import Contender
from .plugins import made
from .preparation import with_features
from .record.story import Seen, Story

TOLERANCES = (0.02, 0.05)
"""Parts of the true range within which the maximum counts as found."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one policy did, over all its trials.

    Attributes
    ----------
    contender
        Who it is.
    trials
        What it found, one for each seed.
    """

    contender: Contender
    trials: tuple[Trial, ...]

    def needed(self, tolerance: float) -> Quartiles:
        """Return measurements until the regret was within `tolerance`; infinite where it never was."""
        return quartiles(t.needed(tolerance) for t in self.trials)

    @property
    def area(self) -> Quartiles:
        """The area under the regret."""
        return quartiles(t.area for t in self.trials)

    @property
    def regret(self) -> Quartiles:
        """Curves of the regret, each shape (n,)."""
        return quartiles(t.regret for t in self.trials)

    @property
    def map_error(self) -> Quartiles:
        """Curves of the map's error, each shape (n,); nan where there is no belief."""
        return quartiles(t.map_error for t in self.trials)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Policies side by side on one record.

    Attributes
    ----------
    known
        The record, with the features of the run.
    points, seeds, ahead
        Measurements of each trial, its seeds, and how far ahead it chose.
    standings
        In the order of asking, the run's own policy first.
    """

    known: KnownMap
    points: int
    seeds: tuple[int, ...]
    ahead: int
    standings: tuple[Standing, ...]

    def facts(self) -> dict[str, object]:
        """Return every number, as JSON holds it: null where something is not known or was never reached."""
        return {
            "candidates": len(self.known.pool), "points": self.points, "seeds": list(self.seeds), "ahead": self.ahead,
            "std": _number(self.known.std), "noise": self.known.noise,
            "policies": [_facts(standing) for standing in self.standings],
        }  # fmt: skip


def known_map(story: Story, seen: Seen) -> KnownMap:
    """Return a run's record as a map whose answer is known.

    Raises
    ------
    NotEnoughData
        If nobody knows the truth, as on a real instrument, or the run was ended before it was asked for.
    """
    info = story.described.info
    if seen.truth is None:
        raise NotEnoughData(
            f"{story.opened.run} on {info.name} ({info.source}) holds no truth to compare policies with: only a "
            "recording and a simulator know it, and it is asked for at the end of a run"
        )
    errors = [m.std for m in story.measurements if m.std is not None]
    std = float(np.median(errors)) if errors else math.nan
    noise = std if info.source == "simulator" and errors else 0.0
    return KnownMap(seen.pool, seen.truth, std, noise)


def compare(
    story: Story,
    seen: Seen,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    points: int | None = None,
    told: Callable[[Contender], None] = lambda contender: None,
) -> Comparison:
    """Let every contender measure a run's record with every seed.

    Parameters
    ----------
    story, seen
        The run.
    contenders
        Who competes.
    seeds
        One trial for each.
    points
        Measurements of a trial; None for as many as the run made.
    told
        Called after each trial.

    Raises
    ------
    NotEnoughData
        If the run holds no truth, or made no measurement and `points` is not given.
    SettingsInvalid
        If a policy's settings are wrong, or it needs what the run has not, such as an overview.
    """
    known, wanted = known_map(story, seen), points or len(story.measurements)
    if not wanted:
        raise NotEnoughData(f"{story.opened.run} made no measurement; say with --points how many each trial takes")
    count, ahead = min(wanted, len(known.values)), story.experiment.ahead
    maps = [KnownMap(_pool(story, seen, one), known.truth, known.std, known.noise) for one in contenders]
    for one, its in zip(contenders, maps, strict=True):
        # A wrong setting is told before minutes of trials, not after.
        _policy(one, its.pool, 0)
    standings = []
    for one, its in zip(contenders, maps, strict=True):
        trials = []
        for seed in seeds:
            trials.append(trial(its, _policy(one, its.pool, seed), count, seed, ahead))
            told(one)
        standings.append(Standing(one, tuple(trials)))
    return Comparison(known, count, tuple(seeds), ahead, tuple(standings))


def _pool(story: Story, seen: Seen, contender: Contender) -> Pool:
    if contender.features is None:
        return seen.pool
    asked = story.experiment.model_copy(update={"features": contender.features})
    return with_features(asked, seen.pool, seen.overview)


def _policy(contender: Contender, pool: Pool, seed: int) -> Policy:
    where = f"[policy.settings] of {contender.name}"
    return made(POLICIES, contender.policy.name, contender.policy.settings, where, pool, seed)


def _facts(standing: Standing) -> dict[str, object]:
    one = standing.contender
    return {
        "name": one.name, "policy": one.policy.model_dump(mode="json"),
        "features": None if one.features is None else one.features.model_dump(mode="json"),
        "needed": {f"{tolerance:g}": _quartiles(standing.needed(tolerance)) for tolerance in TOLERANCES},
        "area": _quartiles(standing.area), "regret": _quartiles(standing.regret),
        "map_error": _quartiles(standing.map_error),
        "trials": [
            {"candidates": t.candidates.tolist(), "regret": _numbers(t.regret), "map_error": _numbers(t.map_error)}
            for t in standing.trials
        ],
    }  # fmt: skip


def _quartiles(found: Quartiles) -> dict[str, object]:
    return {"low": _numbers(found.low), "median": _numbers(found.median), "high": _numbers(found.high)}


def _numbers(values: NDArray[np.float64]) -> object:
    return _number(float(values)) if not values.ndim else [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
