"""The contract of `core.Policy`: every registered policy passes it."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.active_learning import Finish, Loop, Measured, StopRules
from beamloop.active_learning.inputs import feature_inputs, position_inputs
from beamloop.active_learning.policy import gp_coordinates, gp_features, random
from beamloop.core import Measurement, Policy, Pool, SettingsInvalid
from beamloop.core.registry import POLICIES, find

SIDE = 12
STEPS = np.linspace(0.0, 60e-9, SIDE)
POSITIONS = np.stack(np.meshgrid(STEPS, STEPS, indexing="ij"), axis=-1).reshape(-1, 2)
FEATURES = np.random.default_rng(0).normal(size=(SIDE**2, 3)) * [3.0, 1.0, 0.3]
POOL = Pool(POSITIONS, FEATURES, (SIDE, SIDE))
TRUTH = np.exp(-np.sum((POSITIONS - [42e-9, 17e-9]) ** 2, axis=1) / (2 * (9e-9) ** 2))
NAMES = ("random", "grid", "gp-coordinates", "gp-features", "deep-kernel")
# Early enough that a network is tried within a test, and short.
EARLY = {"deep-kernel": {"network_from": 16, "steps": 20}}


def made(name: str, seed: int = 0, pool: Pool = POOL, **settings: object) -> Policy:
    return find(POLICIES, name)(pool, seed, **EARLY.get(name, {}), **settings)


def measured(candidate: int, value: float | None = None, std: float | None = None) -> Measurement:
    y, x = POSITIONS[candidate].tolist()
    value = float(TRUTH[candidate]) if value is None else value
    return Measurement(measurement_id=str(candidate), candidate=candidate, position=(y, x), value=value, std=std)


def walk(policy: Policy, steps: int, taken: tuple[int, ...] = ()) -> list[int]:
    path = []
    for _ in range(steps):
        suggestion = policy.suggest(taken)
        assert suggestion is not None
        path.append(suggestion.candidate)
        policy.observe(measured(suggestion.candidate))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_suggestions_are_new_places_with_their_position_and_a_reason(name: str) -> None:
    policy, seen = made(name), set()
    for _ in range(25):
        suggestion = policy.suggest(())
        assert suggestion is not None
        assert suggestion.candidate not in seen
        assert suggestion.position == tuple(POSITIONS[suggestion.candidate])
        assert suggestion.why
        seen.add(suggestion.candidate)
        policy.observe(measured(suggestion.candidate))


@pytest.mark.parametrize("name", NAMES)
def test_taken_places_are_never_suggested(name: str) -> None:
    taken = tuple(range(0, SIDE**2, 2))
    assert not set(walk(made(name), 20, taken)) & set(taken)


@pytest.mark.parametrize("name", NAMES)
def test_none_is_suggested_when_none_is_left(name: str) -> None:
    pool = Pool(POSITIONS[:6], FEATURES[:6])
    policy = made(name, pool=pool)
    path = walk(policy, 4)
    assert policy.suggest(tuple(set(range(6)) - set(path))) is None
    walk(policy, 2)
    assert policy.suggest(()) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_calls_give_the_same_choices_and_another_seed_others(name: str) -> None:
    assert walk(made(name, 5), 22) == walk(made(name, 5), 22)
    assert any(walk(made(name, seed), 22) != walk(made(name, 5), 22) for seed in (6, 7, 8))


@pytest.mark.parametrize("name", NAMES)
def test_suggesting_changes_nothing(name: str) -> None:
    asked, quiet = made(name), made(name)
    for candidate in (3, 50, 99, 120, 7, 64, 31, 88, 140, 12, 75):
        for policy in (asked, quiet):
            policy.observe(measured(candidate))
        asked.suggest((1, 2, 5))
        asked.suggest(())
    assert asked.suggest((4,)) == quiet.suggest((4,)) == asked.suggest((4,))


@pytest.mark.parametrize("name", NAMES)
def test_belief_is_none_or_covers_the_pool(name: str) -> None:
    policy = made(name)
    assert policy.belief() is None
    walk(policy, 12)
    belief = policy.belief()
    if name not in ("random", "grid"):
        assert belief is not None
        assert belief.mean.shape == belief.std.shape == (SIDE**2,)
        assert np.isfinite(belief.mean).all()
        assert (belief.std >= 0).all()
    else:
        assert belief is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
def test_equal_values_of_any_size_are_survived(name: str, value: float) -> None:
    policy = made(name)
    for _ in range(15):
        suggestion = policy.suggest(())
        assert suggestion is not None
        policy.observe(measured(suggestion.candidate, value, 0.0))
    assert policy.suggest(()) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_place_measured_twice_is_survived(name: str) -> None:
    policy = made(name)
    for candidate in (5, 5, 5, 80, 80, 13, 5):
        policy.observe(measured(candidate, std=0.0))
    suggestion = policy.suggest(())
    assert suggestion is not None
    assert suggestion.candidate not in (5, 80, 13)


@pytest.mark.parametrize("name", ["gp-coordinates", "gp-features", "deep-kernel"])
@pytest.mark.parametrize("acquisition", ["log-ei", "ucb", "max-std"])
def test_a_learners_choice_carries_its_belief_and_score(name: str, acquisition: str) -> None:
    policy = made(name, acquisition=acquisition)
    walk(policy, 12)
    suggestion, belief = policy.suggest(()), policy.belief()
    assert suggestion is not None
    assert belief is not None
    assert acquisition in suggestion.why
    assert suggestion.score is not None
    assert suggestion.mean == belief.mean[suggestion.candidate]
    assert suggestion.std == belief.std[suggestion.candidate]
    if acquisition == "max-std":
        left = np.setdiff1d(np.arange(SIDE**2), [])
        assert suggestion.std == pytest.approx(belief.std[left].max())


def test_a_choice_beside_a_pending_one_goes_elsewhere() -> None:
    policy = made("gp-coordinates", acquisition="max-std")
    walk(policy, 12)
    first = policy.suggest(())
    assert first is not None
    second = policy.suggest((first.candidate,))
    assert second is not None
    assert np.linalg.norm(np.subtract(first.position, second.position)) > 2 * STEPS[1]


def test_learning_finds_the_peak_long_before_chance() -> None:
    def needed(name: str, seed: int) -> int:
        path = walk(made(name, seed), 60)
        return next((i for i, c in enumerate(path) if TRUTH[c] > 0.9), 60)

    assert np.median([needed("gp-coordinates", s) for s in range(5)]) < 25
    assert np.median([needed("random", s) for s in range(5)]) > 25


def test_features_help_where_they_tell_the_property() -> None:
    truth = np.sin(1.5 * FEATURES[:, 0])
    errors = {}
    for name in ("gp-coordinates", "gp-features"):
        policy = made(name, acquisition="max-std")
        for _ in range(30):
            suggestion = policy.suggest(())
            assert suggestion is not None
            policy.observe(measured(suggestion.candidate, float(truth[suggestion.candidate])))
        belief = policy.belief()
        assert belief is not None
        errors[name] = np.sqrt(np.mean((belief.mean - truth) ** 2)) / truth.std()
    assert errors["gp-features"] < 0.5 < errors["gp-coordinates"]


def test_a_loop_of_learning_ahead_ends_with_the_peak() -> None:
    loop = Loop(gp_features(POOL, 1), StopRules(points=40), ahead=1)
    queue = loop.start()
    while queue and not isinstance(command := queue.pop(0), Finish):
        queue += loop.handle(
            Measured(
                measured(command.suggestion.candidate).model_copy(update={"measurement_id": command.measurement_id})
            )
        )
    assert [r.state for r in loop.records] == ["done"] * 40
    assert max(TRUTH[r.suggestion.candidate] for r in loop.records) > 0.9


def test_a_pool_without_features_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsInvalid, match="needs an overview"):
        gp_features(Pool(POSITIONS), 0)
    with pytest.raises(SettingsInvalid, match="1 of 432 are not"):
        gp_features(Pool(POSITIONS, np.where(np.arange(432).reshape(-1, 3) == 7, np.nan, FEATURES)), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"acquisition": "log-ie"}, "did you mean 'log-ei'"),
        ({"family": "matern25"}, "did you mean 'matern"),
        ({"first": 0}, "first >= 1"),
        ({"growth": 0.5}, "growth >= 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        gp_coordinates(POOL, 0, **settings)


def test_inputs_keep_proportions_unless_standardised() -> None:
    positions = position_inputs(Pool(POSITIONS * [1.0, 0.25]))
    np.testing.assert_allclose(np.ptp(positions, axis=0), [1.0, 0.25])
    spread, unit = FEATURES.std(axis=0), np.sqrt(1 / 12)
    np.testing.assert_allclose(feature_inputs(POOL).std(axis=0), unit * spread / spread.max())
    np.testing.assert_allclose(feature_inputs(POOL, standardised=True).std(axis=0), unit)


def test_a_pool_of_one_place_is_measured_and_done() -> None:
    pool = Pool(POSITIONS[:1], FEATURES[:1])
    for name in NAMES:
        policy = made(name, pool=pool)
        assert walk(policy, 1) == [0]
        assert policy.suggest(()) is None


def test_random_is_uniform_over_the_pool() -> None:
    firsts = np.array([random(POOL, seed).suggest(()).candidate for seed in range(600)])  # pyright: ignore[reportOptionalMemberAccess]
    assert abs(firsts.mean() - (SIDE**2 - 1) / 2) < 5 * np.sqrt((SIDE**4 - 1) / 12 / 600)
