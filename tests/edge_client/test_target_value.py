"""The number under study: the reduction's own, or unknown where it cannot be real."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beamloop.core import Axis, DetectorInfo, FrameBatch, Scan
from beamloop.edge_client.experiment import Target
from beamloop.edge_client.target_value import target_value

ENERGY = Axis(name="energy_loss", size=4, units="eV", offset=100.0, scale=1.0)
SPECTRA = np.array([[1, 2, 3, 4], [0, 0, 0, 0], [90, 90, 90, 90]], dtype="<u4")


def values(**target: object) -> list[float]:
    settings = {"name": "edge", "reduction": "spectrum-window", **target}
    made = target_value(Target.model_validate(settings), DetectorInfo(name="eels", frame_axes=(ENERGY,), dtype="<u4"))
    scan = Scan(
        scan_id="s", measurement_id="m", receiver="ada", detector="eels", scan_axes=(Axis(name="index", size=3),),
        frame_axes=(ENERGY,), dtype="<u4", dwell_s=0.1,
    )  # fmt: skip
    reducing = made.begin(scan)
    reducing.add(FrameBatch("s", np.arange(3), np.zeros((3, 2)), SPECTRA))
    return made.values(reducing)[0].tolist()


def test_the_value_is_the_reductions() -> None:
    assert values() == [10.0, 0.0, 360.0]


def test_what_is_outside_the_plausible_range_is_unknown_and_its_border_is_not() -> None:
    below, inside, above = (
        values(plausible=(0.5, 10.0))[1],
        values(plausible=(0.5, 10.0))[0],
        values(plausible=(0, 10))[2],
    )
    assert inside == 10.0
    assert math.isnan(below)
    assert math.isnan(above)


def test_a_ratio_over_nothing_is_unknown() -> None:
    ratio = {"combine": "ratio", "window": (102.0, 103.0), "background": (100.0, 101.0)}
    found = values(settings=ratio)
    assert found[0] == pytest.approx(7 / 3)
    assert math.isnan(found[1])
