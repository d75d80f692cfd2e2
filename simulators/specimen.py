"""The specimen: crystalline particles on a thin carbon film, with a composition nobody sees.

Everything follows from two seeds. `seed` makes what images show; `invisible_seed` makes the
part of the composition that they do not, and changes no image by a single bit.
Coordinates are the specimen's own, `(y, x)` in metres; the field of view begins at (0, 0)
while the stage is at rest at zero and nothing has drifted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .composition import Composition, hidden_composition
from .particles import Particles, scattered_particles
from .random_field import RandomField, random_field

Reals = NDArray[np.float64]

FIELD_M = 100e-9
"""Side of the field of view."""

BORDER_M = 200e-9
"""How far there are particles beyond each side of the field of view; further out there is bare film."""

FILM_M = 5e-9
"""Typical thickness of the support film."""

FILM_ATOMIC_NUMBER = 6.0
FILM_ABSORPTION_PER_M = 1 / 150e-9

_NORMALISATION_POINTS = 100


@dataclass(frozen=True, slots=True)
class Specimen:
    """Particles, the film they lie on, and the hidden composition.

    Attributes
    ----------
    particles
        The particles.
    film
        Random field behind the thickness of the support film.
    composition
        The hidden field.
    """

    particles: Particles
    film: RandomField
    composition: Composition

    def film_thickness(self, points: Reals) -> Reals:
        """Return the thickness of the support film at points (n, 2) in metres; metres, shape (n,)."""
        return _thickness(self.film.at(points))

    def film_thickness_on_grid(self, y_m: Reals, x_m: Reals) -> Reals:
        """Return the thickness of the support film on a grid; metres, shape (len(y_m), len(x_m))."""
        return _thickness(self.film.on_grid(y_m, x_m))


def grown_specimen(seed: int, invisible_seed: int) -> Specimen:
    """Return the specimen that these seeds make."""
    visible, film_rng = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1]).spawn(2))
    low, high = np.full(2, -BORDER_M), np.full(2, FIELD_M + BORDER_M)
    particles = scattered_particles(low, high, visible)
    film = random_field(30e-9, film_rng)
    hidden = np.random.default_rng(np.random.SeedSequence([invisible_seed, 2]))
    return Specimen(particles, film, hidden_composition(particles, film, _field_points(), hidden))


def _thickness(film: Reals) -> Reals:
    return FILM_M * np.exp(0.2 * film)


def _field_points() -> Reals:
    steps = (np.arange(_NORMALISATION_POINTS, dtype=np.float64) + 0.5) * (FIELD_M / _NORMALISATION_POINTS)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])
