"""Blurred projections against direct sums over the probe, and their independence of who asks."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.optics import Aberrations, Probe
from beamloop.simulators.particles import KINDS
from beamloop.simulators.projection import TILE_M, Projection
from beamloop.simulators.specimen import FILM_ATOMIC_NUMBER, Specimen, grown_specimen

PROBES = (Probe(200e3, 2.5e-3), Probe(200e3, 5e-3, Aberrations(c10=200e-9, c21_a=1e-5)), Probe(200e3, 25e-3))


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return grown_specimen(2, 2)


def matter(specimen: Specimen, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return Z-contrast, thickness and element at points, without blur, from the particles themselves."""
    owner, rim = specimen.particles.nearest(points, 1e-9)
    film, crystal, number = specimen.film_thickness(points), np.zeros(len(points)), np.zeros(len(points))
    for i in np.flatnonzero(rim < 0):
        square = np.sum((points[i] - specimen.particles.centre[owner[i]]) ** 2)
        crystal[i] = specimen.particles.thickness(owner[i], square)
        number[i] = KINDS[specimen.particles.kind[owner[i]]].atomic_number
    z_contrast = film * FILM_ATOMIC_NUMBER**1.7 + crystal * number**1.7
    return z_contrast, film + crystal, (film + crystal) * specimen.composition.at(points)


@pytest.mark.parametrize("probe", PROBES, ids=["nanobeam", "coma", "fine"])
def test_blur_equals_the_sum_over_the_probe(specimen: Specimen, probe: Probe) -> None:
    points = np.array([[31.3e-9, 42.1e-9], [8.8e-9, 77.7e-9], [49.9e-9, 50.1e-9], [60e-9, 20e-9]])
    found = Projection(specimen).at(points, probe)
    y, x = np.meshgrid(probe.offsets_m, probe.offsets_m, indexing="ij")
    for i, point in enumerate(points):
        spread = matter(specimen, np.column_stack([point[0] + y.ravel(), point[1] + x.ravel()]))
        expected = [float(np.sum(probe.intensity.ravel() * layer)) for layer in spread]
        assert found.z_contrast[i] == pytest.approx(expected[0], rel=0.01)
        assert found.thickness[i] == pytest.approx(expected[1], rel=0.01)
        assert found.element[i] == pytest.approx(expected[2], rel=0.015)


def test_value_depends_on_the_place_only(specimen: Specimen) -> None:
    points = np.random.default_rng(0).uniform(-80e-9, 180e-9, size=(40, 2))
    together = Projection(specimen).at(points, PROBES[0])
    for i in range(0, 40, 7):
        alone = Projection(specimen).at(points[i : i + 1], PROBES[0])
        assert alone.element[0] == together.element[i]
        assert alone.z_contrast[0] == together.z_contrast[i]


def test_tiles_meet_without_a_seam(specimen: Specimen) -> None:
    across = TILE_M + np.array([-1e-13, 1e-13])
    points = np.column_stack([np.full(2, 23e-9), across])
    found = Projection(specimen).at(points, PROBES[1])
    for channel in found:
        assert channel[0] == pytest.approx(channel[1], rel=1e-4)


def test_other_optics_are_not_answered_from_memory(specimen: Specimen) -> None:
    projection = Projection(specimen)
    rim = specimen.particles.centre[:1] + np.array([0.0, specimen.particles.radius[0]])
    first = projection.at(rim, PROBES[0]).thickness[0]
    second = projection.at(rim, PROBES[1]).thickness[0]
    assert first != second
    assert projection.at(rim, PROBES[0]).thickness[0] == first
