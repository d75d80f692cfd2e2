"""Diffraction patterns: the probe passes a thin phase grating and is transformed to the camera.

At each position the specimen in the probe's window is drawn as a phase,
sigma times the projected potential: every particle near by as its thickness times its lattice
(few plane waves, each a product of a row and a column, so a matrix product draws them all),
and the carbon film as a random texture. The exit wave is the probe times exp(i phase); its
Fourier transform, squared, is the pattern. The grid reaches half as far again as
the camera, so that scattering past its edge leaves it instead of folding back; of the thickest
gold, which scatters furthest, 0.3 % of the beam still does.

Source: phase grating approximation, Kirkland 2010, section 5.1; the film's rings at 0.21 nm
and 0.12 nm, amorphous carbon.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .images import LATTICE_DEPTH
from .lattice import waves
from .optics import WINDOW_M, Probe, interaction_constant
from .particles import KINDS
from .specimen import FILM_M, Specimen

Reals = NDArray[np.float64]
Singles = NDArray[np.float32]

CAMERA = 128
"""Pixels along one side of the camera."""

PIXEL_PER_M = 1 / WINDOW_M
"""Calibration of the camera, 1/m per pixel."""

FILM_PHASE_RAD = 0.06
"""Root-mean-square phase of the film's texture where it is `FILM_M` thick, at 200 kV."""

_NODES = 17
_SLAB_ROWS = 16
_TEXTURE_PERIODS = 4


class PhaseGrating:
    """Diffraction of one probe by one specimen.

    Parameters
    ----------
    specimen
        What diffracts.
    probe
        The optics.
    """

    def __init__(self, specimen: Specimen, probe: Probe) -> None:
        self._specimen = specimen
        self._offsets = probe.offsets_m
        self._nodes = np.linspace(-WINDOW_M / 2, WINDOW_M / 2, _NODES)
        self._stretch = _interpolation(self._offsets, self._nodes)
        self._interaction = interaction_constant(probe.beam_energy_ev)
        self._texture = _texture(probe.size)
        # The sign pattern shifts the transform by half its size: the direct beam lands in the middle.
        signs = (-1.0) ** np.add.outer(np.arange(probe.size), np.arange(probe.size))
        self._wave = (probe.wave * signs / probe.size).astype(np.complex64)

    def patterns(self, points: Reals, fading: Reals) -> Singles:
        """Return the share of electrons on each camera pixel.

        Parameters
        ----------
        points
            `(y, x)` on the specimen in metres, shape (n, 2).
        fading
            What damage has left of the lattice at each point, 0 to 1, shape (n,).

        Returns
        -------
        Shape (n, v, u) = (n, 128, 128), direct beam at [64, 64]; a frame sums to what hits the camera, at most 1.
        """
        found = np.empty((len(points), CAMERA, CAMERA), dtype=np.float32)
        film = self._specimen.film_thickness(points)
        for i, point in enumerate(points):
            found[i] = self._pattern(self._phase(point, float(film[i]), float(fading[i])))
        return found

    def _pattern(self, phase: Singles) -> Singles:
        wave = np.empty(phase.shape, dtype=np.complex64)
        np.cos(phase, out=wave.real)
        np.sin(phase, out=wave.imag)
        wave *= self._wave
        edge = (len(phase) - CAMERA) // 2
        seen: NDArray[np.complex64] = np.asarray(scipy.fft.fft2(wave, overwrite_x=True))
        seen = seen[edge : edge + CAMERA, edge : edge + CAMERA]
        return seen.real**2 + seen.imag**2

    def _phase(self, point: Reals, film_m: float, fading: float) -> Singles:
        """Return the phase in the window about one point, shape (size, size), rad."""
        size = len(self._offsets)
        row, column = np.round(point / (WINDOW_M / size)).astype(int) % (_TEXTURE_PERIODS * size)
        strength = self._interaction / interaction_constant(200e3) * np.sqrt(film_m / FILM_M)
        phase = self._texture[row : row + size, column : column + size] * np.float32(strength)
        for p in self._specimen.particles.within(point - WINDOW_M / 2, point + WINDOW_M / 2):
            phase += self._crystal(p, point, fading)
        return phase

    def _crystal(self, p: int, point: Reals, fading: float) -> Singles:
        particles = self._specimen.particles
        away = point - particles.centre[p]
        square = (self._nodes[:, None] + away[0]) ** 2 + (self._nodes + away[1]) ** 2
        scale = self._interaction * KINDS[particles.kind[p]].potential_v
        cap = (scale * particles.thickness(p, square)).astype(np.float32)
        planes = self._planes(p, point) * np.float32(LATTICE_DEPTH * fading)
        planes += 1
        planes *= _product(self._stretch @ cap, self._stretch.T)
        return planes

    def _planes(self, p: int, point: Reals) -> Singles:
        """Return the lattice about one point as deviation from 1, shape (size, size)."""
        lattice = waves(self._specimen.particles, p, point[None])
        # A wave finer than the grid can hold would come back as a coarser one that is not there.
        drawn = np.hypot(*lattice.frequency[0].T) < len(self._offsets) / WINDOW_M / 2
        frequency, weight = lattice.frequency[0, drawn], lattice.weight[drawn].astype(np.float32)
        along_y = 2 * np.pi * np.outer(self._offsets, frequency[:, 0]) + lattice.phase[0, drawn] % (2 * np.pi)
        along_x = 2 * np.pi * np.outer(frequency[:, 1], self._offsets)
        along_y, along_x = along_y.astype(np.float32), along_x.astype(np.float32)
        rows = np.hstack([weight * np.cos(along_y), -weight * np.sin(along_y)])
        return _product(rows, np.vstack([np.cos(along_x), np.sin(along_x)]))


def _product(left: Singles, right: Singles) -> Singles:
    """Return the matrix product, shape (size, size).

    In slabs of rows: matrices this small are slower on several threads than on one, and the
    linear algebra library starts its threads above a size that a slab stays below.
    """
    slabs = left.reshape(-1, _SLAB_ROWS, left.shape[1])
    return (slabs @ right).reshape(len(left), -1)


def _interpolation(offsets: Reals, nodes: Reals) -> Singles:
    """Return the matrix that takes values at nodes to values at offsets, linearly, shape (size, nodes)."""
    return np.stack([np.interp(offsets, nodes, unit) for unit in np.eye(len(nodes))], axis=1).astype(np.float32)


@cache
def _texture(size: int) -> Singles:
    """Return the film's phase over several windows and one more, wrapped around; the same at every grid size."""
    coarse = _TEXTURE_PERIODS * CAMERA
    y, x = np.meshgrid(*[np.fft.fftfreq(coarse, WINDOW_M / CAMERA)] * 2, indexing="ij")
    frequency = np.hypot(y, x)
    rings = np.exp(-0.5 * ((frequency - 4.8e9) / 0.7e9) ** 2) + 0.5 * np.exp(-0.5 * ((frequency - 8.3e9) / 0.9e9) ** 2)
    white = np.fft.fft2(np.random.default_rng(5).standard_normal((coarse, coarse)))
    spectrum = np.fft.fftshift(white * np.sqrt(rings))
    spectrum[0], spectrum[:, 0] = 0, 0
    padded = np.pad(spectrum, _TEXTURE_PERIODS * (size - CAMERA) // 2)
    texture = np.fft.ifft2(np.fft.ifftshift(padded)).real
    texture *= FILM_PHASE_RAD / texture.std()
    wrapped = np.pad(texture, (0, size), mode="wrap").astype(np.float32)
    wrapped.flags.writeable = False
    return wrapped
