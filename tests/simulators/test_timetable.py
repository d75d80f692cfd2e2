"""When frames are exposed."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import GridScan, PointScan
from beamloop.simulators.timetable import FLYBACK_S, JUMP_S, SETTLE_S, timetable


def test_grid_pays_flyback_once_a_row() -> None:
    table = timetable(GridScan(detector="haadf", shape=(3, 4), dwell_s=1e-3))
    assert table.ends[-1] == pytest.approx(SETTLE_S + 12 * 1e-3 + 2 * FLYBACK_S)
    gaps = table.begins[1:] - table.ends[:-1]
    np.testing.assert_allclose(gaps, np.where(np.arange(1, 12) % 4 == 0, FLYBACK_S, 0), atol=1e-15)


def test_points_pay_a_jump_each() -> None:
    table = timetable(PointScan(detector="eels", points=((0, 0), (1, 1), (2, 2)), dwell_s=0.1))
    np.testing.assert_allclose(table.begins, SETTLE_S + np.arange(3) * (0.1 + JUMP_S))
    np.testing.assert_allclose(table.ends - table.begins, 0.1)
