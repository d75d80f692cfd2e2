"""A detector drawn after the fact: the sum of each diffraction pattern over a region."""

from __future__ import annotations

import numpy as np

from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Signal
from .accumulator import merged
from .chosen_sums import add_sums, empty_sums
from .output import counting_error, per_position
from .region import Region, chosen_pixels


class VirtualDetector(Frozen):
    """Sum each frame over a disk, ring, polygon or mask.

    Results: `value` and its counting error `std` per scan position.

    Attributes
    ----------
    region
        Which pixels to sum, in the units of the frame axes unless it says `pixels`; in an experiment file
        for example `region = {kind = "ring", inner = 4e9, outer = 12e9}`.
    """

    region: Region

    def empty(self, scan: Scan) -> Buffers:
        """Return zero sums by flat scan index and the pixels to sum.

        Raises
        ------
        FrameShapeWrong
            If the region does not fit the scan's frames.
        """
        return empty_sums(scan, np.flatnonzero(chosen_pixels(self.region, scan.frame_axes)), "value")

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        add_sums(buffers, batch, "value")

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the sums of both parts."""
        return merged(left, right, "value")

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `value` and `std`, in the frames' units."""
        return {"value": per_position(scan, buffers["value"]), "std": counting_error(scan, buffers["value"])}
