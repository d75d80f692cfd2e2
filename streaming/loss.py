"""Frames that will not come, counted and where possible named, so that no loss is silent.

Four things lose frames: a source that cannot pause while nobody takes its frames, a recorder
whose lease ended and that does not come for them, a reader that lags behind its bound, and a
viewer, which is meant to. Each is told what it lacks, in order with the frames that it gets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.frame import FrameBatch
from .runs import Run, runs_of

MOST_RUNS = 1 << 16
"""Runs that one loss names; one of more only counts."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames of a scan that will not come.

    Attributes
    ----------
    scan_id
        The scan; empty where whole scans are lost.
    count
        How many frames, beside those told before.
    runs
        Their flat scan indices; empty where only the number is known.
    scans
        Whole scans that will not come.
    """

    scan_id: str
    count: int
    runs: tuple[Run, ...] = ()
    scans: int = 0


def loss_of(batch: FrameBatch) -> Loss:
    """Return what is lost with a batch."""
    runs = runs_of(batch.indices)
    return Loss(batch.scan_id, len(batch.indices), runs if len(runs) <= MOST_RUNS else ())


class Losses:
    """Losses that wait to be told, scan by scan. Not thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._named: dict[str, list[NDArray[np.int64]]] = {}
        self._whole = Loss("", 0)

    def add(self, scan_id: str, indices: NDArray[np.int64]) -> None:
        """Note that these frames of a scan will not come."""
        self.count(scan_id, len(indices))
        self._named.setdefault(scan_id, []).append(np.array(indices))

    def count(self, scan_id: str, frames: int) -> None:
        """Note that so many frames of a scan will not come, whichever."""
        self._counts[scan_id] = self._counts.get(scan_id, 0) + frames

    def whole(self, frames: int) -> None:
        """Note that nothing at all will come of one more scan, which had so many frames."""
        self._whole = Loss("", self._whole.count + frames, (), self._whole.scans + 1)

    def take(self, scan_id: str) -> Loss | None:
        """Return what was noted of a scan and not told; from now on it counts as told."""
        count, named = self._counts.pop(scan_id, 0), self._named.pop(scan_id, [])
        if count == 0:
            return None
        runs = runs_of(np.concatenate(named)) if named else ()
        is_named = len(runs) <= MOST_RUNS and sum(last - first + 1 for first, last in runs) == count
        return Loss(scan_id, count, runs if is_named else ())

    def take_whole(self) -> Loss | None:
        """Return the whole scans that were noted and not told; from now on they count as told."""
        whole, self._whole = self._whole, Loss("", 0)
        return whole if whole.scans else None
