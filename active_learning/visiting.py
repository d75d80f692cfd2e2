"""Orders in which to visit a pool without looking at any value.

Every order looks only at which candidates were visited, so a refused or failed place is
stepped over and a resumed run goes on where it was.

Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985
(farthest-first: each next place is the one farthest from all before, which on a grid
refines coarse to fine); Owen, "Scrambling Sobol' and Niederreiter-Xing points", 1998, and
Joe & Kuo 2008 as in scipy (the scattered order); Lloyd, "Least squares quantization in
PCM", 1982, and Arthur & Vassilvitskii, "k-means++", 2007 (the order of typical places).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import qmc

_MOST_ITERATIONS = 100


class Shuffled:
    """A random order of `count` candidates, drawn once from the seed."""

    def __init__(self, count: int, seed: int) -> None:
        self._order = np.random.default_rng(seed).permutation(count).tolist()

    def next(self, visited: Collection[int]) -> int | None:
        """Return the first candidate of the order that is not among these; None if none is left."""
        known = set(visited)
        return next((candidate for candidate in self._order if candidate not in known), None)


class FarthestFirst:
    """Coarse to fine: begin at the centre, then always the place farthest from all visited.

    Parameters
    ----------
    points
        Coordinates of the candidates, shape (m, d).
    seed
        Decides between places that are equally far.
    """

    def __init__(self, points: NDArray[np.float64], seed: int) -> None:
        self._points = points
        self._rank = np.random.default_rng(seed).permutation(len(points))
        self._distance = np.full(len(points), np.inf)
        self._seen: set[int] = set()

    def next(self, visited: Collection[int]) -> int | None:
        """Return the next candidate after these; None if none is left."""
        if not self._seen <= set(visited):
            self._seen.clear()
            self._distance.fill(np.inf)
        for candidate in sorted(set(visited) - self._seen):
            self._distance = np.minimum(self._distance, self._from(self._points[candidate]))
            self._distance[candidate] = -np.inf
            self._seen.add(candidate)
        if len(self._seen) == len(self._points):
            return None
        if not self._seen:
            return self._best(-self._from((self._points.min(axis=0) + self._points.max(axis=0)) / 2))
        return self._best(self._distance)

    def _from(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm(self._points - point, axis=1)

    def _best(self, score: NDArray[np.float64]) -> int:
        # Grid distances that are equal in exact arithmetic differ in their last bits.
        tied = np.flatnonzero(score >= score.max() - 1e-9 * np.abs(score[np.isfinite(score)]).max(initial=0.0))
        return int(tied[np.argmin(self._rank[tied])])


class Scattered:
    """Evenly spread without a lattice: the candidates nearest to scrambled Sobol points.

    Parameters
    ----------
    points
        Coordinates of the candidates, shape (m, d).
    seed
        Scrambles the sequence.
    count
        How long the prepared sequence is; beyond it the order is a seeded shuffle.
    """

    def __init__(self, points: NDArray[np.float64], seed: int, count: int = 64) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        sobol = qmc.Sobol(points.shape[1], rng=np.random.default_rng(seed))
        targets = low + sobol.random_base2(max(count - 1, 1).bit_length()) * (high - low)
        first = [int(np.argmin(np.linalg.norm(points - target, axis=1))) for target in targets]
        rest = np.random.default_rng([seed, 1]).permutation(len(points)).tolist()
        self._order = list(dict.fromkeys(first + rest))

    def next(self, visited: Collection[int]) -> int | None:
        """Return the first candidate of the order that is not among these; None if none is left."""
        known = set(visited)
        return next((candidate for candidate in self._order if candidate not in known), None)


class Typical:
    """One place of each sort: the candidates nearest to the centres of `count` clusters, the largest first.

    Parameters
    ----------
    points
        What tells the sorts apart, for example features, shape (m, d).
    count
        How many sorts.
    seed
        Where the clustering begins.
    after
        The order to go on with when every sort was visited.
    """

    def __init__(self, points: NDArray[np.float64], count: int, seed: int, after: Shuffled | Scattered) -> None:
        centres, sizes = _clusters(points, min(count, len(points)), np.random.default_rng(seed))
        nearest = np.argmin(cdist(centres, points), axis=1)
        self._order = [int(nearest[i]) for i in np.argsort(-sizes, kind="stable")]
        self._after = after

    def next(self, visited: Collection[int]) -> int | None:
        """Return the first candidate of the order that is not among these; None if none is left."""
        known = set(visited)
        found = next((candidate for candidate in self._order if candidate not in known), None)
        return self._after.next(known) if found is None else found


def _clusters(
    points: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the centres, shape (count, d), and sizes of clusters by Lloyd's iteration from a k-means++ start."""
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < count:
        square = cdist(points, points[chosen]).min(axis=1) ** 2
        total = square.sum()
        chosen.append(int(rng.choice(len(points), p=square / total if total > 0 else None)))
    centres, labels = points[chosen], np.full(len(points), -1)
    for _ in range(_MOST_ITERATIONS):
        before, labels = labels, np.argmin(cdist(points, centres), axis=1)
        if np.array_equal(labels, before):
            break
        # A cluster that lost all its points stays where it was.
        centres = np.array(
            [points[labels == i].mean(axis=0) if (labels == i).any() else centres[i] for i in range(count)]
        )
    return centres, np.bincount(labels, minlength=count)
