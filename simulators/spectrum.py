"""Energy-loss spectra: a falling background and one core-loss edge with two white lines.

Both the background and the edge are proportional to the thickness, and the edge also to the
composition; so the ratio of an edge window to a background window is a straight line in the
composition whatever the thickness. Plural scattering, which would bend it, is left out.

Source: power-law background and edge shapes, Egerton, "Electron Energy-Loss Spectroscopy in
the Electron Microscope", 3rd ed. 2011, sections 3.6 and 4.4; edge energies, iron L3 and L2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from ..core.signal import Axis
from .optics import Probe
from .projection import Projection

Reals = NDArray[np.float64]

ENERGY = Axis(name="energy_loss", size=256, units="eV", quantity="energy loss", offset=580.0, scale=1.25)
"""Energy axis of the spectrometer: the iron L edge with room before and after it."""

L3_EV, L2_EV = 708.0, 721.0
RESOLUTION_EV = 1.5
"""Standard deviation of the energy resolution."""

BACKGROUND_PER_EV_M = 1.2e3
"""Share of electrons in the background at the L3 edge, per eV and metre of thickness."""

_REFERENCE_ENERGY_EV = 200e3


def background() -> Reals:
    """Return the background per metre of thickness: the share of electrons in each channel, shape (energy,)."""
    return BACKGROUND_PER_EV_M * ENERGY.scale * (ENERGY.coordinates() / L3_EV) ** -3.2


def edge() -> Reals:
    """Return the edge per metre of thickness of the pure element, shape (energy,).

    Two steps that then fall like the background, each led by a white line.
    """
    energy = ENERGY.coordinates()
    steps = sum(
        height
        * 0.5
        * erfc((onset - energy) / (np.sqrt(2) * RESOLUTION_EV))
        * (np.maximum(energy, onset) / onset) ** -2.6
        for onset, height in ((L3_EV, 0.8), (L2_EV, 0.4))
    )
    lines = _white_line(energy, L3_EV + 1.5, 3.6) + _white_line(energy, L2_EV + 1.5, 1.3)
    return BACKGROUND_PER_EV_M * ENERGY.scale * (steps + lines)


def _white_line(energy: Reals, centre_ev: float, height: float) -> Reals:
    width = np.hypot(RESOLUTION_EV, 1.2)
    return height * np.exp(-0.5 * ((energy - centre_ev) / width) ** 2)


class Spectra:
    """The spectrometer's signal of one specimen; for one thread."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._shapes = np.stack([background(), edge()])

    def at(self, points: Reals, probe: Probe, fading: Reals) -> Reals:
        """Return the share of electrons in each channel.

        Parameters
        ----------
        points
            `(y, x)` on the specimen in metres, shape (n, 2).
        fading
            What damage has left of the edge at each point, 0 to 1, shape (n,).

        Returns
        -------
        Shape (n, energy).
        """
        columns = self._projection.at(points, probe)
        amounts = np.stack([columns.thickness, columns.element * fading], axis=1)
        return amounts @ self._shapes * (_REFERENCE_ENERGY_EV / probe.beam_energy_ev)
