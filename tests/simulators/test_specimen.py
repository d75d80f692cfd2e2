"""The specimen: what the seeds decide."""

from __future__ import annotations

import numpy as np

from beamloop.simulators.parameters import PARAMETERS
from beamloop.simulators.specimen import BORDER_M, FIELD_M, FILM_M, grown_specimen


def test_same_seeds_give_the_same_specimen() -> None:
    points = np.random.default_rng(0).uniform(0, FIELD_M, size=(50, 2))
    one, other = grown_specimen(6, 2), grown_specimen(6, 2)
    np.testing.assert_array_equal(one.composition.at(points), other.composition.at(points))
    np.testing.assert_array_equal(one.film_thickness(points), other.film_thickness(points))


def test_other_seed_gives_other_particles() -> None:
    assert not np.array_equal(grown_specimen(6, 0).particles.centre[:5], grown_specimen(7, 0).particles.centre[:5])


def test_film_varies_smoothly_about_its_thickness() -> None:
    specimen = grown_specimen(0, 0)
    points = np.random.default_rng(0).uniform(-BORDER_M, FIELD_M + BORDER_M, size=(5000, 2))
    thickness = specimen.film_thickness(points)
    assert 0.15 < thickness.std() / thickness.mean() < 0.3
    assert 0.9 < thickness.mean() / FILM_M < 1.15
    step = specimen.film_thickness(points + np.array([0.0, 0.5e-9]))
    assert np.abs(step - thickness).max() < 0.05 * FILM_M


def test_stage_cannot_leave_the_particles() -> None:
    reach = max(abs(p.high) for p in PARAMETERS if p.name.startswith("stage"))
    assert reach < BORDER_M
