from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from beamloop.core import Axis
from beamloop.streaming.reduce import Moments, Reducing

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of


def moments(scan, frames, parts):
    reducing = Reducing(scan, {"m": Moments()})
    for part in parts:
        reducing.add(batch_of(scan, frames, part))
    return reducing.results()["m"]


def exact(values: np.ndarray) -> tuple[float, float]:
    """Mean and sample variance in rational numbers."""
    numbers = [Fraction(v.item()) for v in values]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    return float(mean), float(sum((n - mean) ** 2 for n in numbers) / (len(numbers) - 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_and_variance_equal_those_in_rational_numbers(dtype: str) -> None:
    scan = scan_of(dtype, frame_axes=camera_axes((3, 5)))
    frames = frames_of(scan)
    result = moments(scan, frames, np.array_split(np.random.default_rng(1).permutation(15), 4))
    wanted = np.array([exact(pixel) for pixel in frames.reshape(15, -1).T])
    np.testing.assert_allclose(result["mean"].data.ravel(), wanted[:, 0], rtol=1e-13, atol=1e-13 * abs(wanted).max())
    np.testing.assert_allclose(result["variance"].data.ravel(), wanted[:, 1], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<f8"])
def test_a_small_scatter_on_a_large_mean_survives(dtype: str) -> None:
    scan = scan_of(dtype, scan_shape=(1000,), frame_axes=(Axis(name="index", size=1),))
    frames = np.full((1000, 1), 65_000, dtype)
    frames[::2] += 1
    result = moments(scan, frames, np.array_split(np.arange(1000), 7))
    assert result["mean"].data[0] == 65_000.5
    assert result["variance"].data[0] == pytest.approx(0.25 * 1000 / 999, rel=1e-12)


def test_equal_frames_have_no_variance_at_all() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    result = moments(scan, np.full((15, 7, 9), 65_535, "<u2"), [np.arange(15)])
    assert (result["variance"].data == 0).all()
    assert result["count"].data == 15


def test_variance_needs_two_frames_and_mean_one() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    frames = frames_of(scan)
    assert np.isnan(moments(scan, frames, [])["mean"].data).all()
    one = moments(scan, frames, [[3]])
    np.testing.assert_array_equal(one["mean"].data, frames[3])
    assert np.isnan(one["variance"].data).all()
