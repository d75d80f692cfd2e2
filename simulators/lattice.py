"""The crystal lattice of a particle as a few plane waves, each bent by the particle's strain.

A lattice is a sum of waves cos(2 pi g (r - u(r))), where u is the displacement that the strain
makes. Near one point such a wave is a plane wave of the local frequency g - grad(g u), which
is what makes it separable into rows and columns and therefore quick to draw.

Source: geometric phase description of strain, Hytch, Snoeck & Kilaas, Ultramicroscopy 74
(1998) 131.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .particles import KINDS, Particles

Reals = NDArray[np.float64]

COLUMN_WIDTH = 0.5
"""Exponent of the columns' form factor exp(-COLUMN_WIDTH (g d)^2): columns 0.16 spacings wide (rms)."""

# One of each pair +g, -g: the cosine has both.
_ORDERS = np.array([(h, k) for h in range(3) for k in range(-2, 3) if (h, k) > (0, 0)])


class Waves(NamedTuple):
    """The lattice waves of one particle about some points; k waves, n points.

    Attributes
    ----------
    frequency
        Local frequency `(y, x)` in 1/m, shape (n, k, 2).
    phase
        Phase at each point in radians, shape (n, k).
    weight
        Amplitude of each wave against a mean of 1, shape (k,).
    """

    frequency: Reals
    phase: Reals
    weight: Reals


def undistorted(particles: Particles, p: int) -> tuple[Reals, Reals]:
    """Return the frequencies `(y, x)` in 1/m, shape (k, 2), and weights (k,) of particle p's unstrained lattice."""
    kind = KINDS[particles.kind[p]]
    angles = particles.rotation[p] + np.array([0.0, kind.angle_rad])
    normals = np.stack([np.sin(angles), np.cos(angles)], axis=1) / kind.spacing_m
    frequency = _ORDERS @ normals
    return frequency, 2 * np.exp(-COLUMN_WIDTH * np.sum((frequency * kind.spacing_m) ** 2, axis=1))


def waves(particles: Particles, p: int, points: Reals) -> Waves:
    """Return the lattice of particle p about each of the points `(y, x)` in metres, shape (n, 2)."""
    frequency, weight = undistorted(particles, p)
    away = points - particles.centre[p]
    square = np.sum(away**2, axis=1)[:, None]
    bend = particles.relaxation[p] / particles.radius[p] ** 2
    moved = away @ particles.strain[p].T + bend * square * away
    phase = 2 * np.pi * (away - moved) @ frequency.T
    # The gradient of g u(r): uniform strain, then both terms of the radial part's derivative.
    pull = particles.strain[p].T @ frequency.T
    radial = bend * (square[:, :, None] * frequency + 2 * (away @ frequency.T)[:, :, None] * away[:, None, :])
    return Waves(frequency - pull.T - radial, phase, weight)
