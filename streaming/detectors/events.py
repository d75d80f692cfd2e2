"""What a detector's stream says, whatever its protocol: a series began, frames came, it ended.

Frames come numbered from 0 and still packed as the detector sent them, so that they are opened
straight into the batch that is reduced, and those that came before are not opened at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Open = Callable[[NDArray], None]
"""Writes frames into an array of shape (n, v, u), or raises WireInvalid."""


@dataclass(frozen=True, slots=True)
class Began:
    """A series began: told with its first frame, since only that says surely what frames are like.

    Attributes
    ----------
    series
        What the detector calls it.
    frame_shape, dtype
        Of its frames `(v, u)`.
    n_frames
        How many were announced; 0 if that is open.
    scan_shape
        Scan positions `(y, x)` as far as the detector knows; None if it does not.
    dwell_s
        Exposure of one frame; 0 if not told.
    detector
        What the detector calls itself.
    facts
        Other things that its header tells.
    """

    series: str
    frame_shape: tuple[int, int]
    dtype: str
    n_frames: int
    scan_shape: tuple[int, int] | None = None
    dwell_s: float = 0.0
    detector: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the header says so, as that of our emulators does where the recording does."""
        return str(self.facts.get("simulated", "")).lower() == "true"


@dataclass(frozen=True, slots=True)
class Came:
    """Frames came.

    Attributes
    ----------
    numbers
        Which, counted from 0, shape (n,).
    open
        Writes all of them into an array of shape (n, *frame_shape).
    """

    numbers: NDArray[np.int64]
    open: Open


@dataclass(frozen=True, slots=True)
class Ended:
    """The detector says that a series ended."""

    series: str


@dataclass(frozen=True, slots=True)
class Odd:
    """Something was not as the protocol has it, and was passed over.

    Attributes
    ----------
    kind
        In a few words, the same for all that is alike.
    words
        What exactly, and where.
    """

    kind: str
    words: str


Event = Began | Came | Ended | Odd
