"""A recording as a detector that counts would give it: numbered frames of whole numbers up to a limit.

What a counter cannot hold it shows as full, as a real one does, and how often that was is counted; the same holds for
what is below zero or no whole number. Positions that were not recorded are numbers that never come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....core.errors import RecordingUnreadable
from ...files import RecordedDetector

_UNSIGNED = ("|u1", "<u2", "<u4")


class Footage:
    """Frames of a recorded detector, for one thread, as long as its recording is open.

    Parameters
    ----------
    recorded
        Where they come from; frames of one axis are played as one row.

    Attributes
    ----------
    file, detector
        What is played.
    frame_shape, scan_shape
        Of a frame `(v, u)` and of the scan `(y, x)`.
    dtype
        The smallest unsigned numbers that hold those of the file.
    numbers
        Which frames were recorded, by their place in the scan, shape (n,).
    altered
        Pixels that a counter did not hold as they were recorded.

    Raises
    ------
    RecordingUnreadable
        If its frames are single numbers, or of more than two axes.
    """

    def __init__(self, recorded: RecordedDetector) -> None:
        if len(recorded.frame_shape) not in (1, 2):
            raise RecordingUnreadable(
                f"{recorded.name} of {recorded.file} has frames of shape {recorded.frame_shape}; a detector is "
                "emulated with frames of one or two axes, choose another with --detector"
            )
        self._recorded = recorded
        self.file: Path = recorded.file
        self.detector = recorded.name
        self.is_simulated = recorded.simulated
        v, u = (1, *recorded.frame_shape)[-2:]
        self.frame_shape = (v, u)
        self.scan_shape = recorded.shape
        kind = np.dtype(recorded.dtype)
        is_unsigned = kind.kind in "bu" and kind.itemsize <= 4
        self.dtype = _UNSIGNED[kind.itemsize // 2] if is_unsigned else "<u4"
        self.numbers: NDArray[np.int64] = np.flatnonzero(recorded.valid)
        self.altered = 0

    @property
    def n_frames(self) -> int:
        """Positions of the scan, recorded or not."""
        return self.scan_shape[0] * self.scan_shape[1]

    def blocks(self, together: int, most: int) -> Iterator[tuple[NDArray[np.int64], NDArray]]:
        """Yield numbers (n,) and frames (n, v, u) in order, up to `together` at a time; none above `most`.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged.
        """
        for first in range(0, len(self.numbers), together):
            numbers = self.numbers[first : first + together]
            yield numbers, self._counted(self._recorded.frames(numbers), most).reshape(-1, *self.frame_shape)

    def _counted(self, frames: NDArray, most: int) -> NDArray:
        limit = min(most, int(np.iinfo(self.dtype).max))
        if frames.dtype.kind == "f":
            whole = np.clip(np.rint(np.nan_to_num(frames)), 0, limit)
        else:
            whole = np.clip(frames, 0, limit) if frames.dtype.kind in "iu" else frames
        self.altered += int((whole != frames).sum())
        return whole.astype(self.dtype)
