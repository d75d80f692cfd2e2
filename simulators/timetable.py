"""When each frame of a scan begins and ends: settling, dwell, and flyback at the end of a row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.plan import Acquisition, GridScan
from ..core.timing import Timing

Reals = NDArray[np.float64]

TIMING = Timing(settle_s=1e-3, flyback_s=0.5e-3, jump_s=0.2e-3)
"""From the command to the first exposure, from the end of a row to the next, from one point of a list to the next."""


class Timetable(NamedTuple):
    """Times after the start of the scan, seconds, shape (n,) each."""

    begins: Reals
    ends: Reals


def timetable(plan: Acquisition) -> Timetable:
    """Return when each frame of a plan is exposed."""
    if isinstance(plan, GridScan):
        rows, columns = plan.shape
        pauses = np.repeat(np.arange(rows), columns) * TIMING.flyback_s
    else:
        pauses = np.arange(len(plan.points)) * TIMING.jump_s
    begins = TIMING.settle_s + pauses + np.arange(len(pauses)) * plan.dwell_s
    return Timetable(begins, begins + plan.dwell_s)
