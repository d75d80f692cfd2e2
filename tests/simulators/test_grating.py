"""Diffraction patterns: conservation, places of the discs, symmetry of the camera, first order."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.grating import CAMERA, PIXEL_PER_M, PhaseGrating
from beamloop.simulators.lattice import waves
from beamloop.simulators.optics import WINDOW_M, Probe
from beamloop.simulators.particles import KINDS
from beamloop.simulators.specimen import Specimen, grown_specimen

NANOBEAM = Probe(200e3, 2.5e-3)


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return grown_specimen(1, 1)


def inside(specimen: Specimen, kind: int) -> tuple[int, np.ndarray]:
    """Return a particle of a kind and a point half way to its rim."""
    p = int(np.flatnonzero(specimen.particles.kind == kind)[1])
    return p, specimen.particles.centre[[p]] + np.array([[0.3, -0.4]]) * specimen.particles.radius[p]


def bare_point(specimen: Specimen) -> np.ndarray:
    points = np.random.default_rng(1).uniform(0, 100e-9, size=(4000, 2))
    rim = specimen.particles.nearest(points, 20e-9)[1]
    assert rim.max() > 5e-9
    return points[[rim.argmax()]]


def centre_of(pattern: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the centre of mass `(v, u)` of the disc about `near`, in pixels from the direct beam."""
    v, u = np.indices(pattern.shape) - CAMERA // 2
    # Discs have a radius of 6.2 pixels; the lattice discs of perovskite are 16 pixels apart.
    window = pattern * (np.hypot(v - near[0], u - near[1]) < 8)
    return np.array([np.sum(window * v), np.sum(window * u)]) / window.sum()


@pytest.mark.parametrize(("kind", "least"), [(0, 0.99), (1, 0.98), (2, 0.95), (3, 0.85)])
def test_electrons_reach_the_camera_unless_fine_planes_send_them_past_it(
    specimen: Specimen, kind: int, least: float
) -> None:
    pattern = PhaseGrating(specimen, NANOBEAM).patterns(inside(specimen, kind)[1], np.ones(1))[0]
    assert least < pattern.sum() <= 1.0 + 1e-5


