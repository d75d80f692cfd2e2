"""Where the intensity of each diffraction pattern lies: its first moment.

For whole-number frames the moments are summed over pixel numbers in whole numbers, so they
are exact, and only the last step, a division and the calibration, is rounded.

Source: Waddell & Chapman, "Linear imaging of strong phase objects using asymmetrical
detectors in STEM", Optik 54 (1979) 83 (first-moment imaging).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FrameShapeWrong
from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Axis, Signal
from .accumulator import accumulator, merged, partial, real_dtype
from .kernels import first_moments, rows_of
from .output import per_position
from .region import Region, chosen_pixels


class CentreOfMass(Frozen):
    """Find the centre of mass of each frame.

    Results per scan position, in the units of the frame axes: `v` and `u`, the centre of mass, and `value`,
    its distance from `origin`. All are nan where a frame sums to zero.

    Attributes
    ----------
    origin
        `(v, u)` from which `value` is measured, in the frame axes' units.
    region
        Pixels to take, for example the bright-field disk; None for the whole frame.
    """

    origin: tuple[float, float] = (0.0, 0.0)
    region: Region | None = None

    def empty(self, scan: Scan) -> Buffers:
        """Return zero moments by flat scan index, and the weights and pixels that make them.

        Raises
        ------
        FrameShapeWrong
            If frames are not two-dimensional, their axes differ in units, or the region does not fit them.
        """
        if len(scan.frame_axes) != 2 or scan.frame_axes[0].units != scan.frame_axes[1].units:
            found = ", ".join(f"{axis.name} [{axis.units}] {axis.size}" for axis in scan.frame_axes) or "none"
            raise FrameShapeWrong(
                f"a centre of mass needs two frame axes in the same units; {scan.detector} has {found}"
            )
        moments = [_moment(scan, axis) for axis in scan.frame_axes]
        region = {} if self.region is None else {"inside": chosen_pixels(self.region, scan.frame_axes)}
        return region | {
            "total": np.zeros(scan.n_frames, accumulator(real_dtype(scan), math.prod(scan.frame_shape))),
            "moment_v": moments[0],
            "moment_u": moments[1],
            "weight_v": _weights(scan.frame_axes[0]),
            "weight_u": _weights(scan.frame_axes[1]),
            "partial": np.empty(0, partial(real_dtype(scan), max(scan.frame_shape))),
        }

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        first_moments(
            rows_of(batch.frames), batch.indices, buffers.get("inside"), buffers["weight_v"], buffers["weight_u"],
            buffers["partial"], buffers["total"], buffers["moment_v"], buffers["moment_u"],
        )  # fmt: skip

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the moments of both parts."""
        return merged(left, right, "total", "moment_v", "moment_u")

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `v`, `u` and `value` in the frame axes' units."""
        units, quantity = scan.frame_axes[0].units, scan.frame_axes[0].quantity
        total, (along_v, along_u) = buffers["total"], scan.frame_axes
        v, u = _centre(along_v, total, buffers["moment_v"]), _centre(along_u, total, buffers["moment_u"])
        distance = np.hypot(v - self.origin[0], u - self.origin[1])
        return {
            "v": per_position(scan, v, f"centre of mass {quantity}".strip(), units),
            "u": per_position(scan, u, f"centre of mass {quantity}".strip(), units),
            "value": per_position(scan, distance, "distance of the centre of mass", units),
        }


def _weights(axis: Axis) -> NDArray:
    """Return what multiplies each pixel: its number on an even axis, which keeps sums whole, or its coordinate."""
    return axis.coordinates() if axis.values else np.arange(axis.size, dtype=np.int64)


def _moment(scan: Scan, axis: Axis) -> NDArray:
    terms = math.prod(scan.frame_shape) * axis.size
    dtype = np.dtype(np.float64) if axis.values else accumulator(real_dtype(scan), terms)
    return np.zeros(scan.n_frames, dtype)


def _centre(axis: Axis, total: NDArray, moment: NDArray) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(total != 0, moment / total, np.nan)
    return mean if axis.values else axis.offset + axis.scale * mean
