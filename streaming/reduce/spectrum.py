"""One number from a spectrum: a window of its channels, alone or against a background.

Works on any frame with one axis: energy loss, energy, bias. With S the sum over the n
channels of the window and B that over the m channels of the background:

| combine      | value        | variance, for counts                     |
|--------------|--------------|------------------------------------------|
| `sum`        | S            | S                                        |
| `mean`       | S / n        | S / n²                                   |
| `difference` | S - B n / m  | S + (n/m)² B - 2 (n/m) C                 |
| `ratio`      | S / B        | (S/B)² (1/S + 1/B - 2 C / (S B))         |

C is the sum over channels that both windows share (usually none), since shared counts are
not independent.

Source: first-order error propagation with covariance, Bevington & Robinson, "Data Reduction
and Error Analysis for the Physical Sciences", 3rd ed. (2003), section 3.2; Poisson variance
as in `output`.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from ...core.errors import FrameShapeWrong
from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Axis, Signal
from .accumulator import merged
from .chosen_sums import add_sums, empty_sums, pixels_in
from .output import counting_variance, per_position

EDGE_TOLERANCE = 1e-6
"""Part of a channel by which a window's edge may miss a channel's coordinate, because of rounding."""


class SpectrumWindow(Frozen):
    """Reduce each spectrum to one number.

    Results: `value` and its standard error `std` per scan position; `std` is nan where the units are not
    counts.

    Attributes
    ----------
    window
        `(lowest, highest)` coordinate, both inclusive, in the frame axis' units; None for all channels.
    background
        The same of a second window; needed by `difference` and `ratio`, refused by the others.
    combine
        What to make of the two; see the table above.
    by_channel
        Whether the windows count channels from 0 instead of naming coordinates; tells apart the two branches
        of a bias that goes up and down again.
    """

    window: tuple[float, float] | None = None
    background: tuple[float, float] | None = None
    combine: Literal["sum", "mean", "difference", "ratio"] = "sum"
    by_channel: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, limits in (("window", self.window), ("background", self.background)):
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name} = {limits} is upside down: its first number is the lower one")
        if (self.combine in ("difference", "ratio")) != (self.background is not None):
            verb = "needs a" if self.background is None else "takes no"
            raise ValueError(f"combine = {self.combine!r} {verb} background window")
        return self

    def empty(self, scan: Scan) -> Buffers:
        """Return zero sums by flat scan index, of each window, and the channels behind them.

        Raises
        ------
        FrameShapeWrong
            If frames are no spectra, or a window leaves the axis.
        """
        if len(scan.frame_axes) != 1:
            raise FrameShapeWrong(
                f"a spectrum window needs frames with one axis; those of {scan.detector} have shape {scan.frame_shape}"
            )
        (axis,) = scan.frame_axes
        if self.by_channel:
            axis = Axis(name="channel", size=axis.size)
        window = channels(axis, self.window)
        sums = empty_sums(scan, window, "window")
        if self.background is None:
            return sums
        background = channels(axis, self.background)
        sums |= empty_sums(scan, background, "background")
        return sums | empty_sums(scan, np.intersect1d(window, background), "shared")

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        for name in self._windows():
            add_sums(buffers, batch, name)

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the sums of both parts."""
        return merged(left, right, *self._windows())

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `value` and `std`; their units are the scan's, or none for a ratio."""
        value, variance = self._combined(scan, buffers)
        units = "" if self.combine == "ratio" else scan.units
        return {
            "value": per_position(scan, value, units=units),
            "std": per_position(scan, np.sqrt(variance), f"standard error of {scan.quantity}", units),
        }

    def _windows(self) -> tuple[str, ...]:
        return ("window",) if self.background is None else ("window", "background", "shared")

    def _combined(self, scan: Scan, buffers: Buffers) -> tuple[NDArray, NDArray[np.float64]]:
        s, n = buffers["window"], pixels_in(buffers, "window")
        var_s = counting_variance(scan, s)
        if self.combine == "sum":
            return s, var_s
        if self.combine == "mean":
            return s / n, var_s / n**2
        b, c = buffers["background"], buffers["shared"] * (var_s > 0)
        var_b, k = counting_variance(scan, b), n / pixels_in(buffers, "background")
        if self.combine == "difference":
            return s - k * b, np.maximum(var_s + k**2 * var_b - 2 * k * c, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(b != 0, s / b, np.nan)
            # Written without 1/S, so that an empty window still has an error.
            return ratio, np.maximum((var_s + ratio**2 * var_b - 2 * ratio * c) / np.square(b, dtype=np.float64), 0.0)


def channels(axis: Axis, limits: tuple[float, float] | None) -> NDArray[np.intp]:
    """Return the indices of the channels whose coordinate lies within `limits`, both inclusive.

    >>> channels(Axis(name="energy_loss", units="eV", size=5, offset=100.0, scale=0.5), (100.5, 101.5)).tolist()
    [1, 2, 3]

    Raises
    ------
    FrameShapeWrong
        If the limits leave the axis by more than half a channel, or hold no channel.
    """
    at = axis.coordinates()
    if limits is None:
        return np.arange(axis.size)
    low, high = limits
    steps = np.abs(np.diff(at))
    step = float(np.median(steps)) if len(steps) else abs(axis.scale)
    first, last = float(at.min()), float(at.max())
    slack = EDGE_TOLERANCE * step
    inside = np.flatnonzero((at >= low - slack) & (at <= high + slack))
    if low < first - step / 2 - slack or high > last + step / 2 + slack or not len(inside):
        raise FrameShapeWrong(
            f"window {low:g} .. {high:g} {axis.units} does not fit axis {axis.name}, which has channels from "
            f"{first:g} to {last:g} {axis.units} in steps of {step:g}"
        )
    return inside
