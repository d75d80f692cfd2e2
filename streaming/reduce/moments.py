"""Mean and variance of every detector pixel over a scan, one pass, constant memory.

A scan can be longer than memory, so only a few numbers per pixel are kept and never the
frames. Frames of up to 16-bit whole numbers keep their exact sums and sums of squares:
the result is then the same for every order and every split of the frames. All others keep
mean and scatter (the sum of squared deviations), which two partial results merge without
the cancellation that a difference of large sums would suffer.

Source: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", Stanford report STAN-CS-79-773 (1979), eq. 2.1 (pairwise merge). The
exact scatter of whole numbers about the rounded mean q is the shifted-data identity
Σ(f - q)² - r²/n with Σf = qn + r.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Signal
from .accumulator import accumulator, merged, real_dtype
from .kernels import add_scatter, add_squares, rows_of
from .output import per_pixel


class Moments(Frozen):
    """Compute the mean frame and the sample variance of every pixel.

    Results: `mean` (nan before the first frame), `variance` (nan with fewer than two) and `count`, the
    number of frames behind them.
    """

    def empty(self, scan: Scan) -> Buffers:
        """Return the numbers of no frame: `sum` and `squares`, or `mean` and `scatter`, each frame_shape."""
        dtype, shape = real_dtype(scan), scan.frame_shape
        # Twice the frames, because the scatter about the mean passes through a slightly larger number.
        exact = accumulator(dtype, 2 * scan.n_frames, power=2) == np.int64
        names = ("sum", "squares") if exact else ("mean", "scatter")
        sums = {name: np.zeros(shape, np.int64 if exact else np.float64) for name in names}
        return {"count": np.zeros((), np.int64), **sums}

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        rows, flat = rows_of(batch.frames), {name: buffer.reshape(-1) for name, buffer in buffers.items()}
        if "sum" in buffers:
            add_squares(rows, flat["sum"], flat["squares"])
        else:
            add_scatter(rows, int(buffers["count"]), flat["mean"], flat["scatter"])
        buffers["count"] += len(rows)

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the moments of both parts together."""
        if "sum" in left:
            return merged(left, right, *left)
        count = left["count"] + right["count"]
        # The weight of the right part is 0 if both are empty, where any other would be 0 / 0.
        weight = right["count"] / max(int(count), 1)
        shift = right["mean"] - left["mean"]
        # Each side's scatter is about its own mean; the last term moves both to the common one.
        scatter = left["scatter"] + right["scatter"] + shift**2 * (left["count"] * weight)
        return {
            "count": np.asarray(count),
            "mean": np.asarray(left["mean"] + shift * weight),
            "scatter": np.asarray(scatter),
        }

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `mean` in the frames' units, `variance` in their square, and `count`."""
        n = int(buffers["count"])
        mean, scatter = _about_mean(buffers)
        nothing = np.full(scan.frame_shape, np.nan)
        squared = f"{scan.units}^2" if scan.units else ""
        return {
            "mean": per_pixel(scan, mean if n else nothing),
            "variance": per_pixel(scan, scatter / (n - 1) if n > 1 else nothing, units=squared),
            "count": Signal(buffers["count"].copy(), (), "frames"),
        }


def _about_mean(buffers: Buffers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and scatter, each frame_shape; of no frames, zeros."""
    if "mean" in buffers:
        return buffers["mean"], buffers["scatter"]
    n, total = max(int(buffers["count"]), 1), buffers["sum"]
    # About the nearest whole number q, because about a floor the rest r could be as large as n.
    q = (2 * total + n) // (2 * n)
    r = total - q * n
    about_q = buffers["squares"] - q * (total + r)
    return q + r / n, about_q - r.astype(np.float64) ** 2 / n
