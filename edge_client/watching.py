"""A scan as it is seen from a distance: the picture so far, and an account of what was passed over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.frame import FrameBatch
from ..streaming.viewer import Sight
from .reporting.blocks import bars, blocks

Reals = NDArray[np.float64]


class Watched:
    """What a viewer has seen of the scan it looks at now. For one thread.

    Parameters
    ----------
    clock
        Monotonic seconds.

    Attributes
    ----------
    sight
        The last one; None before the first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.sight: Sight | None = None
        self._began_s = clock()
        self._means: Reals = np.zeros(0)
        self._frame: NDArray = np.zeros(())

    def saw(self, sight: Sight) -> None:
        """Take in what was seen; another scan takes the place of the one before."""
        if self.sight is None or self.sight.scan.scan_id != sight.scan.scan_id:
            self._means = np.full(sight.scan.n_frames, np.nan)
            self._began_s = self._clock()
        self.sight = sight
        if sight.batch is not None:
            self._put(sight.batch)

    def _put(self, batch: FrameBatch) -> None:
        count = len(batch.indices)
        if count:
            self._means[batch.indices] = batch.frames.reshape(count, -1).mean(axis=1).real
            self._frame = batch.frames[-1]

    def facts(self, lost_scans: int) -> dict[str, object]:
        """Return the account, for a program to read."""
        sight = self.sight
        assert sight is not None
        end = sight.end
        return {
            "scan": sight.scan.scan_id, "measurement": sight.scan.measurement_id, "detector": sight.scan.detector,
            "recorder": sight.scan.receiver, "frames": sight.scan.n_frames, "seen": sight.seen,
            "passed_over": sight.passed, "ended": None if end is None else end.status,
            "reason": "" if end is None else end.reason, "scans_passed_over": lost_scans,
        }  # fmt: skip

    def picture(self, lost_scans: int) -> RenderableType:
        """Return the account, the scan so far and the latest frame, beside each other, for rich."""
        sight = self.sight
        assert sight is not None
        grid = Table.grid(padding=(0, 2))
        grid.add_row(*self._pictures(sight.scan.scan_shape))
        return Group(*map(Text, self.account(lost_scans)), grid)

    def _pictures(self, shape: tuple[int, ...]) -> Iterator[RenderableType]:
        if len(shape) == 2 and min(shape) > 1:
            yield Group(*blocks(self._means.reshape(shape)))
        frame = np.asarray(np.abs(self._frame), dtype=np.float64)
        if frame.ndim == 1 and frame.size > 1:
            yield Group("latest frame", *bars(frame))
        elif frame.ndim == 2:
            # Diffraction patterns span decades.
            yield Group("latest frame", *blocks(np.log1p(frame)))
        elif math.prod(shape) == 1:
            yield Text(f"latest value {float(frame.mean()):g}")

    def account(self, lost_scans: int) -> tuple[str, str]:
        """Say in two lines which scan it is, how much of it was seen, and how it ended."""
        sight = self.sight
        assert sight is not None
        scan, end = sight.scan, sight.end
        state = "under way" if end is None else f"{end.status} {end.reason}".rstrip()
        whole = f"; {lost_scans} whole scans passed over" if lost_scans else ""
        seen = f"{sight.seen} of {scan.n_frames} frames seen, {sight.passed} passed over"
        kind = f"SIMULATED {scan.detector}" if scan.simulated else scan.detector
        return (
            f"{kind} scan {scan.scan_id} for {scan.receiver}",
            f"{seen}, {self._clock() - self._began_s:.0f} s, {state}{whole}",
        )
