"""When each frame of a scan begins and ends: settling, dwell, and flyback at the end of a row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.plan import Acquisition, GridScan

Reals = NDArray[np.float64]

SETTLE_S = 1e-3
"""From the command to the first exposure."""

FLYBACK_S = 0.5e-3
"""From the last pixel of a row to the first of the next."""

JUMP_S = 0.2e-3
"""From one point of a list to the next."""


class Timetable(NamedTuple):
    """Times after the start of the scan, seconds, shape (n,) each."""

    begins: Reals
    ends: Reals


def timetable(plan: Acquisition) -> Timetable:
    """Return when each frame of a plan is exposed."""
    if isinstance(plan, GridScan):
        rows, columns = plan.shape
        pauses = np.repeat(np.arange(rows), columns) * FLYBACK_S
    else:
        pauses = np.arange(len(plan.points)) * JUMP_S
    begins = SETTLE_S + pauses + np.arange(len(pauses)) * plan.dwell_s
    return Timetable(begins, begins + plan.dwell_s)
