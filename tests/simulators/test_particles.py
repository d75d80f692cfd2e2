"""Particles: no overlap, caps of the stated height, shares of kinds, and who is nearest."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.particles import KINDS, RADII_M, SHARES, Particles, scattered_particles

LOW, HIGH = np.full(2, -100e-9), np.full(2, 150e-9)


@pytest.fixture(scope="module")
def particles() -> Particles:
    return scattered_particles(LOW, HIGH, np.random.default_rng(3))


def test_particles_do_not_overlap(particles: Particles) -> None:
    apart = np.hypot(*(particles.centre[:, None] - particles.centre[None]).transpose(2, 0, 1))
    touching = particles.radius[:, None] + particles.radius[None]
    assert np.all((apart > touching)[~np.eye(len(particles), dtype=bool)])


def test_particles_cover_a_good_part_of_the_support(particles: Particles) -> None:
    covered = np.pi * np.sum(particles.radius**2) / np.prod(HIGH - LOW)
    assert 0.3 < covered < 0.7


def test_kinds_come_in_their_shares(particles: Particles) -> None:
    counts = np.bincount(particles.kind, minlength=len(KINDS))
    np.testing.assert_allclose(counts / len(particles), SHARES, atol=0.06)


def test_cap_has_its_height_at_the_centre_and_ends_at_its_foot(particles: Particles) -> None:
    foot = particles.radius[5]
    thickness = particles.thickness(5, np.array([0.0, (0.9999 * foot) ** 2, foot**2, (1.5 * foot) ** 2]))
    assert thickness[0] == pytest.approx(particles.height[5])
    assert 0 < thickness[1] < 0.01 * particles.height[5]
    np.testing.assert_allclose(thickness[2:], 0, atol=1e-18)


def test_cap_has_the_volume_of_a_spherical_cap(particles: Particles) -> None:
    foot, height = particles.radius[2], particles.height[2]
    r = (np.arange(20000) + 0.5) / 20000 * foot
    volume = np.sum(2 * np.pi * r * particles.thickness(2, r**2)) * foot / 20000
    assert volume == pytest.approx(np.pi * height / 6 * (3 * foot**2 + height**2), rel=1e-6)


def test_nearest_rim_is_found_as_by_trying_all(particles: Particles) -> None:
    points = np.random.default_rng(0).uniform(0, 60e-9, size=(200, 2))
    rims = np.hypot(*(points[:, None] - particles.centre[None]).transpose(2, 0, 1)) - particles.radius
    owner, distance = particles.nearest(points, 20e-9)
    near = rims.min(axis=1) < 20e-9
    np.testing.assert_array_equal(owner[near], rims.argmin(axis=1)[near])
    np.testing.assert_allclose(distance[near], rims.min(axis=1)[near], atol=1e-20)
    assert np.all(distance[~near] >= 20e-9)


def test_within_finds_every_particle_that_reaches_into_a_box(particles: Particles) -> None:
    low, high = np.array([0.0, 10e-9]), np.array([30e-9, 50e-9])
    found = set(particles.within(low, high).tolist())
    fine = np.stack(np.meshgrid(np.linspace(0, 30e-9, 121), np.linspace(10e-9, 50e-9, 161)), axis=-1).reshape(-1, 2)
    inside = {p for p in range(len(particles)) if np.hypot(*(fine - particles.centre[p]).T).min() < particles.radius[p]}
    assert inside <= found
    grazed = found - inside
    assert all(particles.radius[p] <= max(RADII_M) for p in grazed)
    assert len(grazed) <= 1


def test_same_seed_gives_the_same_particles() -> None:
    one, other = (scattered_particles(LOW, HIGH, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one.centre, other.centre)
    np.testing.assert_array_equal(one.strain, other.strain)
