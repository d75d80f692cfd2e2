from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import FrameShapeWrong
from beamloop.streaming.reduce import Masks, Reducing
from beamloop.streaming.reduce.kernels import MASK_PIXELS

from .scans import DTYPES, batch_of, camera_axes, frames_of, scan_of

FLOAT32 = ("|u1", "<u2", ">u2", "<i2", "<f4")
"""Frames whose products are made in float32."""


def masked(scan, frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    reducing = Reducing(scan, {"m": Masks(masks=masks)})
    reducing.add(batch_of(scan, frames, np.arange(scan.n_frames)))
    return reducing.results()["m"]["value"].data.reshape(scan.n_frames, -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 4, 6, 16])
@pytest.mark.parametrize("shape", [(7, 9), (1, 1), (67, 129)])
def test_sums_equal_those_in_float64_within_the_stated_error(dtype: str, k: int, shape: tuple[int, int]) -> None:
    scan = scan_of(dtype, scan_shape=(5,), frame_axes=camera_axes(shape))
    frames, masks = frames_of(scan), np.random.default_rng(k).normal(size=(k, *shape))
    weights = masks.astype(np.float32).astype(np.float64) if dtype in FLOAT32 else masks
    rows = frames.astype(np.float64).reshape(5, 1, -1)
    products = rows * weights.reshape(1, k, -1)
    unit = 2.0**-24 if dtype in FLOAT32 else 2.0**-53
    magnitudes = np.abs(products).sum(axis=2)
    error = np.abs(masked(scan, frames, masks) - products.sum(axis=2))
    assert (error <= (MASK_PIXELS * unit + 1e-14) * magnitudes).all()


def test_several_masks_have_an_axis_and_one_has_none() -> None:
    scan = scan_of("<u2", frame_axes=camera_axes())
    masks = np.ones((2, 7, 9))
    several = Reducing(scan, {"m": Masks(masks=masks)}).results()["m"]["value"]
    assert [axis.name for axis in several.axes] == ["y", "x", "mask"]
    assert Reducing(scan, {"m": Masks(masks=masks[:1])}).results()["m"]["value"].axes == scan.scan_axes


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(FrameShapeWrong, match=r"shape \(7, 8\) does not fit frames of shape \(7, 9\)"):
        Masks(masks=np.ones((1, 7, 8))).empty(scan_of("<u2", frame_axes=camera_axes()))
