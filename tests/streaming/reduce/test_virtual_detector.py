from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from beamloop.core import Axis, FrameShapeWrong
from beamloop.streaming.reduce import Disk, Mask, Polygon, Reducing, Ring, VirtualDetector
from beamloop.streaming.reduce.region import chosen_pixels

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of

SHAPE = (7, 9)


def by_hand(inside) -> np.ndarray:
    """Which pixels of the 7 x 9 camera satisfy `inside(v, u)`, in axis units of 1e9 / m, one at a time."""
    return np.array([[inside(i - 3, j - 4) for j in range(9)] for i in range(7)])


REGIONS = {
    "disk": (Disk(radius=2.5e9), lambda v, u: v * v + u * u < 6.25),
    "disk off the centre": (Disk(radius=1.5e9, centre=(1e9, -2e9)), lambda v, u: (v - 1) ** 2 + (u + 2) ** 2 < 2.25),
    "ring": (Ring(inner=2e9, outer=3e9), lambda v, u: 4 <= v * v + u * u < 9),
    "ring in pixels": (Ring(inner=2, outer=3, centre=(3, 4), pixels=True), lambda v, u: 4 <= v * v + u * u < 9),
    "mask": (Mask(mask=by_hand(lambda v, u: (v + u) % 3 == 0)), lambda v, u: (v + u) % 3 == 0),
    "rhombus": (
        Polygon(vertices=((-2.5e9, 0.0), (0.0, 2.5e9), (2.5e9, 0.0), (0.0, -2.5e9))),
        lambda v, u: abs(v) + abs(u) < 2.5,
    ),
}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_equals_that_over_pixels_found_one_by_one(region: str, dtype: str) -> None:
    shape, inside = REGIONS[region]
    scan = scan_of(dtype, frame_axes=camera_axes(SHAPE))
    frames = frames_of(scan)
    reducing = Reducing(scan, {"d": VirtualDetector(region=shape)})
    reducing.add(batch_of(scan, frames, np.arange(15)))
    value = reducing.results()["d"]["value"].data.ravel()
    mask = by_hand(inside)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(value, [f[mask].astype(np.float64).sum() for f in frames], rtol=1e-13)
    else:
        assert value.tolist() == [int(f[mask].astype(object).sum()) for f in frames]


@settings(max_examples=40, deadline=None)
@given(
    centre=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    radii=st.lists(st.floats(0.1, 20), min_size=2, max_size=2, unique=True).map(sorted),
)
def test_a_disk_and_the_ring_around_it_make_the_larger_disk(centre: tuple[float, float], radii: list[float]) -> None:
    v, u = np.mgrid[-5:6, -5:6].astype(float)
    inner, ring, outer = (
        region.covers(v, u)
        for region in (
            Disk(radius=radii[0], centre=centre),
            Ring(inner=radii[0], outer=radii[1], centre=centre),
            Disk(radius=radii[1], centre=centre),
        )
    )
    assert not (inner & ring).any()
    np.testing.assert_array_equal(inner | ring, outer)


def winding_angle(vertices: np.ndarray, v: float, u: float) -> float:
    """The angle through which the corners turn around a place: 2 pi inside a simple polygon, 0 outside."""
    angles = np.arctan2(vertices[:, 0] - v, vertices[:, 1] - u)
    turns = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
    return abs(float(turns.sum()))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 9))
def test_a_polygon_holds_the_pixels_around_which_it_winds(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    # A star-shaped polygon, convex or not, never crosses itself; off the pixel grid no centre lies on its line.
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(1.0, 6.0, n)
    vertices = np.stack([radii * np.sin(angles), radii * np.cos(angles)], axis=1) + rng.uniform(0.1, 0.4, 2)
    axes = tuple(Axis(name=name, size=13, offset=-6.0) for name in "vu")
    wanted = np.array([[winding_angle(vertices, i - 6, j - 6) > np.pi for j in range(13)] for i in range(13)])
    polygon = Polygon(vertices=tuple(map(tuple, vertices.tolist())))
    v, u = np.mgrid[-6:7, -6:7].astype(float)
    np.testing.assert_array_equal(polygon.covers(v, u), wanted)
    if wanted.any():
        np.testing.assert_array_equal(chosen_pixels(polygon, axes), wanted)


def test_polygons_that_share_an_edge_through_pixel_centres_tile_the_square() -> None:
    v, u = np.mgrid[0:8, 0:8].astype(float)
    corners = ((-0.5, -0.5), (-0.5, 7.5), (7.5, 7.5), (7.5, -0.5))
    left = Polygon(vertices=(corners[0], corners[1], (4.0, 4.0), corners[3])).covers(v, u)
    right = Polygon(vertices=(corners[1], corners[2], corners[3], (4.0, 4.0))).covers(v, u)
    assert (left ^ right).all()


def test_a_region_that_covers_no_pixel_is_refused_with_the_range_of_the_axes() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes(SHAPE))
    with pytest.raises(FrameShapeWrong, match=r"no pixel lies in Disk.*v -3e\+09 \.\. 3e\+09 1/m"):
        VirtualDetector(region=Disk(radius=1e9, centre=(8e9, 0.0))).empty(scan)


@pytest.mark.parametrize("rows", [((True,) * 9,) * 6, ((True,) * 9,) * 6 + ((True,),)])
def test_a_mask_of_another_shape_is_refused(rows: tuple[tuple[bool, ...], ...]) -> None:
    with pytest.raises(FrameShapeWrong, match="does not fit frames of shape"):
        VirtualDetector(region=Mask(mask=rows)).empty(scan_of("<u2", frame_axes=camera_axes(SHAPE)))


def test_frames_that_are_no_images_are_refused() -> None:
    with pytest.raises(FrameShapeWrong, match="two axes"):
        VirtualDetector(region=Disk(radius=1.0)).empty(scan_of("<u2"))


def test_the_settings_of_an_experiment_file_make_the_detector() -> None:
    settings = {"region": {"kind": "ring", "inner": 1e9, "outer": 2e9}}
    assert VirtualDetector.model_validate(settings).region == Ring(inner=1e9, outer=2e9)
    with pytest.raises(ValidationError, match="must be less than outer"):
        VirtualDetector.model_validate({"region": {"kind": "ring", "inner": 2e9, "outer": 1e9}})
