"""When frames are exposed."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import GridScan, PointScan
from beamloop.simulators.timetable import TIMING, timetable


def test_grid_pays_flyback_once_a_row() -> None:
    table = timetable(GridScan(detector="haadf", shape=(3, 4), dwell_s=1e-3))
    assert table.ends[-1] == pytest.approx(TIMING.settle_s + 12 * 1e-3 + 2 * TIMING.flyback_s)
    gaps = table.begins[1:] - table.ends[:-1]
    np.testing.assert_allclose(gaps, np.where(np.arange(1, 12) % 4 == 0, TIMING.flyback_s, 0), atol=1e-15)


def test_points_pay_a_jump_each() -> None:
    table = timetable(PointScan(detector="eels", points=((0, 0), (1, 1), (2, 2)), dwell_s=0.1))
    np.testing.assert_allclose(table.begins, TIMING.settle_s + np.arange(3) * (0.1 + TIMING.jump_s))
    np.testing.assert_allclose(table.ends - table.begins, 0.1)


@pytest.mark.parametrize(
    "plan",
    [
        GridScan(detector="haadf", shape=(3, 4), dwell_s=1e-3),
        GridScan(detector="haadf", shape=(1, 1), dwell_s=1e-6),
        PointScan(detector="eels", points=((0, 0), (1, 1), (2, 2)), dwell_s=0.1),
    ],
)
def test_what_is_said_beforehand_of_a_scan_is_how_long_it_takes(plan: GridScan | PointScan) -> None:
    assert TIMING.duration_s(plan) == pytest.approx(timetable(plan).ends[-1], rel=1e-12)
    assert TIMING.duration_s(plan.model_copy(update={"expected": True})) == 0.0
