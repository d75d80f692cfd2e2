"""The dose map: electrons kept, spread by the spot, and what they leave."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.damage import CELL_M, NARROWEST_M, Damage

CRITICAL = 1e26


def grid(n: int, step: float) -> np.ndarray:
    steps = (np.arange(n) - n // 2) * step + 50e-9
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)


def test_every_electron_is_kept() -> None:
    damage = Damage(CRITICAL)
    damage.add(np.array([[50e-9, 50e-9], [61.3e-9, 12.7e-9]]), 1e6, 1e-9)
    damage.add(np.array([[50e-9, 50e-9]]), 5e5, 0.0)
    kept = damage.dose(grid(201, CELL_M) + CELL_M / 2).sum() * CELL_M**2
    assert kept == pytest.approx(2.5e6, rel=1e-9)


@pytest.mark.parametrize("spot_m", [1.5e-9, 3e-9])
def test_dose_is_spread_as_a_gaussian_spot(spot_m: float) -> None:
    damage = Damage(CRITICAL)
    centre = np.array([[50.5e-9, 50.5e-9]])
    damage.add(centre, 1e6, spot_m)
    for distance in (0.0, spot_m, 2 * spot_m):
        here = centre + np.array([0.0, round(distance / CELL_M) * CELL_M])
        r = round(distance / CELL_M) * CELL_M
        expected = 1e6 / (2 * np.pi * spot_m**2) * np.exp(-0.5 * (r / spot_m) ** 2)
        assert damage.dose(here)[0] == pytest.approx(expected, rel=0.03)


def test_uniform_exposure_gives_the_uniform_dose() -> None:
    damage = Damage(CRITICAL)
    damage.add(grid(81, 0.5e-9), 1e4, 0.3e-9)
    np.testing.assert_allclose(damage.dose(grid(11, 1.1e-9)), 1e4 / 0.5e-9**2, rtol=0.01)


def test_fading_is_exponential_in_dose_and_counts_half_of_its_own() -> None:
    damage = Damage(CRITICAL)
    point = np.array([[50.5e-9, 50.5e-9]])
    own = 1e7 / (2 * np.pi * NARROWEST_M**2)
    assert damage.fading(point, 1e7, 0.0)[0] == pytest.approx(np.exp(-own / 2 / CRITICAL))
    damage.add(point, 3e7, 0.0)
    before = damage.dose(point)[0]
    assert damage.fading(point, 1e7, 0.0)[0] == pytest.approx(np.exp(-(before + own / 2) / CRITICAL))


def test_specimen_without_critical_dose_takes_no_harm() -> None:
    damage = Damage(0.0)
    point = np.array([[50e-9, 50e-9]])
    damage.add(point, 1e12, 0.0)
    assert damage.fading(point, 1e12, 0.0)[0] == 1.0


def test_exposure_beyond_the_known_specimen_is_let_go() -> None:
    damage = Damage(CRITICAL)
    damage.add(np.array([[-199.9e-9, 0.0], [1e-6, 1e-6]]), 1e6, 0.0)
    assert np.isfinite(damage.dose(np.array([[-199.9e-9, 0.0], [1e-6, 1e-6]]))).all()
