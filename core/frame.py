"""What travels on the data channel: a scan header, batches of frames, and the scan's end.

A frame is whatever a detector gives at one position: a number (an image pixel, frame shape
`()`), a spectrum `(energy,)` or a diffraction pattern `(v, u)`. Every frame has an index in
its scan and a position on the specimen, so frames may arrive in any order and gaps show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from .errors import FrameShapeWrong
from .frozen import Frozen
from .signal import Axis


class Scan(Frozen):
    """The header of a scan, sent once before its frames.

    Attributes
    ----------
    scan_id
        Unique name of this scan at this instrument.
    measurement_id
        The asker's name for it; keys a simulator's noise.
    receiver
        Who asked; the frames go to this receiver only.
    detector, quantity, units
        Which detector, what its numbers measure, in which units.
    scan_axes
        Axes of the scan: `(y, x)` of a grid, or `(index,)` of a list of points.
    frame_axes
        Axes of one frame: `()`, `(energy_loss,)` or `(v, u)`.
    dtype
        numpy dtype string with byte order, for example `<u2`.
    dwell_s
        Exposure of one frame.
    expected
        True for the noise-free expectation that only simulators and recordings can give.
    simulated
        True unless the frames come from real hardware or were recorded on it.
    state
        Instrument parameters at the start, SI units.
    started_s
        Instrument clock at the start.
    """

    scan_id: str
    measurement_id: str
    receiver: str
    detector: str
    scan_axes: tuple[Axis, ...]
    frame_axes: tuple[Axis, ...]
    dtype: str
    dwell_s: NonNegativeFloat
    quantity: str = "intensity"
    units: str = "counts"
    expected: bool = False
    simulated: bool = False
    state: dict[str, float] = Field(default_factory=dict)
    started_s: float = 0.0

    @property
    def scan_shape(self) -> tuple[int, ...]:
        """Sizes of the scan axes."""
        return tuple(axis.size for axis in self.scan_axes)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Sizes of the frame axes."""
        return tuple(axis.size for axis in self.frame_axes)

    @property
    def n_frames(self) -> int:
        """Frames the scan will hold when it is complete."""
        return math.prod(self.scan_shape)

    @property
    def frame_bytes(self) -> int:
        """Size of one frame."""
        return math.prod(self.frame_shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Some frames of one scan.

    Attributes
    ----------
    scan_id
        The scan they belong to.
    indices
        Flat scan index of each frame, shape (n,).
    positions
        Where each was taken, `(y, x)` in metres, shape (n, 2).
    frames
        The frames, shape (n, *frame_shape), in the header's dtype.
    """

    scan_id: str
    indices: NDArray[np.int64]
    positions: NDArray[np.float64]
    frames: NDArray

    def check(self, scan: Scan) -> None:
        """Raise unless the batch is what `scan` announced.

        Raises
        ------
        FrameShapeWrong
            If dtype, frame shape, lengths or indices disagree with the header.
        """
        shape = (len(self.indices), *scan.frame_shape)
        if self.frames.dtype.str != scan.dtype:
            raise FrameShapeWrong(
                f"frames of scan {scan.scan_id} have dtype {self.frames.dtype.str}, its header said {scan.dtype}; "
                "the sender changed settings without opening a new scan"
            )
        if self.frames.shape != shape or self.positions.shape != (len(self.indices), 2):
            raise FrameShapeWrong(
                f"frames of scan {scan.scan_id} have shape {self.frames.shape} at positions of shape "
                f"{self.positions.shape}, its header asks for {shape} at ({len(self.indices)}, 2)"
            )
        if len(self.indices) and (self.indices.min() < 0 or self.indices.max() >= scan.n_frames):
            raise FrameShapeWrong(
                f"scan {scan.scan_id} has {scan.n_frames} frames; a batch names index "
                f"{int(self.indices.min())}..{int(self.indices.max())}"
            )


class ScanEnd(Frozen):
    """How a scan ended; only `complete` means that every frame was sent.

    Attributes
    ----------
    scan_id
        The scan.
    status
        `complete`, `stopped` (by a person or the guard) or `failed` (the driver raised, or frames were lost).
    n_frames
        Frames sent, which is fewer than the header's count unless complete.
    reason
        Why it was not complete, with the frames that it lacks if its source lost any; empty otherwise.
    electrons
        Electrons that reached the specimen: the dose this scan cost.
    duration_s
        Instrument seconds from start to end: settling, dwell and flyback.
    produced_s
        Wall seconds that the driver needed to produce the frames.
    """

    scan_id: str
    status: Literal["complete", "stopped", "failed"]
    n_frames: NonNegativeInt
    reason: str = ""
    electrons: NonNegativeFloat = 0.0
    duration_s: NonNegativeFloat = 0.0
    produced_s: NonNegativeFloat = 0.0


class Measurement(Frozen):
    """One value of the property under study at one candidate: what a learner sees.

    Attributes
    ----------
    measurement_id
        Name of the measurement in the run.
    candidate
        Index into the pool of candidates.
    position
        `(y, x)` in metres.
    value
        The target value, in the target's units.
    std
        Its known standard error in the same units; None if it must be learnt.
    electrons, duration_s
        What it cost: dose and instrument seconds.
    """

    measurement_id: str
    candidate: NonNegativeInt
    position: tuple[float, float]
    value: float
    std: NonNegativeFloat | None = None
    electrons: NonNegativeFloat = 0.0
    duration_s: NonNegativeFloat = 0.0
