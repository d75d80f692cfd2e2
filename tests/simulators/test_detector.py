"""Counting: Poisson statistics, saturation, and noise that follows its key alone."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.simulators.detector import DETECTORS, DIFFRACTION, EELS, HAADF, Noise, block_size, counted


@pytest.mark.parametrize("mean", [0.05, 3.0, 40.0, 5000.0])
def test_counts_have_the_mean_and_variance_of_poisson(mean: float) -> None:
    counts = counted(np.full(200_000, mean), Noise(1, "m").generator(0), "<u4").astype(float)
    # Standard errors: of the mean sqrt(mean / n); of the variance sqrt((mean + 2 mean^2) / n).
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 200_000))
    assert counts.var() == pytest.approx(mean, abs=5 * np.sqrt((mean + 2 * mean**2) / 200_000))


def test_pixels_saturate_at_the_largest_number() -> None:
    counts = counted(np.array([1e6, 10.0]), Noise(1, "m").generator(0), "<u2")
    assert counts.dtype == np.dtype("<u2")
    assert counts[0] == 65535
    assert counts[1] < 100


def test_noise_follows_its_key() -> None:
    draws = {
        key: tuple(Noise(*key[:2]).generator(key[2]).integers(0, 1 << 30, 4).tolist())
        for key in [(1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0), (11, "a", 0), (1, "1/a", 1)]
    }
    assert len(set(draws.values())) == len(draws)
    assert tuple(Noise(1, "a").generator(0).integers(0, 1 << 30, 4).tolist()) == draws[(1, "a", 0)]


def test_block_is_at_most_a_mebibyte() -> None:
    assert block_size(DIFFRACTION) == 32
    assert block_size(EELS) == 1024
    assert block_size(HAADF) * 4 <= 1 << 20


def test_camera_has_its_zero_in_the_middle() -> None:
    for axis in DIFFRACTION.frame_axes:
        assert axis.coordinates()[64] == 0.0
        assert axis.units == "1/m"
    assert [axis.name for axis in DIFFRACTION.frame_axes] == ["v", "u"]
    assert len({detector.name for detector in DETECTORS}) == 4
