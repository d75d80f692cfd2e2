"""What the detectors are, and how they count: Poisson noise that any repetition gives again.

The noise of a frame follows from the microscope's seed, the measurement's name and the
frame's index, whatever was measured before and however the frames are sent. Frames are
drawn in blocks of fixed size, each from a stream of its own.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.instrument import DetectorInfo
from ..core.signal import Axis
from .grating import CAMERA, PIXEL_PER_M
from .spectrum import ENERGY

_CAMERA_AXES = tuple(
    Axis(
        name=name, size=CAMERA, units="1/m", quantity="spatial frequency",
        offset=-PIXEL_PER_M * CAMERA / 2, scale=PIXEL_PER_M,
    )
    for name in "vu"
)  # fmt: skip

HAADF = DetectorInfo(
    name="haadf", dtype="<u4", shortest_dwell_s=1e-7, longest_dwell_s=1.0,
    doc="annular dark field, 80-200 mrad: heavy and thick is bright",
)  # fmt: skip
BF = DetectorInfo(
    name="bf", dtype="<u4", shortest_dwell_s=1e-7, longest_dwell_s=1.0,
    doc="bright field, 1.5 mrad on the axis: the transmitted beam",
)  # fmt: skip
DIFFRACTION = DetectorInfo(
    name="diffraction", frame_axes=_CAMERA_AXES, dtype="<u2", shortest_dwell_s=1e-4, longest_dwell_s=1.0,
    doc="pixelated camera in the diffraction plane; a pixel saturates at 65535 counts",
)  # fmt: skip
EELS = DetectorInfo(
    name="eels", frame_axes=(ENERGY,), dtype="<u4", shortest_dwell_s=1e-4, longest_dwell_s=10.0,
    doc="energy-loss spectrum about the iron L edge at 708 eV",
)  # fmt: skip
DETECTORS = (HAADF, BF, DIFFRACTION, EELS)

EXPECTED_DTYPE = "<f4"
"""Type of noise-free expectations, counts of every detector alike."""

_BLOCK_BYTES = 1 << 20


class Noise(NamedTuple):
    """The stream of random numbers of one measurement.

    Attributes
    ----------
    seed
        Seed of the microscope.
    measurement_id
        Name of the measurement.
    """

    seed: int
    measurement_id: str

    def generator(self, block: int) -> np.random.Generator:
        """Return the generator of one block of frames."""
        words = f"{self.seed}/{block}/{self.measurement_id}".encode()
        key = int.from_bytes(hashlib.blake2b(words, digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key))


def block_size(detector: DetectorInfo) -> int:
    """Return how many frames share a block: as many as fill a mebibyte, images fewer for quick first rows."""
    pixels = int(np.prod([axis.size for axis in detector.frame_axes]))
    return min(max(1, _BLOCK_BYTES // (pixels * np.dtype(detector.dtype).itemsize)), 1 << 14)


def counted(expected: NDArray, rng: np.random.Generator, dtype: str) -> NDArray:
    """Return Poisson counts of these expectations, any shape, saturating at the largest number of `dtype`."""
    counts = rng.poisson(expected)
    return np.minimum(counts, np.iinfo(dtype).max).astype(dtype)
