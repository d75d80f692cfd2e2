from __future__ import annotations

import math

import numpy as np
import pytest

from beamloop.streaming.reduce import Reducing, Total

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 9), (1, 1), (3, 1)])
def test_sums_equal_those_in_unbounded_whole_numbers(dtype: str, shape: tuple[int, int]) -> None:
    scan = scan_of(dtype, frame_axes=camera_axes(shape))
    frames = frames_of(scan)
    reducing = Reducing(scan, {"t": Total()})
    reducing.add(batch_of(scan, frames, np.arange(15)))
    result = reducing.results()["t"]
    if np.dtype(dtype).kind == "f":
        exact = [math.fsum(frame.ravel().tolist()) for frame in frames]
        np.testing.assert_allclose(result["value"].data.ravel(), exact, rtol=1e-14)
        pixels = np.array([math.fsum(p.tolist()) for p in frames.reshape(15, -1).T]).reshape(shape)
        np.testing.assert_allclose(result["frame"].data, pixels, rtol=1e-13)
        return
    whole = frames.astype(object)
    assert result["value"].data.ravel().tolist() == [int(frame.sum()) for frame in whole]
    assert result["frame"].data.tolist() == whole.sum(axis=0).tolist()


def test_no_sum_of_32_bit_frames_overflows_at_the_largest_scan() -> None:
    scan = scan_of("<u4", scan_shape=(1 << 26,), frame_axes=())
    assert scan.n_frames * (2**32 - 1) < np.iinfo(Total().empty(scan)["frame"].dtype).max


def test_64_bit_frames_are_summed_in_floats_and_do_not_wrap() -> None:
    scan = scan_of("<u8", frame_axes=camera_axes())
    frames = np.full((15, 7, 9), 2**64 - 1, "<u8")
    reducing = Reducing(scan, {"t": Total()})
    reducing.add(batch_of(scan, frames, np.arange(15)))
    np.testing.assert_allclose(reducing.results()["t"]["frame"].data, 15.0 * 2**64, rtol=1e-15)


def test_the_counting_error_is_the_scatter_of_repeated_counts() -> None:
    scan = scan_of("<u2", scan_shape=(4000,), frame_axes=camera_axes())
    frames = np.random.default_rng(3).poisson(2.0, (4000, 7, 9)).astype("<u2")
    reducing = Reducing(scan, {"t": Total()})
    reducing.add(batch_of(scan, frames, np.arange(4000)))
    result = reducing.results()["t"]
    # The scatter of 4000 draws is known to 1 / sqrt(2 * 4000) = 1.1 %.
    assert result["std"].data.mean() == pytest.approx(result["value"].data.std(ddof=1), rel=0.05)


@pytest.mark.parametrize(("units", "expected", "std"), [("a.u.", False, np.nan), ("counts", True, 0.0)])
def test_the_error_is_unknown_without_counts_and_none_for_an_expectation(
    units: str, expected: bool, std: float
) -> None:
    scan = scan_of("<f4", units=units, expected=expected)
    reducing = Reducing(scan, {"t": Total()})
    reducing.add(batch_of(scan, frames_of(scan), np.arange(15)))
    np.testing.assert_array_equal(reducing.results()["t"]["std"].data, np.full((3, 5), std))
