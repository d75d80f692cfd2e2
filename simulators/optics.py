"""The electron probe: wavelength, aperture and aberrations turned into a wave on the specimen.

The aperture limits the angles, the aberrations shift their phases, and the Fourier transform
is the probe. Aberration coefficients are the Cartesian Krivanek ones in metres; `C10` is
minus the defocus, so a positive defocus is underfocus.

Sources: relativistic wavelength and interaction constant, Kirkland, "Advanced Computing in
Electron Microscopy", 2nd ed. 2010, eqs. 2.5 and 5.6; aberration function, Krivanek, Dellby &
Lupini, Ultramicroscopy 78 (1999) 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.constants as si
from numpy.typing import NDArray

WINDOW_M = 6.25e-9
"""Side of the square on the specimen in which a probe is computed; its inverse is the camera's pixel."""

Complexes = NDArray[np.complex128]
Reals = NDArray[np.float64]


def wavelength_m(beam_energy_ev: float) -> float:
    """Return the relativistic electron wavelength in metres.

    >>> f"{wavelength_m(200e3) * 1e12:.4f} pm"
    '2.5079 pm'
    """
    energy, rest = beam_energy_ev * si.e, si.m_e * si.c**2
    return si.h * si.c / np.sqrt(energy * (2 * rest + energy))


def interaction_constant(beam_energy_ev: float) -> float:
    """Return the phase per projected potential, sigma = 2 pi m e lambda / h^2, in rad/(V m).

    >>> f"{interaction_constant(200e3) * 1e-6:.3f} rad/(V um)"
    '7.288 rad/(V um)'
    """
    mass = si.m_e * (1 + beam_energy_ev * si.e / (si.m_e * si.c**2))
    return 2 * np.pi * mass * si.e * wavelength_m(beam_energy_ev) / si.h**2


@dataclass(frozen=True, slots=True)
class Aberrations:
    """Aberration coefficients in metres; `a` and `b` are the components along x and y."""

    c10: float = 0.0
    c12_a: float = 0.0
    c12_b: float = 0.0
    c21_a: float = 0.0
    c21_b: float = 0.0
    c23_a: float = 0.0
    c23_b: float = 0.0
    c30: float = 0.0

    def path_m(self, angle_y: Reals, angle_x: Reals) -> Reals:
        """Return the path difference in metres at these angles in radians; 2 pi / lambda times it is chi."""
        y, x = angle_y, angle_x
        square = x**2 + y**2
        return (
            (self.c10 * square + self.c12_a * (x**2 - y**2) + self.c12_b * 2 * x * y) / 2
            + (square * (self.c21_a * x + self.c21_b * y)) / 3
            + (self.c23_a * (x**3 - 3 * x * y**2) + self.c23_b * (3 * x**2 * y - y**3)) / 3
            + self.c30 * square**2 / 4
        )

    def spread_m(self, semi_angle_rad: float) -> float:
        """Return the radius on the specimen within which every ray of the aperture lands, metres (upper bound)."""
        angle = semi_angle_rad
        return (
            abs(self.c10) * angle
            + float(np.hypot(self.c12_a, self.c12_b)) * angle
            + float(np.hypot(self.c21_a, self.c21_b) + np.hypot(self.c23_a, self.c23_b)) * angle**2
            + abs(self.c30) * angle**3
        )


@dataclass(frozen=True)
class Probe:
    """One setting of the optics and the probe it makes.

    Attributes
    ----------
    beam_energy_ev, semi_angle_rad
        Beam energy and convergence semi-angle.
    aberrations
        What bends the wave front.
    soft
        Whether the aperture's edge is smoothed over one camera pixel, which removes ringing
        that a window of finite size would fold back; a hard edge cuts between two pixels.
    """

    beam_energy_ev: float
    semi_angle_rad: float
    aberrations: Aberrations = Aberrations()
    soft: bool = True

    @cached_property
    def wavelength_m(self) -> float:
        """Electron wavelength."""
        return wavelength_m(self.beam_energy_ev)

    @cached_property
    def size(self) -> int:
        """Samples along one side of the window: more than the camera shows, so that nothing folds back into it."""
        return 192 if self.semi_angle_rad / self.wavelength_m < 5e9 else 256

    @cached_property
    def frequencies(self) -> Reals:
        """Spatial frequencies along one side, 1/m, shape (size,), in the order of an FFT."""
        return np.asarray(np.fft.fftfreq(self.size, WINDOW_M / self.size), dtype=np.float64)

    @cached_property
    def offsets_m(self) -> Reals:
        """Distances from the probe's centre along one side, shape (size,), ascending."""
        return np.arange(-self.size // 2, self.size // 2, dtype=np.float64) * (WINDOW_M / self.size)

    @property
    def spread_m(self) -> float:
        """Radius that holds nearly the whole probe: geometric spread and diffraction added up, metres."""
        return self.aberrations.spread_m(self.semi_angle_rad) + 0.61 * self.wavelength_m / self.semi_angle_rad

    def aperture(self, frequency_y: Reals, frequency_x: Reals) -> Reals:
        """Return the aperture's amplitude, 0 to 1, at spatial frequencies in 1/m."""
        beyond = np.hypot(frequency_y, frequency_x) - self.semi_angle_rad / self.wavelength_m
        return np.clip(0.5 - beyond * WINDOW_M, 0.0, 1.0) if self.soft else (beyond <= 0).astype(np.float64)

    def chi(self, frequency_y: Reals, frequency_x: Reals) -> Reals:
        """Return the aberration phase in radians at spatial frequencies in 1/m."""
        angles = frequency_y * self.wavelength_m, frequency_x * self.wavelength_m
        return 2 * np.pi / self.wavelength_m * self.aberrations.path_m(*angles)

    @cached_property
    def wave(self) -> Complexes:
        """The probe on the specimen, centred in the window, shape (size, size); its intensity sums to 1."""
        y, x = np.meshgrid(self.frequencies, self.frequencies, indexing="ij")
        wave = np.fft.fftshift(np.fft.ifft2(self.aperture(y, x) * np.exp(-1j * self.chi(y, x))))
        return wave / np.sqrt(np.sum(np.abs(wave) ** 2))

    @cached_property
    def intensity(self) -> Reals:
        """The probe's intensity, centred in the window, shape (size, size); sums to 1."""
        return np.abs(self.wave) ** 2

    def transfer(self, frequency_y: Reals, frequency_x: Reals) -> Complexes:
        """Return by how much an incoherent image keeps waves of these frequencies (k,) in 1/m; shape (k,).

        A specimen wave exp(2 pi i k r) is seen as `transfer` times itself: the integral of the
        probe's intensity times exp(2 pi i k s) over the distance s from its centre.
        """
        along_y = np.exp(2j * np.pi * np.outer(frequency_y, self.offsets_m))
        along_x = np.exp(2j * np.pi * np.outer(frequency_x, self.offsets_m))
        return np.einsum("ky,ky->k", along_y, along_x @ self.intensity.T)
