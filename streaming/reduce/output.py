"""From flat buffers to calibrated results, and the counting error of a sum.

Source of the error: the variance of a Poisson count is its mean, estimated by the count
itself. An empty window is given the error of one count, since "no counts" does not mean
"certainly none" (its 84 % upper limit is 1.84 counts: Gehrels, Astrophys. J. 303 (1986) 336).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.frame import Scan
from ...core.signal import Signal

COUNTS = "counts"
"""Units of frames whose noise is that of counting."""


def per_position(scan: Scan, flat: NDArray, quantity: str | None = None, units: str | None = None) -> Signal:
    """Return numbers by flat scan index, shape (n_frames,), as a signal over the scan axes.

    Quantity and units are the scan's own where none are named.
    """
    return Signal(
        np.array(flat).reshape(scan.scan_shape),
        scan.scan_axes,
        scan.quantity if quantity is None else quantity,
        scan.units if units is None else units,
    )


def per_pixel(scan: Scan, frame: NDArray, quantity: str | None = None, units: str | None = None) -> Signal:
    """Return numbers by detector pixel, shape frame_shape, as a signal over the frame axes."""
    return Signal(
        np.array(frame),
        scan.frame_axes,
        scan.quantity if quantity is None else quantity,
        scan.units if units is None else units,
    )


def counting_variance(scan: Scan, total: NDArray) -> NDArray[np.float64]:
    """Return the variance of sums of frame values, same shape, in counts squared.

    nan where the frames are not counts, since nothing is known of their noise; zero where the scan holds
    noise-free expectations.
    """
    if scan.expected:
        return np.zeros(total.shape)
    if scan.units != COUNTS:
        return np.full(total.shape, np.nan)
    return np.maximum(np.asarray(total, dtype=np.float64), 1.0)


def counting_error(scan: Scan, total: NDArray) -> Signal:
    """Return the standard error of sums by flat scan index as a signal over the scan axes."""
    return per_position(scan, np.sqrt(counting_variance(scan, total)), f"standard error of {scan.quantity}")
