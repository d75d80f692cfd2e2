"""Stage, creep and drift as functions of the clock."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.stage import CREEP, CREEP_S, SETTLE_S, SPEED_M_PER_S, WAVER_S, Stage


def stage(drift: float = 0.0, seed: int = 0) -> Stage:
    return Stage(drift, np.random.default_rng(seed))


def test_stage_at_rest_without_drift_stays() -> None:
    np.testing.assert_array_equal(stage().offset(np.array([0.0, 10.0, 1e4])), np.zeros((3, 2)))


def test_drift_is_steady_over_whole_wavers() -> None:
    times = np.arange(5) * WAVER_S
    found = stage(2e-12).offset(times)
    steps = np.diff(found, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-18)
    assert np.hypot(*steps[0]) == pytest.approx(2e-12 * WAVER_S)


def test_drift_begins_at_zero_and_follows_the_seed() -> None:
    assert np.all(stage(1e-11).offset(np.zeros(1)) == 0)
    one, other = (stage(1e-11, seed).offset(np.array([60.0])) for seed in (1, 2))
    assert np.hypot(*(one - other)[0]) > 1e-11


def test_creep_fades_after_a_move() -> None:
    moved = stage()
    target = np.array([30e-9, -40e-9])
    moved.arrive(target, at_s=100.0)
    missing = target - moved.offset(100.0 + np.array([0.0, CREEP_S, 100 * CREEP_S]))
    np.testing.assert_allclose(missing[0], CREEP * target)
    np.testing.assert_allclose(missing[1], CREEP * target / np.e)
    np.testing.assert_allclose(missing[2], 0, atol=1e-20)


def test_second_move_keeps_what_the_first_left_missing() -> None:
    moved = stage()
    moved.arrive(np.array([50e-9, 0.0]), at_s=0.0)
    before = moved.offset(np.array([5.0]))[0]
    moved.arrive(np.array([50e-9, 10e-9]), at_s=5.0)
    after = moved.offset(np.array([5.0]))[0]
    np.testing.assert_allclose(after - before, [0.0, 10e-9 * (1 - CREEP)], atol=1e-18)


def test_move_takes_its_way_and_settling_and_none_takes_none() -> None:
    moved = stage()
    assert moved.seconds_to(np.array([30e-9, 40e-9])) == pytest.approx(50e-9 / SPEED_M_PER_S + SETTLE_S)
    assert moved.seconds_to(np.zeros(2)) == 0.0


def test_a_move_cut_short_is_on_its_straight_way() -> None:
    moved = stage()
    moved.arrive(np.array([10e-9, 0.0]), at_s=0.0)
    target = np.array([40e-9, 40e-9])
    np.testing.assert_allclose(moved.reached(target, 25e-9 / SPEED_M_PER_S), [25e-9, 20e-9], rtol=1e-12)
    np.testing.assert_array_equal(moved.reached(target, 0.0), [10e-9, 0.0])
    np.testing.assert_array_equal(moved.reached(target, 50e-9 / SPEED_M_PER_S + SETTLE_S / 2), target)
