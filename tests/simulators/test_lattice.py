"""Lattice waves: spacing, symmetry, and strain against the displaced crystal itself."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.lattice import undistorted, waves
from beamloop.simulators.particles import KINDS, Particles


def particle(kind: int, rotation: float, strain: np.ndarray, relaxation: float = 0.0) -> Particles:
    return Particles(
        centre=np.array([[3e-9, -2e-9]]),
        radius=np.array([10e-9]),
        height=np.array([6e-9]),
        kind=np.array([kind]),
        rotation=np.array([rotation]),
        strain=strain[None],
        relaxation=np.array([relaxation]),
    )


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_lowest_waves_have_the_spacing_and_symmetry_of_the_kind(kind: int) -> None:
    frequency, weight = undistorted(particle(kind, 0.3, np.zeros((2, 2))), 0)
    length = np.hypot(*frequency.T)
    lowest = np.isclose(length, 1 / KINDS[kind].spacing_m)
    assert lowest.sum() == (3 if KINDS[kind].angle_rad == pytest.approx(np.pi / 3) else 2)
    assert length.min() == pytest.approx(1 / KINDS[kind].spacing_m)
    assert np.ptp(weight[lowest]) < 1e-12
    assert weight[lowest].min() == pytest.approx(weight.max())


def test_uniform_strain_lengthens_the_spacing_by_its_amount() -> None:
    strained = particle(0, 0.0, np.array([[0.02, 0.0], [0.0, -0.01]]))
    local = waves(strained, 0, np.array([[8e-9, 1e-9]])).frequency[0]
    plain, _ = undistorted(strained, 0)
    np.testing.assert_allclose(local[:, 0], plain[:, 0] * 0.98, rtol=1e-12, atol=1e-3)
    np.testing.assert_allclose(local[:, 1], plain[:, 1] * 1.01, rtol=1e-12, atol=1e-3)


def test_local_frequency_is_the_slope_of_the_phase() -> None:
    bent = particle(2, 0.7, np.array([[0.01, 0.004], [0.004, -0.006]]), relaxation=0.02)
    point, step = np.array([[7e-9, 3e-9]]), 1e-14
    local = waves(bent, 0, point)
    for axis in (0, 1):
        shift = np.zeros((1, 2))
        shift[0, axis] = step
        slope = (waves(bent, 0, point + shift).phase - waves(bent, 0, point - shift).phase) / (2 * step)
        np.testing.assert_allclose(slope[0] / (2 * np.pi), local.frequency[0, :, axis], rtol=1e-5, atol=1e3)


def test_phase_is_that_of_the_crystal_before_it_was_displaced() -> None:
    strain = np.array([[0.01, 0.003], [0.003, -0.02]])
    crystal = particle(1, 0.2, strain, relaxation=0.01)
    frequency, _ = undistorted(crystal, 0)
    original = np.array([[4e-9, 5e-9]])
    radial = 0.01 * np.sum(original**2) / (10e-9) ** 2 * original
    displacement = original @ strain.T + radial
    seen = waves(crystal, 0, crystal.centre + original + displacement).phase
    # A place moved by u carries the phase it had, up to the second order of the strain.
    np.testing.assert_allclose(seen, 2 * np.pi * original @ frequency.T, atol=2 * np.pi * 12e-9 * 8e9 * 0.02**2 * 3)


def test_lattice_is_never_darker_than_a_small_ripple() -> None:
    crystal = particle(0, 0.0, np.zeros((2, 2)))
    steps = np.linspace(0, KINDS[0].spacing_m, 60)
    points = crystal.centre + np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    found = waves(crystal, 0, points)
    columns = 1 + np.cos(found.phase) @ found.weight
    assert columns.min() > -0.1
    assert columns.mean() == pytest.approx(1.0, abs=0.1)
    assert columns.max() > 4
