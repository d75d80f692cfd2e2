"""The hidden field: what of it shows in images, what does not, and in which shares."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.composition import INVISIBLE_SHARE
from beamloop.simulators.specimen import FIELD_M, Specimen, grown_specimen

SEEDS = (0, 1, 7)


def field_points(n: int) -> np.ndarray:
    steps = (np.arange(n) + 0.5) / n * FIELD_M
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.fixture(scope="module", params=SEEDS)
def specimen(request: pytest.FixtureRequest) -> Specimen:
    return grown_specimen(request.param, request.param)


@pytest.mark.parametrize("n", [40, 77])
def test_invisible_part_carries_30_percent_of_the_variance(specimen: Specimen, n: int) -> None:
    points = field_points(n)
    visible, invisible = specimen.composition.visible(points), specimen.composition.invisible(points)
    assert invisible.var() / (visible + invisible).var() == pytest.approx(INVISIBLE_SHARE, abs=0.01)
    assert INVISIBLE_SHARE == 0.3


def test_shares_are_exact_where_they_were_set(specimen: Specimen) -> None:
    points = field_points(100)
    visible, invisible = specimen.composition.visible(points), specimen.composition.invisible(points)
    assert invisible.var() / (visible + invisible).var() == pytest.approx(0.3, abs=1e-9)
    assert abs(np.corrcoef(visible, invisible)[0, 1]) < 1e-9


def test_composition_is_the_sum_of_both_parts_and_never_negative(specimen: Specimen) -> None:
    points = field_points(50)
    total = specimen.composition.visible(points) + specimen.composition.invisible(points)
    np.testing.assert_allclose(specimen.composition.at(points), np.maximum(total, 0))


def test_composition_varies_on_a_useful_scale(specimen: Specimen) -> None:
    field = specimen.composition.at(field_points(40)).reshape(40, 40)
    assert 0.11 < field.std() < 0.15
    neighbours = np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]
    far = np.corrcoef(field[:, :-16].ravel(), field[:, 16:].ravel())[0, 1]
    assert neighbours > 0.8
    assert far < 0.6


def test_best_places_are_rare() -> None:
    shares = []
    for seed in range(8):
        field = grown_specimen(seed, seed).composition.at(field_points(40))
        shares.append(np.mean(field >= field.max() - 0.02 * np.ptp(field)))
    assert 0.002 < np.median(shares) < 0.012


def test_grid_and_points_agree(specimen: Specimen) -> None:
    steps = (np.arange(30) + 0.5) / 30 * FIELD_M
    np.testing.assert_allclose(
        specimen.composition.on_grid(steps, steps).ravel(), specimen.composition.at(field_points(30)), atol=1e-12
    )


def test_value_at_a_point_does_not_depend_on_its_company(specimen: Specimen) -> None:
    points = field_points(20)
    alone = np.concatenate([specimen.composition.at(point[None]) for point in points[::37]])
    np.testing.assert_allclose(specimen.composition.at(points)[::37], alone, atol=1e-12)


def test_field_is_continuous(specimen: Specimen) -> None:
    line = np.column_stack([np.full(40001, 0.43 * FIELD_M), np.linspace(0, FIELD_M, 40001)])
    jumps = np.abs(np.diff(specimen.composition.at(line)))
    # Steps of 2.5 pm: the steepest slope is a rim's, some tenths in a nanometre.
    assert jumps.max() < 0.005


def test_invisible_seed_changes_only_the_invisible_part() -> None:
    one, other = grown_specimen(3, 3), grown_specimen(3, 4)
    points = field_points(20)
    np.testing.assert_array_equal(one.composition.visible(points), other.composition.visible(points))
    assert np.abs(one.composition.invisible(points) - other.composition.invisible(points)).max() > 0.05


def test_brightest_kind_is_not_the_richest(specimen: Specimen) -> None:
    particles = specimen.particles
    cores = specimen.composition.visible(particles.centre)
    assert cores[particles.kind == 3].max() < cores[particles.kind == 0].max()
