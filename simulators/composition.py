"""The hidden property: how much of the sought element there is at each place, 0 to about 1.

It is the sum of two parts. The visible part is a smooth, nonlinear function of what images
show: the kind of particle, its thickness and size, the distance to its rim, the thickness of
the film. The invisible part is a smooth random field that no image knows of. Over the
field of view the invisible part carries `INVISIBLE_SHARE` of the variance and is not
correlated with the visible part, so a picture helps a lot and never suffices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .particles import KINDS, Particles
from .random_field import RandomField, random_field

Reals = NDArray[np.float64]

INVISIBLE_SHARE = 0.3
"""Share of the variance over the field of view that shows in no image."""

MEAN, SPREAD = 0.40, 0.13
"""Mean and standard deviation of the composition over the field of view."""

CORRELATION_M = 25e-9
"""Correlation length of the invisible part."""

HALO_M = 14e-9
"""How far the element reaches from a particle's rim into the film."""

# Level at the rim and at the thickest place of each kind: gold, the brightest, holds least.
_LEVELS = {"perovskite": (0.3, 3.2), "zinc oxide": (1.1, 0.4), "ceria": (-0.1, 1.6), "gold": (-0.4, -1.4)}
_FILM = -0.9
_CORE_M = 3e-9
_FILM_PULL_M = 4e-9
_TOUCHING_M = 1e-12


@dataclass(frozen=True, slots=True)
class Composition:
    """The hidden field; both parts may be asked for anywhere on the specimen.

    Attributes
    ----------
    particles, film
        What the visible part follows.
    fields
        Two independent random fields.
    mixture
        How much of each field makes the invisible part, and what is taken off to centre it, shape (3,).
    centre, scale
        What is subtracted from the visible part, and what both are multiplied by.
    """

    particles: Particles
    film: RandomField
    fields: tuple[RandomField, RandomField]
    mixture: Reals
    centre: float
    scale: float

    def visible(self, points: Reals) -> Reals:
        """Return the part that follows from what images show, at points (n, 2) in metres; shape (n,)."""
        return self._shown(points, self.film.at(points))

    def invisible(self, points: Reals) -> Reals:
        """Return the part that no image shows, at points (n, 2) in metres; shape (n,)."""
        return self._unseen(*(field.at(points) for field in self.fields))

    def at(self, points: Reals) -> Reals:
        """Return the composition at points (n, 2) in metres, never negative; shape (n,)."""
        return np.maximum(self.visible(points) + self.invisible(points), 0.0)

    def on_grid(self, y_m: Reals, x_m: Reals) -> Reals:
        """Return the composition on a grid of rows `y_m` and columns `x_m`, shape (len(y_m), len(x_m))."""
        rows, columns = np.meshgrid(y_m, x_m, indexing="ij")
        points = np.column_stack([rows.ravel(), columns.ravel()])
        shown = self._shown(points, self.film.on_grid(y_m, x_m).ravel())
        unseen = self._unseen(*(field.on_grid(y_m, x_m) for field in self.fields))
        return np.maximum(shown.reshape(rows.shape) + unseen, 0.0)

    def _shown(self, points: Reals, film: Reals) -> Reals:
        return MEAN + self.scale * (_appearance(self.particles, film, points) - self.centre)

    def _unseen(self, first: Reals, second: Reals) -> Reals:
        return self.scale * (first * self.mixture[0] + second * self.mixture[1] - self.mixture[2])


def hidden_composition(
    particles: Particles, film: RandomField, field_points: Reals, rng: np.random.Generator
) -> Composition:
    """Return a hidden field whose shares of variance are exact over `field_points`, shape (n, 2) in metres."""
    fields = random_field(CORRELATION_M, rng), random_field(CORRELATION_M, rng)
    shown = _appearance(particles, film.at(field_points), field_points)
    drawn = np.stack([field.at(field_points) for field in fields], axis=1)
    leaning = (drawn - drawn.mean(axis=0)).T @ (shown - shown.mean())
    # Of all mixtures of two independent fields, one is not correlated with what is shown.
    mixture = np.array([-leaning[1], leaning[0]])
    wanted = np.sqrt(INVISIBLE_SHARE / (1 - INVISIBLE_SHARE)) * shown.std()
    mixture *= wanted / (drawn @ mixture).std()
    mixture = np.append(mixture, (drawn @ mixture).mean())
    scale = SPREAD / np.hypot(shown.std(), wanted)
    return Composition(particles, film, fields, mixture, float(shown.mean()), float(scale))


def _appearance(particles: Particles, film: Reals, points: Reals) -> Reals:
    """Return the visible part before it is normalised, shape (n,), where the film's field has these values.

    On the film each particle within reach pulls the level towards that of its rim, the nearer
    the harder (inverse distance weights that end at `HALO_M`), so the field is continuous.
    """
    level = _FILM + 0.25 * np.tanh(film)
    total, weight = level / _FILM_PULL_M**2, np.full(len(points), 1 / _FILM_PULL_M**2)
    for p in particles.within(points.min(axis=0) - HALO_M, points.max(axis=0) + HALO_M):
        square = np.sum((points - particles.centre[p]) ** 2, axis=1)
        near = np.flatnonzero(square < (particles.radius[p] + HALO_M) ** 2)
        rim = np.maximum(np.sqrt(square[near]) - particles.radius[p], _TOUCHING_M)
        pull = ((HALO_M - rim) / (HALO_M * rim)) ** 2
        total[near] += pull * _inside(particles, p, particles.thickness(p, square[near]))
        weight[near] += pull
    return total / weight


def _inside(particles: Particles, p: int, thickness: Reals) -> Reals:
    """Return the level that particle p has where it is this thick, metres."""
    rim, core = _LEVELS[KINDS[particles.kind[p]].name]
    return rim + (core - rim) * (1 - np.exp(-0.5 * (thickness / _CORE_M) ** 2))
