"""What the beam passes through at a point, seen through the probe's blur.

Images and spectra of thin objects add up what the probe covers: each channel is the
specimen's projection convolved with the probe's intensity. The specimen is projected and
blurred in square tiles that lie fixed on it, made when first touched, and read by bilinear
interpolation; so a value depends on the place and the optics only, not on the scan that asks,
the stage or the drift. Lattice planes are finer than the tiles' pixels: `images` adds them
wave by wave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .optics import WINDOW_M, Probe
from .particles import KINDS
from .specimen import FILM_ABSORPTION_PER_M, FILM_ATOMIC_NUMBER, Specimen

Reals = NDArray[np.float64]

PITCH_M = 0.25e-9
TILE_M = 50e-9
_PAD = int(np.ceil(WINDOW_M / 2 / PITCH_M)) + 1
"""Pixels around a tile that the probe's window reaches into."""
_MOST_TILES = 64


class Columns(NamedTuple):
    """What the blurred beam meets at some points, each array of shape (n,) (or of a tile).

    Attributes
    ----------
    z_contrast
        Thickness times atomic number to the power 1.7, metres.
    absorption
        Thickness over mean free path for scattering out of the bright-field detector.
    thickness
        Metres of matter.
    element
        Thickness times composition, metres.
    """

    z_contrast: Reals
    absorption: Reals
    thickness: Reals
    element: Reals


class Projection:
    """Blurred projections of one specimen; remembers the tiles of the last optics only. For one thread."""

    def __init__(self, specimen: Specimen) -> None:
        self._specimen = specimen
        self._sharp: dict[tuple[int, int], Reals] = {}
        self._blurred: dict[tuple[int, int], Reals] = {}
        self._probe: Probe | None = None

    def at(self, points: Reals, probe: Probe) -> Columns:
        """Return what this probe meets at points `(y, x)` in metres, shape (n, 2)."""
        if probe != self._probe:
            self._probe = probe
            self._blurred.clear()
        tiles = np.floor(points / TILE_M).astype(np.int64)
        found = np.empty((4, len(points)))
        for tile in np.unique(tiles, axis=0):
            here = np.all(tiles == tile, axis=1)
            key = int(tile[0]), int(tile[1])
            found[:, here] = _interpolated(self._tile(key, probe), points[here] / PITCH_M - _first(key))
        return Columns(*found)

    def _tile(self, key: tuple[int, int], probe: Probe) -> Reals:
        if key not in self._blurred:
            if len(self._blurred) >= _MOST_TILES:
                self._blurred.clear()
            self._blurred[key] = _blurred(self._sharp_tile(key), probe)
        return self._blurred[key]

    def _sharp_tile(self, key: tuple[int, int]) -> Reals:
        if key not in self._sharp:
            if len(self._sharp) >= _MOST_TILES:
                self._sharp.clear()
            self._sharp[key] = _projected(self._specimen, *_coordinates(key))
        return self._sharp[key]


def _first(key: tuple[int, int]) -> Reals:
    """Return the index of a tile's first pixel, pad included, counted from the specimen's origin."""
    return np.array(key) * round(TILE_M / PITCH_M) - float(_PAD)


def _coordinates(key: tuple[int, int]) -> tuple[Reals, Reals]:
    steps = np.arange(round(TILE_M / PITCH_M) + 2 * _PAD + 1)
    y, x = ((first + steps) * PITCH_M for first in _first(key))
    return y, x


def _projected(specimen: Specimen, y_m: Reals, x_m: Reals) -> Reals:
    """Return the four channels without blur on a grid, shape (4, len(y_m), len(x_m))."""
    film = specimen.film_thickness_on_grid(y_m, x_m)
    layers = np.stack([film * FILM_ATOMIC_NUMBER**1.7, film * FILM_ABSORPTION_PER_M, film, film])
    particles = specimen.particles
    for p in particles.within(np.array([y_m[0], x_m[0]]), np.array([y_m[-1], x_m[-1]])):
        (cy, cx), radius, kind = particles.centre[p], particles.radius[p], KINDS[particles.kind[p]]
        rows = slice(*np.searchsorted(y_m, [cy - radius, cy + radius]))
        columns = slice(*np.searchsorted(x_m, [cx - radius, cx + radius]))
        cap = particles.thickness(p, (y_m[rows, None] - cy) ** 2 + (x_m[columns] - cx) ** 2)
        for layer, weight in zip(layers, (kind.atomic_number**1.7, kind.absorption_per_m, 1.0, 1.0), strict=True):
            layer[rows, columns] += weight * cap
    layers[3] *= specimen.composition.on_grid(y_m, x_m)
    return layers


def _blurred(layers: Reals, probe: Probe) -> Reals:
    sizes = [int(scipy.fft.next_fast_len(size, real=True) or size) for size in layers.shape[1:]]
    kernel = np.zeros(sizes)
    kernel[: 2 * _PAD + 1, : 2 * _PAD + 1] = _kernel(probe)
    # The pixel that the probe is centred on adds up what lies around it: a correlation, hence the conjugate.
    transfer = np.conj(np.fft.rfft2(np.roll(kernel, (-_PAD, -_PAD), axis=(0, 1))))
    blurred = np.asarray(scipy.fft.irfft2(np.asarray(scipy.fft.rfft2(layers, s=sizes)) * transfer, s=sizes))
    return blurred[:, : layers.shape[1], : layers.shape[2]]


def _kernel(probe: Probe) -> Reals:
    """Return the probe's intensity shared out among pixels, shape (2 pad + 1, 2 pad + 1).

    Between pixels a tile is linear, so each part of the probe falls on its neighbouring
    pixels in proportion; the kernel ends where the window ends, and tiles have no seams.
    """
    nodes = np.arange(-_PAD, _PAD + 1) * PITCH_M
    share = np.stack([np.interp(probe.offsets_m, nodes, unit) for unit in np.eye(len(nodes))])
    return share @ probe.intensity @ share.T


def _interpolated(layers: Reals, pixels: Reals) -> Reals:
    """Return every layer at fractional pixels `(row, column)`, shape (n, 2); shape (layers, n)."""
    corner = np.floor(pixels).astype(np.int64)
    (row, column), (down, right) = corner.T, (pixels - corner).T
    upper = layers[:, row, column] * (1 - right) + layers[:, row, column + 1] * right
    lower = layers[:, row + 1, column] * (1 - right) + layers[:, row + 1, column + 1] * right
    return upper * (1 - down) + lower * down
