"""Image signals: what the lattice does at high resolution, contrast, and first-order theory."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.images import LATTICE_DEPTH, Images
from beamloop.simulators.lattice import waves
from beamloop.simulators.optics import Aberrations, Probe, interaction_constant
from beamloop.simulators.particles import KINDS
from beamloop.simulators.projection import Projection
from beamloop.simulators.specimen import Specimen, grown_specimen

FINE = Probe(200e3, 25e-3)
NANOBEAM = Probe(200e3, 2.5e-3)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return grown_specimen(1, 1)


@pytest.fixture(scope="module")
def images(specimen: Specimen) -> Images:
    return Images(specimen, Projection(specimen))


def a_particle(specimen: Specimen, kind: int) -> int:
    return int(np.flatnonzero(specimen.particles.kind == kind)[0])


def patch(specimen: Specimen, p: int, side_m: float, n: int) -> np.ndarray:
    steps = (np.arange(n) / n - 0.5) * side_m
    return specimen.particles.centre[p] + np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)


def test_fine_probe_shows_the_planes_at_their_spacing(specimen: Specimen, images: Images) -> None:
    p, side, n = a_particle(specimen, 0), 8e-9, 160
    image = images.annular(patch(specimen, p, side, n), FINE, np.ones(n * n)).reshape(n, n)
    spectrum = np.abs(np.fft.fft2((image - image.mean()) * np.outer(np.hanning(n), np.hanning(n))))
    frequency = np.fft.fftfreq(n, side / n)
    # Below 1 per nm is the particle's own shape.
    spectrum[np.hypot.outer(frequency, frequency) < 1e9] = 0
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    peak = np.array([frequency[row], frequency[column]])
    lattice = waves(specimen.particles, p, specimen.particles.centre[[p]]).frequency[0]
    nearest = min(np.hypot(*(sign * g - peak)) for g in lattice for sign in (1, -1))
    assert nearest < 1 / side
    assert np.hypot(*peak) == pytest.approx(1 / KINDS[0].spacing_m, rel=0.06)


def test_nanobeam_shows_no_planes(specimen: Specimen, images: Images) -> None:
    p, n = a_particle(specimen, 0), 40
    points = patch(specimen, p, 1.5e-9, n)
    fine, blurred = (images.annular(points, probe, np.ones(n * n)) for probe in (FINE, NANOBEAM))
    assert fine.std() / fine.mean() > 0.3
    assert blurred.std() / blurred.mean() < 0.02


def test_damaged_crystal_shows_no_planes(specimen: Specimen, images: Images) -> None:
    p, n = a_particle(specimen, 0), 40
    points = patch(specimen, p, 1.5e-9, n)
    dead = images.annular(points, FINE, np.zeros(n * n))
    half = images.annular(points, FINE, np.full(n * n, 0.5))
    whole = images.annular(points, FINE, np.ones(n * n))
    assert dead.std() / dead.mean() < 0.02
    np.testing.assert_allclose(half, (dead + whole) / 2, rtol=1e-12)


def test_heavier_is_brighter_in_dark_field_and_darker_in_bright_field(specimen: Specimen, images: Images) -> None:
    centres = specimen.particles.centre[[a_particle(specimen, kind) for kind in (3, 1)]]
    dark, bright = (signal(centres, NANOBEAM, np.ones(2)) for signal in (images.annular, images.bright))
    assert dark[0] > 2 * dark[1]
    assert bright[0] < bright[1]


def test_dark_field_of_bare_film_is_thickness_times_z_to_the_1_7(specimen: Specimen, images: Images) -> None:
    points = np.random.default_rng(0).uniform(0, 100e-9, size=(3000, 2))
    bare = points[specimen.particles.nearest(points, 5e-9)[1] > 4e-9]
    signal = images.annular(bare, NANOBEAM, np.ones(len(bare)))
    np.testing.assert_allclose(signal, 6e3 * 6**1.7 * specimen.film_thickness(bare), rtol=5e-3)


@pytest.mark.parametrize("defocus", [8e-9, -5e-9])
def test_bright_field_lattice_is_first_order_diffraction_onto_the_axis(
    specimen: Specimen, images: Images, defocus: float
) -> None:
    probe = Probe(200e3, 25e-3, Aberrations(c10=-defocus, c21_a=5e-7))
    p = a_particle(specimen, 0)
    points = patch(specimen, p, 0.6e-9, 12)
    thickness = specimen.particles.thickness(p, np.sum((points - specimen.particles.centre[p]) ** 2, axis=1))
    lattice = waves(specimen.particles, p, points)
    phase = interaction_constant(200e3) * KINDS[0].potential_v * LATTICE_DEPTH * thickness
    # Amplitude on the axis: the direct wave, and from -g the wave that the lattice turns onto it.
    axis = np.ones(len(points), dtype=complex)
    for k, weight in enumerate(lattice.weight):
        for sign in (1, -1):
            g = -sign * lattice.frequency[:, k]
            incoming = probe.aperture(g[:, 0], g[:, 1]) * np.exp(-1j * probe.chi(g[:, 0], g[:, 1]))
            axis += 1j * phase * weight / 2 * incoming * np.exp(1j * sign * lattice.phase[:, k])
    first_order = 1 + 2 * (axis - 1).real
    plain = images.bright(points, probe, np.zeros(len(points)))
    found = images.bright(points, probe, np.ones(len(points))) / plain
    assert np.ptp(first_order) > 0.2
    np.testing.assert_allclose(found, np.maximum(first_order, 0), atol=1e-9)
