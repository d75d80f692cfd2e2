"""Experiment meets instrument: everything that does not fit is found before the beam."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest

from beamloop.core import (
    BeamloopError,
    FrameShapeWrong,
    InstrumentInfo,
    LimitRefused,
    RecordedGrid,
    Region,
    SettingsInvalid,
    Signal,
    UnknownName,
)
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.preparation import prepare


@pytest.fixture
def settings(experiment_text: str) -> dict[str, Any]:
    return tomllib.loads(experiment_text)


def prepared(settings: dict[str, Any], info: InstrumentInfo):
    return prepare(Experiment.model_validate(settings), info)


def test_the_pool_is_a_grid_of_pixel_centres(settings: dict[str, Any], info: InstrumentInfo) -> None:
    pool = prepared(settings, info).pool
    assert pool.shape == (20, 24)
    np.testing.assert_allclose(pool.positions[0], [5e-9, 5e-9])
    np.testing.assert_allclose(pool.positions[-1], [195e-9, 235e-9])
    np.testing.assert_allclose(pool.positions[1] - pool.positions[0], [0.0, 10e-9], atol=1e-15)


def test_on_a_recorded_grid_the_pool_is_that_grid_and_a_line_says_so(
    settings: dict[str, Any], info: InstrumentInfo
) -> None:
    y, x = Region(y_m=0.0, x_m=0.0, height_m=200e-9, width_m=240e-9).grid((5, 6))
    detectors = tuple(d.model_copy(update={"grid": RecordedGrid(y=y, x=x)}) for d in info.detectors)
    recording = info.model_copy(update={"source": "recording", "detectors": detectors})
    found = prepared(settings, recording)
    assert found.pool.shape == (5, 6)
    assert "5 x 6 positions that were recorded, not the 20 x 24" in found.notes[0]
    del settings["pool"]
    assert prepared(settings, recording).notes[0] == "pool: the 5 x 6 positions that were recorded"


def test_a_recorded_overview_is_taken_as_it_was_recorded_and_a_line_says_so(
    settings: dict[str, Any], info: InstrumentInfo
) -> None:
    y, x = info.field.grid((40, 48))
    grids = {"haadf": RecordedGrid(y=y, x=x)}
    detectors = tuple(d.model_copy(update={"grid": grids.get(d.name)}) for d in info.detectors)
    found = prepared(settings, info.model_copy(update={"detectors": detectors}))
    assert found.overview is not None
    assert found.overview.shape == (40, 48)
    assert "overview: the 40 x 48 pixels that were recorded, not the 80 x 96 of [overview]" in found.notes


def test_the_truth_is_asked_for_at_the_candidates(settings: dict[str, Any], info: InstrumentInfo) -> None:
    found = prepared(settings, info)
    plan = found.expectation()
    assert plan.expected
    np.testing.assert_allclose(plan.positions(info.field), found.pool.positions, rtol=1e-12)


def test_features_come_from_the_overview_only_where_asked_for(settings: dict[str, Any], info: InstrumentInfo) -> None:
    y, x = info.field.grid((80, 96))
    overview = Signal(np.random.default_rng(0).random((80, 96)), (y, x))
    assert prepared(settings, info).with_features(overview).features is None
    settings["features"] = {"size_px": 5, "components": 3}
    features = prepared(settings, info).with_features(overview).features
    assert features is not None
    assert features.shape == (480, 3)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"measure": {"detector": "spectrometr", "dwell_s": 0.01}}, UnknownName, "did you mean 'spectrometer'"),
        ({"measure": {"detector": "spectrometer", "dwell_s": 99.0}}, LimitRefused, "dwell_s = 99 s refused"),
        ({"measure": {"detector": "haadf", "dwell_s": 0.01}}, FrameShapeWrong, r"\[target\] does not fit"),
        ({"overview": {"detector": "haadff", "shape": [8, 8], "dwell_s": 1e-6}}, UnknownName, "did you mean 'haadf'"),
        ({"overview": {"detector": "spectrometer", "shape": [8, 8], "dwell_s": 1e-6}}, SettingsInvalid, "no picture"),
        ({"overview": {"shape": [8, 8], "dwell_s": 1e-9}}, LimitRefused, "dwell_s = 1e-09 s refused"),
        ({"pool": {}}, SettingsInvalid, r"\[pool\] shape is missing"),
        ({"policy": {"name": "gp-feature"}}, UnknownName, "did you mean 'gp-features'"),
    ],
)
def test_what_does_not_fit_is_named(
    settings: dict[str, Any], info: InstrumentInfo, change: dict[str, Any], kind: type[BeamloopError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        prepared({**settings, **change}, info)


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"reduction": "spectrum-windw"}, UnknownName, "did you mean 'spectrum-window'"),
        ({"settings": {"windw": [410.0, 430.0]}}, SettingsInvalid, "did you mean 'window'"),
        ({"settings": {"combine": "ratio"}}, SettingsInvalid, "needs a background"),
        ({"settings": {"window": [10.0, 20.0]}}, FrameShapeWrong, "window 10 .. 20 eV"),
        ({"output": "valu"}, SettingsInvalid, "did you mean 'value'"),
        ({"uncertainty": "sd"}, SettingsInvalid, "did you mean 'std'"),
    ],
)
def test_a_target_that_cannot_be_is_named(
    settings: dict[str, Any], info: InstrumentInfo, change: dict[str, Any], kind: type[BeamloopError], told: str
) -> None:
    settings["target"] |= change
    with pytest.raises(kind, match=told):
        prepared(settings, info)


def test_an_overview_needs_an_instrument_that_has_one(settings: dict[str, Any], info: InstrumentInfo) -> None:
    blind = info.model_copy(update={"overview": None})
    with pytest.raises(SettingsInvalid, match="no picture to start from"):
        prepared(settings, blind)
