from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from beamloop.core import Axis, FrameShapeWrong
from beamloop.streaming.reduce import CentreOfMass, Disk, Reducing

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of


def centres(scan, frames, reduction=None):
    reducing = Reducing(scan, {"c": reduction or CentreOfMass()})
    reducing.add(batch_of(scan, frames, np.arange(scan.n_frames)))
    result = reducing.results()["c"]
    return result["v"].data.ravel(), result["u"].data.ravel(), result["value"].data.ravel()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 9), (1, 5)])
def test_centres_equal_those_in_rational_numbers(dtype: str, shape: tuple[int, int]) -> None:
    scan = scan_of(dtype, frame_axes=camera_axes(shape))
    frames = frames_of(scan)
    v, u, _ = centres(scan, frames)
    for frame, found_v, found_u in zip(frames, v, u, strict=True):
        numbers = [[Fraction(x.item()) for x in row] for row in frame]
        total = sum(map(sum, numbers))
        wanted_v = sum(i * sum(row) for i, row in enumerate(numbers)) / total
        wanted_u = sum(j * sum(row[j] for row in numbers) for j in range(shape[1])) / total
        tolerance = 1e-12 * max(1.0, abs(float(wanted_v)), abs(float(wanted_u)))
        assert found_v / 1e9 + shape[0] // 2 == pytest.approx(float(wanted_v), abs=10 * tolerance)
        assert found_u / 1e9 + shape[1] // 2 == pytest.approx(float(wanted_u), abs=10 * tolerance)


def test_centres_equal_those_of_scipy_and_value_is_the_distance() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    frames = np.random.default_rng(5).poisson(4.0, (15, 7, 9)).astype("<u2")
    v, u, value = centres(scan, frames, CentreOfMass(origin=(1e9, -1e9)))
    wanted = (np.array([ndimage.center_of_mass(f) for f in frames]) - [3, 4]) * 1e9
    np.testing.assert_allclose(np.stack([v, u], axis=1), wanted, rtol=1e-12)
    np.testing.assert_allclose(value, np.linalg.norm(wanted - [1e9, -1e9], axis=1), rtol=1e-12)


def test_a_region_limits_what_is_weighed() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    frames = frames_of(scan)
    v, _, _ = centres(scan, frames, CentreOfMass(region=Disk(radius=2.5e9)))
    i, j = np.mgrid[-3:4, -4:5]
    weights = frames * (i**2 + j**2 < 6.25).astype(np.int64)
    np.testing.assert_allclose(v, 1e9 * (weights * i).sum(axis=(1, 2)) / weights.sum(axis=(1, 2)), rtol=1e-12)


def test_an_uneven_axis_is_weighed_by_its_coordinates() -> None:
    v = Axis(name="v", size=3, units="rad", values=(0.0, 1.0, 10.0))
    scan = scan_of("<u2", scan_shape=(1,), frame_axes=(v, Axis(name="u", size=1, units="rad")))
    found, _, _ = centres(scan, np.array([[[1], [1], [2]]], "<u2"))
    assert found[0] == 21.0 / 4.0


def test_a_dark_frame_has_no_centre() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    v, u, value = centres(scan, np.zeros((15, 7, 9), "<u2"))
    assert np.isnan([v, u, value]).all()


def test_spectra_and_axes_of_different_units_are_refused() -> None:
    with pytest.raises(FrameShapeWrong, match="none"):
        CentreOfMass().empty(scan_of("<u2"))
    axes = (Axis(name="v", size=2, units="m"), Axis(name="u", size=2, units="rad"))
    with pytest.raises(FrameShapeWrong, match=r"v \[m\] 2, u \[rad\] 2"):
        CentreOfMass().empty(scan_of("<u2", frame_axes=axes))
