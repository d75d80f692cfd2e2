from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from beamloop.active_learning.deep_kernel import DeepKernel, deep_kernel
from beamloop.active_learning.fine_tuning import FineTuning, Measurements, fine_tuned, log_density_of
from beamloop.active_learning.hyperparameters import Hyperparameters, feature_kernel
from beamloop.active_learning.kernel import covariance
from beamloop.active_learning.policy import gp_features
from beamloop.active_learning.pool_gp import PoolGP
from beamloop.core import Measurement, Pool, Prediction, SettingsInvalid

RNG = np.random.default_rng(11)
M, N = 300, 80
# Ten features of falling variance, as principal components come; the kernel looks at the first two.
FEATURES = RNG.normal(size=(M, 10)) * np.geomspace(1.0, 0.3, 10) / np.sqrt(12)
POSITIONS = RNG.random((M, 2))
HIDDEN = FEATURES[:, 5] + 0.3 * FEATURES[:, 0]
ROWS = RNG.permutation(M)[:N].astype(np.intp)
UNKNOWN = np.full(N, np.nan)
START = Hyperparameters(feature_kernel("matern52", 2, shared=True))
HOW = FineTuning(kept=2, steps=100)


def fitted(values: np.ndarray, how: FineTuning = HOW, network_from: int = 50) -> DeepKernel:
    surrogate = DeepKernel(FEATURES, POSITIONS, START, how, network_from)
    surrogate.fit(ROWS, values[ROWS], UNKNOWN)
    return surrogate


def error(belief: Prediction, truth: np.ndarray) -> float:
    left = np.setdiff1d(np.arange(M), ROWS)
    return float(np.sqrt(np.mean((belief.mean - truth)[left] ** 2)) / truth.std())


def test_a_network_finds_what_hides_in_a_faint_feature() -> None:
    plain, deep = fitted(HIDDEN, network_from=M), fitted(HIDDEN)
    assert plain.gain is None
    assert deep.gain is not None
    assert plain.basis == ""
    assert "a network has bent" in deep.basis
    assert error(plain.predict(), HIDDEN) > 0.8
    assert error(deep.predict(), HIDDEN) < 0.2


def test_a_network_is_refused_where_nothing_can_be_foretold() -> None:
    gains = [fitted(np.random.default_rng(seed).normal(size=M)).gain for seed in range(5)]
    assert gains.count(None) >= 4


def test_a_refused_network_leaves_the_belief_of_plain_features() -> None:
    noise = np.random.default_rng(0).normal(size=M)
    deep, plain = fitted(noise), PoolGP(np.hstack([FEATURES[:, :2], POSITIONS]), START)
    plain.fit(ROWS, noise[ROWS], UNKNOWN)
    assert deep.gain is None
    np.testing.assert_array_equal(deep.predict().mean, plain.predict().mean)
    np.testing.assert_array_equal(deep.predict().std, plain.predict().std)


def test_a_network_that_is_worth_it_no_more_goes() -> None:
    deep = DeepKernel(FEATURES, POSITIONS, START, HOW, 50)
    deep.fit(ROWS[:50], HIDDEN[ROWS[:50]], UNKNOWN[:50])
    assert deep.gain is not None
    deep.fit(ROWS, np.random.default_rng(0).normal(size=N), UNKNOWN)
    assert deep.gain is None


def test_the_same_data_give_the_same_bits_in_any_number_of_threads() -> None:
    before, beliefs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            beliefs.append(fitted(HIDDEN).predict())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for belief in beliefs[1:]:
        np.testing.assert_array_equal(belief.mean, beliefs[0].mean)
        np.testing.assert_array_equal(belief.std, beliefs[0].std)


def test_before_its_network_the_policy_chooses_as_gp_features_does() -> None:
    steps = np.linspace(0, 1, 12)
    pool = Pool(np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2), FEATURES[:144, :4])
    deep, plain = deep_kernel(pool, 3), gp_features(pool, 3)
    for number in range(20):
        suggestion = plain.suggest(())
        assert deep.suggest(()) == suggestion
        assert suggestion is not None
        row = suggestion.candidate
        for policy in (deep, plain):
            policy.observe(
                Measurement(
                    measurement_id=str(number), candidate=row, position=suggestion.position, value=float(HIDDEN[row])
                )
            )


def test_the_predictive_density_is_a_ratio_of_joint_ones() -> None:
    inputs = np.hstack([FEATURES[:, :2], POSITIONS])
    noise = np.where(np.arange(N) % 2 == 0, 0.05, np.nan)
    measured = Measurements(ROWS, HIDDEN[ROWS], noise)
    is_asked = np.arange(N) >= N - 5
    found = log_density_of(inputs, measured.some(~is_asked), measured.some(is_asked), START)
    matrix = covariance(START.kernel, inputs[ROWS], inputs[ROWS]) + np.diag(
        np.where(np.isnan(noise), START.noise, noise)
    )

    def joint(which: list[int]) -> float:
        values = HIDDEN[ROWS][which] - START.mean
        return float(multivariate_normal.logpdf(values, cov=matrix[np.ix_(which, which)]))

    known = list(range(N - 5))
    expected = [joint([*known, i]) - joint(known) for i in range(N - 5, N)]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_training_looks_at_a_bounded_number_of_measurements() -> None:
    measured = Measurements(np.arange(1000), np.arange(1000.0), np.full(1000, np.nan))
    few = measured.at_most(7)
    assert len(few.rows) == len(few.values) == len(few.noise) == 7
    assert few.rows[0] == 0
    assert few.rows[-1] == 999
    assert measured.at_most(1000) is measured


def test_equal_values_are_survived() -> None:
    measured = Measurements(ROWS, np.zeros(N), UNKNOWN)
    found = fine_tuned(FEATURES, POSITIONS, measured, START, FineTuning(kept=2, steps=20))
    assert found is None or np.isfinite(found.outputs).all()


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SettingsInvalid, match="network_from >= 16"):
        DeepKernel(FEATURES, POSITIONS, START, HOW, 3)
    with pytest.raises(SettingsInvalid, match="steps >= every"):
        FineTuning(steps=5)