def test_bare_film_loses_nothing_and_leaves_the_direct_disc(specimen: Specimen) -> None:
    pattern = PhaseGrating(specimen, NANOBEAM).patterns(bare_point(specimen), np.ones(1))[0]
    assert pattern.sum() == pytest.approx(1.0, abs=1e-3)
    v, u = (np.indices(pattern.shape) - CAMERA // 2) * PIXEL_PER_M
    disc = np.hypot(v, u) < 2.5e-3 / NANOBEAM.wavelength_m + PIXEL_PER_M
    assert pattern[disc].sum() > 0.98


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_discs_lie_at_the_local_strained_reciprocal_lattice(specimen: Specimen, kind: int) -> None:
    p, point = inside(specimen, kind)
    pattern = PhaseGrating(specimen, NANOBEAM).patterns(point, np.ones(1))[0]
    lattice = waves(specimen.particles, p, point)
    direct = centre_of(pattern, np.zeros(2))
    for g in lattice.frequency[0, np.argsort(-lattice.weight)[:2]] / PIXEL_PER_M:
        across = (centre_of(pattern, g) - centre_of(pattern, -g)) / 2
        np.testing.assert_allclose(across, g, atol=0.12)
        plain = 1 / KINDS[kind].spacing_m / PIXEL_PER_M
        assert np.hypot(*across) == pytest.approx(plain, rel=0.04)
    assert np.hypot(*direct) < 0.3


def test_strain_is_seen_as_a_shift_of_the_discs(specimen: Specimen) -> None:
    p, point = inside(specimen, 0)
    measured = []
    for stretch in (0.0, 0.03):
        strain = specimen.particles.strain.copy()
        strain[p] = np.diag([stretch, 0.0])
        particles = specimen.particles.__class__(
            **{name: getattr(specimen.particles, name) for name in specimen.particles.__slots__} | {"strain": strain}
        )
        changed = Specimen(particles, specimen.film, specimen.composition)
        lattice = waves(particles, p, point)
        g = max(lattice.frequency[0, np.argsort(-lattice.weight)[:2]] / PIXEL_PER_M, key=lambda g: abs(g[0]))
        pattern = PhaseGrating(changed, NANOBEAM).patterns(point, np.ones(1))[0]
        measured.append((centre_of(pattern, g) - centre_of(pattern, -g)) / 2)
    assert measured[1][0] / measured[0][0] == pytest.approx(1 / 1.03, abs=0.012)


def test_damage_takes_the_lattice_discs_away(specimen: Specimen) -> None:
    p, point = inside(specimen, 0)
    grating = PhaseGrating(specimen, NANOBEAM)
    lattice = waves(specimen.particles, p, point)
    v, u = np.round(lattice.frequency[0, lattice.weight.argmax()] / PIXEL_PER_M + CAMERA / 2).astype(int)
    disc = [
        float(grating.patterns(point, np.array([fading]))[0, v - 3 : v + 4, u - 3 : u + 4].sum())
        for fading in (1, 0.5, 0)
    ]
    assert disc[0] > disc[1] > 5 * disc[2]


def test_weak_object_diffracts_as_the_square_of_its_phase(specimen: Specimen) -> None:
    # First order: the disc at g holds (sigma V_g t)^2, so a faded lattice loses by the square.
    p, _ = inside(specimen, 0)
    rim = specimen.particles.centre[[p]] + np.array([[0.0, 0.9]]) * specimen.particles.radius[p]
    grating = PhaseGrating(specimen, NANOBEAM)
    lattice = waves(specimen.particles, p, rim)
    v, u = np.round(lattice.frequency[0, lattice.weight.argmax()] / PIXEL_PER_M + CAMERA / 2).astype(int)
    none, weak, weaker = (
        grating.patterns(rim, np.array([fading]))[0, v - 8 : v + 9, u - 8 : u + 9].sum() for fading in (0.0, 0.2, 0.1)
    )
    assert (weak - none) / (weaker - none) == pytest.approx(4, rel=0.15)


def test_camera_axes_run_as_the_specimens(specimen: Specimen) -> None:
    # At the rim the mean potential falls outward and bends the beam inward, towards more potential.
    p = int(np.flatnonzero(specimen.particles.kind == 3)[0])
    grating, dead = PhaseGrating(specimen, NANOBEAM), np.zeros(1)
    v, u = np.indices((CAMERA, CAMERA)) - CAMERA // 2
    near = np.hypot(v, u) < 9
    for outward in (np.array([1.0, 0.0]), np.array([0.0, 1.0])):
        deflections = []
        for side in (1, -1):
            point = specimen.particles.centre[[p]] + side * 0.8 * specimen.particles.radius[p] * outward
            pattern = grating.patterns(point, dead)[0] * near
            deflections.append(np.array([np.sum(pattern * v), np.sum(pattern * u)]) @ outward / pattern.sum())
        assert deflections[0] < -0.02
        assert deflections[1] > 0.02


def test_wide_aperture_fills_the_disc_it_should(specimen: Specimen) -> None:
    probe = Probe(200e3, 20e-3)
    pattern = PhaseGrating(specimen, probe).patterns(bare_point(specimen), np.ones(1))[0]
    v, u = (np.indices(pattern.shape) - CAMERA // 2) * PIXEL_PER_M
    radius = np.hypot(v, u) * probe.wavelength_m
    assert pattern[radius < 20.5e-3].sum() > 0.98
    assert pattern[(radius > 15e-3) & (radius < 19e-3)].mean() == pytest.approx(pattern[radius < 10e-3].mean(), rel=0.1)


def test_patterns_do_not_depend_on_their_company(specimen: Specimen) -> None:
    points = np.vstack([inside(specimen, 0)[1], inside(specimen, 2)[1], bare_point(specimen)])
    grating = PhaseGrating(specimen, NANOBEAM)
    together = grating.patterns(points, np.ones(3))
    for i in range(3):
        np.testing.assert_array_equal(grating.patterns(points[i : i + 1], np.ones(1))[0], together[i])


def test_camera_pixel_is_the_inverse_of_the_window() -> None:
    assert pytest.approx(1) == PIXEL_PER_M * WINDOW_M
