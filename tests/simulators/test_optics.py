"""The probe against published constants and the theory of diffraction."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.optics import (
    WINDOW_M,
    Aberrations,
    Probe,
    interaction_constant,
    wavelength_m,
)


@pytest.mark.parametrize(("energy_ev", "picometres"), [(100e3, 3.7014), (200e3, 2.5079), (300e3, 1.9687)])
def test_wavelength_is_the_published_one(energy_ev: float, picometres: float) -> None:
    # Kirkland 2010, table 2.2.
    assert wavelength_m(energy_ev) * 1e12 == pytest.approx(picometres, abs=1e-4)


@pytest.mark.parametrize(("energy_ev", "per_volt_angstrom"), [(100e3, 0.9244e-3), (200e3, 0.7288e-3)])
def test_interaction_constant_is_the_published_one(energy_ev: float, per_volt_angstrom: float) -> None:
    # Kirkland 2010, figure 5.1 and Reimer, table 3.2.
    assert interaction_constant(energy_ev) * 1e-10 == pytest.approx(per_volt_angstrom, rel=2e-4)


@pytest.mark.parametrize("angle", [1e-3, 2.5e-3, 10e-3, 25e-3])
@pytest.mark.parametrize("defocus", [0.0, 60e-9])
def test_probe_holds_unit_intensity(angle: float, defocus: float) -> None:
    probe = Probe(200e3, angle, Aberrations(c10=-defocus))
    assert probe.intensity.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("angle", [4e-3, 20e-3])
def test_probe_without_aberrations_is_dark_at_the_airy_radius(angle: float) -> None:
    probe = Probe(200e3, angle, soft=False)
    centre = probe.size // 2
    # A fine trace from the centre along x, by direct Fourier sum: the window's own samples are too coarse for it.
    radius = np.linspace(0.3, 0.9, 601) * probe.wavelength_m / angle
    k_y, k_x = np.meshgrid(probe.frequencies, probe.frequencies, indexing="ij")
    along_x = probe.aperture(k_y, k_x).sum(axis=0)
    trace = np.abs(np.exp(2j * np.pi * np.outer(radius, probe.frequencies)) @ along_x) ** 2
    first_zero = radius[np.flatnonzero((trace[1:-1] < trace[:-2]) & (trace[1:-1] < trace[2:]))[0] + 1]
    assert first_zero == pytest.approx(0.61 * probe.wavelength_m / angle, rel=0.03)
    assert probe.intensity.argmax() == centre * probe.size + centre


def test_defocus_spreads_the_probe_as_far_as_its_rays() -> None:
    angle, defocus = 10e-3, 150e-9
    probe = Probe(200e3, angle, Aberrations(c10=-defocus))
    y, x = np.meshgrid(probe.offsets_m, probe.offsets_m, indexing="ij")
    inside = np.hypot(y, x) < 1.15 * angle * defocus
    assert probe.intensity[inside].sum() > 0.95
    # Rays of a uniform disc: the mean square radius is half the square of the largest.
    assert np.sum(probe.intensity * (x**2 + y**2)) == pytest.approx((angle * defocus) ** 2 / 2, rel=0.1)


def test_astigmatism_draws_a_line_along_each_axis_with_opposite_defocus() -> None:
    line = Probe(200e3, 10e-3, Aberrations(c10=60e-9, c12_a=60e-9))
    y, x = np.meshgrid(line.offsets_m, line.offsets_m, indexing="ij")
    along_x, along_y = np.sum(line.intensity * x**2), np.sum(line.intensity * y**2)
    assert along_x > 10 * along_y


@pytest.mark.parametrize(
    "aberrations",
    [
        Aberrations(c10=50e-9),
        Aberrations(c12_a=30e-9, c12_b=-20e-9),
        Aberrations(c21_a=2e-6, c21_b=1e-6),
        Aberrations(c23_a=2e-6, c23_b=-1e-6),
        Aberrations(c30=1e-3),
    ],
)
def test_cartesian_coefficients_equal_the_polar_formula(aberrations: Aberrations) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.01, 0.01, size=(2, 50))
    angle, azimuth = np.hypot(x, y), np.arctan2(y, x)
    expected = aberrations.c10 * angle**2 / 2 + aberrations.c30 * angle**4 / 4
    for power, order, fold, a, b in (
        (2, 2, 2, aberrations.c12_a, aberrations.c12_b),
        (3, 3, 1, aberrations.c21_a, aberrations.c21_b),
        (3, 3, 3, aberrations.c23_a, aberrations.c23_b),
    ):
        expected += np.hypot(a, b) * angle**power / order * np.cos(fold * azimuth - np.arctan2(b, a))
    np.testing.assert_allclose(aberrations.path_m(y, x), expected, rtol=1e-12, atol=1e-25)


def test_transfer_equals_the_fourier_transform_of_the_intensity() -> None:
    probe = Probe(200e3, 8e-3, Aberrations(c21_a=4e-6))
    spectrum = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(probe.intensity))) * probe.size**2
    rows, columns = np.array([3, -5, 0, 9]), np.array([-2, 4, 0, 7])
    found = probe.transfer(rows / WINDOW_M, columns / WINDOW_M)
    np.testing.assert_allclose(found, spectrum[rows + probe.size // 2, columns + probe.size // 2], atol=1e-10)


def test_incoherent_transfer_ends_at_twice_the_aperture() -> None:
    probe = Probe(200e3, 5e-3, soft=False)
    cutoff = 2 * 5e-3 / probe.wavelength_m
    inside, outside = np.array([0.8 * cutoff]), np.ceil(np.array([1.05 * cutoff]) * WINDOW_M) / WINDOW_M
    assert abs(probe.transfer(inside, np.zeros(1))[0]) > 0.05
    assert abs(probe.transfer(outside, np.zeros(1))[0]) < 1e-12
