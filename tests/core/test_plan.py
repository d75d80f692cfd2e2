"""Plans are values: what they mean, and what is not a plan."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import GridScan, PlanInvalid, PointScan, Region, plan_from

FIELD = Region(y_m=1.0, x_m=2.0, height_m=4.0, width_m=6.0)


def test_a_grid_visits_pixel_centres_row_by_row() -> None:
    positions = GridScan(detector="d", shape=(2, 3), dwell_s=1e-3).positions(FIELD)
    expected = [[2, 3], [2, 5], [2, 7], [4, 3], [4, 5], [4, 7]]
    np.testing.assert_allclose(positions, expected)


def test_a_grid_in_a_region_ignores_the_rest_of_the_field() -> None:
    region = Region(y_m=0.0, x_m=0.0, height_m=1.0, width_m=1.0)
    positions = GridScan(detector="d", shape=(1, 1), dwell_s=1e-3, region=region).positions(FIELD)
    np.testing.assert_allclose(positions, [[0.5, 0.5]])


def test_a_plan_survives_its_dump() -> None:
    for plan in (
        GridScan(detector="d", shape=(2, 3), dwell_s=1e-3, region=FIELD),
        PointScan(detector="d", points=((1.0, 2.0),), dwell_s=1e-3, expected=True),
    ):
        assert plan_from(plan.model_dump()) == plan


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "not a valid plan"),
        ({"kind": "spiral"}, "spiral"),
        ({"kind": "grid", "detector": "d", "shape": [0, 3], "dwell_s": 1.0}, "shape"),
        ({"kind": "grid", "detector": "d", "shape": [2, 3], "dwell_s": -1.0}, "dwell_s"),
        ({"kind": "grid", "detector": "d", "shape": [2, 3], "dwel_s": 1.0}, "dwel_s"),
        ({"kind": "points", "detector": "d", "points": [[0.0, float("inf")]], "dwell_s": 1.0}, "finite"),
        ({"kind": "points", "detector": "d", "points": [[0.0, 0.0]] * 10_001, "dwell_s": 1.0}, "at most 10000"),
        ({"kind": "set", "values": {"defocus_m": "far"}}, "defocus_m"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_field_that_is_wrong(data: object, words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        plan_from(data)


def test_a_wrong_coordinate_is_told_once() -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan_from({"kind": "points", "detector": "d", "points": [[0.0, 1.0], [0.0, float("nan")]], "dwell_s": 1.0})
    assert str(caught.value) == "not a valid plan: points.points.1.1: Input should be a finite number, got nan"


def test_a_grid_beyond_the_most_pixels_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="the most is"):
        plan_from({"kind": "grid", "detector": "d", "shape": [100_000, 100_000], "dwell_s": 1.0})


def test_the_border_of_a_region_belongs_to_it() -> None:
    inside = FIELD.contains(np.array([[1.0, 2.0], [5.0, 8.0], [5.1, 8.0], [0.9, 2.0]]))
    assert inside.tolist() == [True, True, False, False]
