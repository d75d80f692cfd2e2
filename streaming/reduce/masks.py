"""Detectors with a weight for each pixel: the sum of each frame under masks of any values.

Where a mask only says which pixels count, a `VirtualDetector` is exact and quicker.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from ...core.errors import FrameShapeWrong
from ...core.frame import FrameBatch, Scan
from ...core.frozen import Frozen
from ...core.protocols import Buffers
from ...core.signal import Axis, Signal
from .accumulator import merged, real_dtype
from .kernels import mask_sums, rows_of

Weights = tuple[tuple[float, ...], ...]


class Masks(Frozen):
    """Multiply each frame with each mask, and sum.

    Result: `value`, over the scan axes, and over an axis `mask` where there are several. Products of frames
    of up to 16 bit and of float32 are made in float32, all others in float64; `kernels.mask_sums` states
    the error.

    Attributes
    ----------
    masks
        A weight for each pixel, shape (k, v, u); lists or an array.
    """

    masks: Annotated[tuple[Weights, ...], Field(min_length=1)]

    @field_validator("masks", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        return value.tolist() if isinstance(value, np.ndarray) else value

    def empty(self, scan: Scan) -> Buffers:
        """Return zero sums by flat scan index, shape (n_frames, k), and the masks, shape (k, pixels).

        Raises
        ------
        FrameShapeWrong
            If a mask has another shape than the frames.
        """
        for mask in self.masks:
            shape = (len(mask), *{len(row) for row in mask})
            if shape != scan.frame_shape:
                raise FrameShapeWrong(f"a mask of shape {shape} does not fit frames of shape {scan.frame_shape}")
        # numpy's rule: float32 holds whole numbers of up to 16 bit exactly.
        products = np.result_type(real_dtype(scan), np.float32)
        masks = np.array(self.masks, np.float32 if products == np.float32 else np.float64)
        return {"value": np.zeros((scan.n_frames, len(masks))), "masks": masks.reshape(len(masks), -1)}

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place."""
        mask_sums(rows_of(batch.frames), batch.indices, buffers["masks"], buffers["value"])

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the sums of both parts."""
        return merged(left, right, "value")

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return `value` in the frames' units times those of the masks, which have none."""
        several = () if len(self.masks) == 1 else (Axis(name="mask", size=len(self.masks)),)
        axes = (*scan.scan_axes, *several)
        value = buffers["value"].reshape(tuple(axis.size for axis in axes)).copy()
        return {"value": Signal(value, axes, scan.quantity, scan.units)}
