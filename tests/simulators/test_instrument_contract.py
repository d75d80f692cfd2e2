"""The simulated microscope keeps the contract of instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beamloop.core import GridScan, PointScan, Region
from beamloop.simulators import SharedLine
from beamloop.simulators.microscope import simulated_microscope

from .instrument_contract import CLAIMS, Case

CORNER = Region(y_m=10e-9, x_m=20e-9, height_m=30e-9, width_m=40e-9)
PLANS = (
    GridScan(detector="haadf", shape=(9, 7), dwell_s=1e-5),
    GridScan(detector="bf", shape=(3, 5), dwell_s=1e-5, region=CORNER),
    GridScan(detector="diffraction", shape=(6, 7), dwell_s=1e-3, region=CORNER),
    PointScan(detector="eels", points=((5e-8, 2e-8), (1e-8, 9e-8)), dwell_s=0.05),
)


@pytest.fixture
def microscope(tmp_path: Path) -> Iterator[Case]:
    line = SharedLine(tmp_path)
    yield Case(lambda blanker: simulated_microscope({"seed": 4}, blanker), line, PLANS, needs_beam=True)
    line.release()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_simulated_microscope_keeps_the_contract(claim: Callable[[Case], None], microscope: Case) -> None:
    claim(microscope)
