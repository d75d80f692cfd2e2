"""A set of whole numbers told as runs: `3-5, 9` instead of every one.

Frames that are lost and messages that are stored come in runs, so a few pairs tell what
would otherwise be a list as long as the scan.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Run = tuple[int, int]
"""First and last number of a run, both inside."""


class Runs:
    """Whole numbers, kept as ascending runs that do not touch. Not thread-safe.

    >>> runs = Runs([(3, 4), (9, 9)])
    >>> runs.add(5, 5)
    >>> runs.pairs(), len(runs), 4 in runs
    (((3, 5), (9, 9)), 4, True)
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in runs:
            self.add(first, last)

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number) - 1
        return place >= 0 and number <= self._lasts[place]

    def add(self, first: int, last: int) -> None:
        """Put in every number from `first` to `last`; those already in stay."""
        if last < first:
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high], self._lasts[low:high] = [first], [last]

    def outside(self, first: int, last: int) -> tuple[Run, ...]:
        """Return the runs from `first` to `last` that are not in.

        >>> Runs([(3, 4)]).outside(1, 6)
        ((1, 2), (5, 6))
        """
        gaps, begin = [], first
        for place in range(bisect_left(self._lasts, first), bisect_right(self._firsts, last)):
            if begin < self._firsts[place]:
                gaps.append((begin, self._firsts[place] - 1))
            begin = self._lasts[place] + 1
        return (*gaps, (begin, last)) if begin <= last else tuple(gaps)

    def drop_up_to(self, number: int) -> None:
        """Take out `number` and all below it."""
        whole = bisect_right(self._lasts, number)
        del self._firsts[:whole], self._lasts[:whole]
        if self._firsts:
            self._firsts[0] = max(self._firsts[0], number + 1)

    def pairs(self, most: int | None = None) -> tuple[Run, ...]:
        """Return the lowest runs, at most `most` of them."""
        return tuple(zip(self._firsts[:most], self._lasts[:most], strict=True))


def runs_of(indices: NDArray[np.integer]) -> tuple[Run, ...]:
    """Return the runs of these numbers, in any order, doubled ones once.

    >>> runs_of(np.array([9, 3, 4, 5]))
    ((3, 5), (9, 9))
    """
    ordered = np.unique(indices)
    if not len(ordered):
        return ()
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    firsts, lasts = ordered[np.r_[0, breaks + 1]], ordered[np.r_[breaks, len(ordered) - 1]]
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def told(runs: Iterable[Run], most: int = 20) -> str:
    """Write runs for a person, at most `most` of them.

    >>> told([(3, 5), (9, 9)])
    '3-5, 9'
    """
    every = list(runs)
    shown = [f"{first}-{last}" if last > first else f"{first}" for first, last in every[:most]]
    more = [f"and {len(every) - most} more ranges"] if len(every) > most else []
    return ", ".join(shown + more)
