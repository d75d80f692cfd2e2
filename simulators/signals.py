"""Every detector's signal as one kind of function: from points on the specimen to shares of the beam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .detector import BF, DIFFRACTION, EELS, HAADF
from .grating import PhaseGrating
from .images import Images
from .optics import Probe
from .projection import Projection
from .specimen import Specimen
from .spectrum import Spectra

Reals = NDArray[np.float64]
Signal = Callable[[Reals, Reals], NDArray]
"""From points `(y, x)` in metres, shape (n, 2), and fading, shape (n,), to shares of the electrons, (n, *frame)."""


class Signals:
    """What all detectors see of one specimen; keeps what the last optics needed. For one thread."""

    def __init__(self, specimen: Specimen) -> None:
        self._specimen = specimen
        projection = Projection(specimen)
        self._images = Images(specimen, projection)
        self._spectra = Spectra(projection)
        self._grating: tuple[Probe, PhaseGrating] | None = None

    def of(self, detector: str, probe: Probe) -> Signal:
        """Return the signal of one detector under one probe."""
        if detector == DIFFRACTION.name:
            return self._diffraction(probe).patterns
        signals = {HAADF.name: self._images.annular, BF.name: self._images.bright, EELS.name: self._spectra.at}
        return lambda points, fading: signals[detector](points, probe, fading)

    def _diffraction(self, probe: Probe) -> PhaseGrating:
        if self._grating is None or self._grating[0] != probe:
            self._grating = probe, PhaseGrating(self._specimen, probe)
        return self._grating[1]
