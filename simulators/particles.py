"""Crystalline particles on a support: spherical caps of several kinds that do not overlap.

A particle is known by its kind, centre, radius, height, the rotation of its lattice in the
plane, and its strain: a uniform part and a part that grows towards the rim, where a free
surface lets the lattice relax.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

RELAXED = 0.006
"""Typical strain that a particle's rim has relaxed by."""

STRAINED = 0.008
"""Typical uniform strain of a particle."""


RADII_M = (4e-9, 11e-9)
"""Smallest and largest radius of a particle's foot."""

SITE_M2 = 200e-18
"""Area of the specimen for each particle that is thrown; some find no room."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A material that particles are made of.

    Attributes
    ----------
    name
        What a microscopist would call it.
    atomic_number
        Mean atomic number, weighted as Z-contrast sees it.
    spacing_m, angle_rad
        Spacing of the lattice planes seen along the beam, and the angle between their two normals.
    potential_v
        Mean inner potential.
    absorption_per_m
        Scattering out of a bright-field detector, per metre of thickness.
    """

    name: str
    atomic_number: float
    spacing_m: float
    angle_rad: float
    potential_v: float
    absorption_per_m: float


KINDS = (
    Kind("perovskite", 34.0, 0.391e-9, np.pi / 2, 16.0, 1 / 60e-9),
    Kind("zinc oxide", 26.0, 0.281e-9, np.pi / 3, 15.0, 1 / 75e-9),
    Kind("ceria", 48.0, 0.271e-9, np.pi / 2, 18.0, 1 / 42e-9),
    Kind("gold", 79.0, 0.204e-9, np.pi / 2, 21.0, 1 / 20e-9),
)
SHARES = (0.3, 0.3, 0.3, 0.1)
"""Share of the particles that is of each kind."""


@dataclass(frozen=True, slots=True)
class Particles:
    """All particles of a specimen; arrays over p particles.

    Attributes
    ----------
    centre
        `(y, x)` in metres, shape (p, 2).
    radius, height
        Radius of the foot and height of the cap in metres, shape (p,).
    kind
        Index into `KINDS`, shape (p,).
    rotation
        Rotation of the lattice in radians, shape (p,).
    strain
        Uniform strain `[[yy, yx], [xy, xx]]`, shape (p, 2, 2).
    relaxation
        Radial strain at half the radius, growing as the square of the distance, shape (p,).
    """

    centre: Reals
    radius: Reals
    height: Reals
    kind: NDArray[np.int64]
    rotation: Reals
    strain: Reals
    relaxation: Reals

    def __len__(self) -> int:
        return len(self.radius)

    def nearest(self, points: Reals, reach: float) -> tuple[NDArray[np.int64], Reals]:
        """Return which rim is nearest to each point, shape (n, 2), and how far, both shape (n,).

        The distance is negative inside a particle; particles do not overlap, so the one of
        least distance is the one a point lies in. Distances beyond `reach` metres are only
        known to be beyond it.
        """
        owner = np.zeros(len(points), dtype=np.int64)
        distance = np.full(len(points), np.inf)
        for p in self.within(points.min(axis=0) - reach, points.max(axis=0) + reach):
            rim = np.hypot(points[:, 0] - self.centre[p, 0], points[:, 1] - self.centre[p, 1]) - self.radius[p]
            closer = rim < distance
            owner[closer], distance[closer] = p, rim[closer]
        return owner, distance

    def thickness(self, p: int, distance_squared: Reals) -> Reals:
        """Return the thickness of particle p at squared distances from its centre, metres; 0 outside."""
        foot, height = self.radius[p], self.height[p]
        sphere = (foot**2 + height**2) / (2 * height)
        return np.sqrt(np.maximum(sphere**2 - distance_squared, (sphere - height) ** 2)) - (sphere - height)

    def within(self, low: Reals, high: Reals) -> NDArray[np.int64]:
        """Return the indices of particles that reach into the box from `low` to `high`, `(y, x)` in metres."""
        gap = np.maximum(low - self.centre, 0) + np.maximum(self.centre - high, 0)
        return np.flatnonzero(np.hypot(gap[:, 0], gap[:, 1]) < self.radius)


def scattered_particles(low: Reals, high: Reals, rng: np.random.Generator) -> Particles:
    """Return particles thrown at random into the box from `low` to `high`, `(y, x)` in metres.

    Large ones are thrown first and small ones fill the gaps, as on a real support film.
    """
    area = float(np.prod(high - low))
    radii = np.sort(rng.uniform(*RADII_M, int(area / SITE_M2)))[::-1]
    centres, kept = np.empty((0, 2)), np.empty(0)
    for radius in radii:
        for candidate in rng.uniform(low, high, size=(8, 2)):
            if np.all(np.hypot(*(centres - candidate).T) > kept + radius + 0.6e-9):
                centres, kept = np.vstack([centres, candidate]), np.append(kept, radius)
                break
    return _crystals(centres, kept, rng)


def _crystals(centre: Reals, radius: Reals, rng: np.random.Generator) -> Particles:
    count = len(radius)
    stretch, shear = rng.normal(scale=STRAINED, size=(2, count)), rng.normal(scale=STRAINED / 3, size=count)
    strain = np.stack([np.stack([stretch[0], shear], -1), np.stack([shear, stretch[1]], -1)], axis=-2)
    return Particles(
        centre=centre,
        radius=radius,
        height=radius * rng.uniform(0.55, 0.95, count),
        kind=_kinds(radius, rng),
        rotation=rng.uniform(0, np.pi / 2, count),
        strain=strain,
        relaxation=rng.normal(scale=RELAXED, size=count),
    )


def _kinds(radius: Reals, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a kind for each particle: shares kept exactly, so that no specimen lacks a kind."""
    kinds = np.repeat(np.arange(len(KINDS)), np.round(np.array(SHARES) * len(radius)).astype(int) + 1)
    return rng.permutation(kinds)[: len(radius)].astype(np.int64)
