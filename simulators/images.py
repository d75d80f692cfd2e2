"""What the annular and the bright-field detector collect: one number at each position.

Both return the fraction of the beam's electrons. The coarse part of an image is the blurred
projection; lattice planes are added as waves, each weakened by the optics as its frequency
demands. The annular detector is incoherent: its transfer is that of the probe's intensity.
The bright-field detector is coherent, small and on the axis: to first order in the phase its
transfer is the sine of the aberration phase, as for a conventional microscope (reciprocity).

Sources: Kirkland 2010, sections 3.2 and 5.4 (coherent and incoherent transfer); the exponent
1.7 of the atomic number, Pennycook & Nellist, "Scanning Transmission Electron Microscopy", 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lattice import Waves, waves
from .optics import WINDOW_M, Probe, interaction_constant
from .particles import KINDS
from .projection import Projection
from .specimen import Specimen

Reals = NDArray[np.float64]

LATTICE_DEPTH = 0.5
"""Share of a crystal's potential that varies with the lattice; the rest is smooth."""

_MOST_STRAIN = 0.05


class Collection(NamedTuple):
    """Angles in radians over which the detectors collect."""

    annular_inner: float = 0.08
    annular_outer: float = 0.20
    bright: float = 1.5e-3


GEOMETRY = Collection()
"""Angles as built."""


class Images:
    """The image signals of one specimen; for one thread.

    Parameters
    ----------
    specimen, projection
        What is looked at, and its blurred projections.
    collection
        Angles over which the detectors collect.
    """

    def __init__(self, specimen: Specimen, projection: Projection, collection: Collection = GEOMETRY) -> None:
        self._specimen = specimen
        self._projection = projection
        self._collection = collection

    def annular(self, points: Reals, probe: Probe, fading: Reals) -> Reals:
        """Return the fraction of electrons on the annular detector.

        Parameters
        ----------
        points
            `(y, x)` on the specimen in metres, shape (n, 2).
        fading
            What damage has left of the lattice at each point, 0 to 1, shape (n,).

        Returns
        -------
        Shape (n,).
        """
        signal = self._projection.at(points, probe).z_contrast
        # Planes finer than the probe's intensity can carry leave no trace, so they need no drawing.
        for part in self._planes(points, 2 * _cutoff(probe)):
            centre = self._specimen.particles.centre[[part.particle]]
            frequency = waves(self._specimen.particles, part.particle, centre).frequency[0]
            kept = part.lattice.weight * probe.transfer(frequency[:, 0], frequency[:, 1])
            columns = (kept * np.exp(1j * part.lattice.phase)).real.sum(axis=1)
            z_contrast = KINDS[self._specimen.particles.kind[part.particle]].atomic_number ** 1.7
            signal[part.here] += z_contrast * part.thickness * columns * fading[part.here]
        return np.clip(signal * self._annular_cross_section(probe), 0.0, 0.9)

    def bright(self, points: Reals, probe: Probe, fading: Reals) -> Reals:
        """Return the fraction of electrons on the bright-field detector; arguments as for `annular`."""
        share = min(1.0, self._collection.bright / probe.semi_angle_rad) ** 2
        contrast = np.ones(len(points))
        for part in self._planes(points, _cutoff(probe)):
            depth = KINDS[self._specimen.particles.kind[part.particle]].potential_v * LATTICE_DEPTH
            phase = interaction_constant(probe.beam_energy_ev) * depth * part.thickness * fading[part.here]
            contrast[part.here] += phase * np.sum(_coherent(part.lattice, probe), axis=1)
        return share * np.maximum(contrast, 0.0) * np.exp(-self._projection.at(points, probe).absorption)

    def _annular_cross_section(self, probe: Probe) -> float:
        """Return the fraction scattered onto the detector per metre of Z^1.7, by Rutherford's law."""
        inner, outer = self._collection.annular_inner, self._collection.annular_outer
        ring = (1 / inner**2 - 1 / outer**2) / (1 / 0.08**2 - 1 / 0.20**2)
        return 6e3 * ring * (probe.wavelength_m / 2.508e-12) ** 2

    def _planes(self, points: Reals, cutoff: float) -> Iterator[_Planes]:
        """Yield the lattice of each particle that points lie in, unless all its planes are finer than `cutoff`."""
        particles = self._specimen.particles
        if max(kind.spacing_m for kind in KINDS) * cutoff < 1 - _MOST_STRAIN:
            return
        owner, rim = particles.nearest(points, 0.0)
        for p in np.unique(owner[rim < 0]):
            here = np.flatnonzero((owner == p) & (rim < 0))
            thickness = particles.thickness(p, np.sum((points[here] - particles.centre[p]) ** 2, axis=1))
            yield _Planes(int(p), here, thickness, waves(particles, p, points[here]))


class _Planes(NamedTuple):
    """One particle's lattice at those points that lie in it."""

    particle: int
    here: NDArray[np.int64]
    thickness: Reals
    lattice: Waves


def _cutoff(probe: Probe) -> float:
    """Return the highest frequency in the aperture, its soft edge included, 1/m."""
    return probe.semi_angle_rad / probe.wavelength_m + 1 / WINDOW_M


def _coherent(lattice: Waves, probe: Probe) -> Reals:
    """Return each wave's bright-field contrast per unit of phase, shape (n, k)."""
    y, x = lattice.frequency[..., 0], lattice.frequency[..., 1]
    plus = probe.aperture(y, x) * np.sin(probe.chi(y, x) + lattice.phase)
    minus = probe.aperture(-y, -x) * np.sin(probe.chi(-y, -x) - lattice.phase)
    return lattice.weight * (plus + minus)
