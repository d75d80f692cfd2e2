"""Scans and frames to reduce, and the ways to cut and shuffle them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beamloop.core import Axis, FrameBatch, Scan

DTYPES = ("|u1", "<u2", ">u2", "<u4", "<i2", "<i4", "<f4", "<f8")


def scan_of(
    dtype: str,
    scan_shape: tuple[int, ...] = (3, 5),
    frame_axes: tuple[Axis, ...] = (),
    units: str = "counts",
    *,
    expected: bool = False,
) -> Scan:
    names = ("y", "x") if len(scan_shape) == 2 else ("index",)
    axes = tuple(Axis(name=n, size=s, units="m", scale=1e-9) for n, s in zip(names, scan_shape, strict=True))
    return Scan(
        scan_id="s1", measurement_id="m1", receiver="me", detector="camera", scan_axes=axes, frame_axes=frame_axes,
        dtype=dtype, dwell_s=1e-3, units=units, expected=expected,
    )  # fmt: skip


def camera_axes(shape: tuple[int, int] = (7, 9)) -> tuple[Axis, Axis]:
    v, u = (
        Axis(name=n, size=s, units="1/m", quantity="spatial frequency", offset=-1e9 * (s // 2), scale=1e9)
        for n, s in zip("vu", shape, strict=True)
    )
    return v, u


def energy_axis(size: int = 41) -> Axis:
    return Axis(name="energy_loss", size=size, units="eV", quantity="energy", offset=100.0, scale=0.1)


def frames_of(scan: Scan, seed: int = 0) -> NDArray:
    """Frames over the whole range of the dtype, its extremes included."""
    dtype = np.dtype(scan.dtype)
    rng = np.random.default_rng(seed)
    shape = (scan.n_frames, *scan.frame_shape)
    if dtype.kind == "f":
        return rng.normal(50.0, 20.0, shape).astype(dtype)
    limits = np.iinfo(dtype)
    frames = rng.integers(limits.min, limits.max, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)
    frames[0] = limits.max
    return frames


def batch_of(scan: Scan, frames: NDArray, indices: NDArray | list[int]) -> FrameBatch:
    chosen = np.asarray(indices, dtype=np.int64)
    return FrameBatch(scan.scan_id, chosen, np.stack([chosen * 1e-9, -chosen * 1e-9], axis=1), frames[chosen])
