from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from beamloop.core import Axis, FrameShapeWrong
from beamloop.streaming.reduce import Reducing, SpectrumWindow
from beamloop.streaming.reduce.spectrum import channels

from .scans import DTYPES, batch_of, energy_axis, frames_of, scan_of

WINDOW, BACKGROUND = (101.0, 102.0), (100.0, 100.9)
IN_WINDOW, IN_BACKGROUND = np.arange(10, 21), np.arange(10)


def reduced(reduction, scan, frames):
    reducing = Reducing(scan, {"s": reduction})
    reducing.add(batch_of(scan, frames, np.arange(scan.n_frames)))
    result = reducing.results()["s"]
    return result["value"].data.ravel(), result["std"].data.ravel()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_combination_equals_its_formula_in_unbounded_numbers(dtype: str) -> None:
    scan = scan_of(dtype, frame_axes=(energy_axis(),))
    frames = frames_of(scan)
    wide = frames.astype(np.float64 if np.dtype(dtype).kind == "f" else object)
    s, b = wide[:, IN_WINDOW].sum(axis=1), wide[:, IN_BACKGROUND].sum(axis=1)
    wanted = {"sum": s, "mean": s / 11, "difference": s - b * 11 / 10, "ratio": s / b}
    for combine, values in wanted.items():
        background = BACKGROUND if combine in ("difference", "ratio") else None
        value, _ = reduced(SpectrumWindow(window=WINDOW, background=background, combine=combine), scan, frames)
        largest = float(np.abs(s).max())
        np.testing.assert_allclose(value, values.astype(float), rtol=1e-12, atol=1e-13 * largest, err_msg=combine)
    if np.dtype(dtype).kind != "f":
        value, _ = reduced(SpectrumWindow(window=WINDOW), scan, frames)
        assert value.tolist() == s.tolist()


@pytest.mark.parametrize(
    ("combine", "window", "background"),
    [
        ("sum", WINDOW, None),
        ("mean", WINDOW, None),
        ("difference", WINDOW, BACKGROUND),
        ("ratio", WINDOW, BACKGROUND),
        ("ratio", WINDOW, None),
        ("difference", WINDOW, (100.5, 101.5)),
    ],
)
def test_the_error_is_the_scatter_of_repeated_counts(combine, window, background) -> None:
    if combine == "ratio" and background is None:
        background = (100.0, 104.0)  # holds the window: the fraction of a spectrum that lies in a window
    scan = scan_of("<u2", scan_shape=(6000,), frame_axes=(energy_axis(),))
    frames = np.random.default_rng(7).poisson(20.0, (6000, 41)).astype("<u2")
    value, std = reduced(SpectrumWindow(window=window, background=background, combine=combine), scan, frames)
    # The scatter of 6000 draws is known to 0.9 %.
    assert std.mean() == pytest.approx(value.std(ddof=1), rel=0.04)


def test_an_empty_window_has_the_error_of_one_count_and_an_empty_background_gives_no_ratio() -> None:
    scan = scan_of("<u2", scan_shape=(1,), frame_axes=(energy_axis(),))
    dark = np.zeros((1, 41), "<u2")
    assert reduced(SpectrumWindow(window=WINDOW), scan, dark) == (0, 1.0)
    value, std = reduced(SpectrumWindow(window=WINDOW, background=BACKGROUND, combine="ratio"), scan, dark)
    assert np.isnan(value).all()
    assert np.isnan(std).all()
    dark[0, 3] = 4
    value, std = reduced(SpectrumWindow(window=WINDOW, background=BACKGROUND, combine="ratio"), scan, dark)
    assert (value[0], std[0]) == (0.0, 0.25)


def test_without_counts_the_error_is_unknown() -> None:
    scan = scan_of("<f8", units="a.u.", frame_axes=(energy_axis(),))
    for combine, background in (("sum", None), ("difference", BACKGROUND), ("ratio", BACKGROUND)):
        _, std = reduced(SpectrumWindow(background=background, combine=combine), scan, frames_of(scan))
        assert np.isnan(std).all()


@pytest.mark.parametrize("window", [(99.0, 101.0), (103.0, 104.2), (101.01, 101.09), (5.0, 6.0)])
def test_a_window_outside_the_axis_or_between_channels_is_refused_with_the_range(window) -> None:
    scan = scan_of("<u2", frame_axes=(energy_axis(),))
    with pytest.raises(FrameShapeWrong, match=r"channels from 100 to 104 eV in steps of 0\.1"):
        SpectrumWindow(window=window).empty(scan)


def test_a_window_may_end_at_the_outer_edge_of_the_last_channel() -> None:
    assert channels(energy_axis(), (99.95, 104.05)).tolist() == list(range(41))


def test_edges_are_inclusive_whatever_the_rounding_of_the_axis() -> None:
    axis = Axis(name="energy_loss", size=2000, units="eV", scale=0.1)
    for first in range(0, 1900, 37):
        low, high = round(first * 0.1, 1), round((first + 9) * 0.1, 1)
        assert channels(axis, (low, high)).tolist() == list(range(first, first + 10))


def test_a_bias_axis_that_goes_up_and_down_gives_all_channels_of_the_range() -> None:
    axis = Axis(name="bias", size=6, units="V", values=(0.0, 1.0, 2.0, 1.0, 0.0, -1.0))
    assert channels(axis, (0.5, 1.5)).tolist() == [1, 3]


def test_channels_by_number_tell_the_branches_apart() -> None:
    axis = Axis(name="bias", size=6, units="V", values=(0.0, 1.0, 2.0, 1.0, 0.0, -1.0))
    scan = scan_of("<u2", scan_shape=(1,), frame_axes=(axis,))
    value, _ = reduced(SpectrumWindow(window=(3, 4), by_channel=True), scan, np.array([[1, 2, 4, 8, 16, 32]], "<u2"))
    assert value[0] == 24
    with pytest.raises(FrameShapeWrong, match="channels from 0 to 5"):
        SpectrumWindow(window=(3, 8), by_channel=True).empty(scan)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": (2.0, 1.0)},
        {"combine": "ratio"},
        {"combine": "sum", "background": (1.0, 2.0)},
        {"combine": "median"},
        {"windw": (1.0, 2.0)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        SpectrumWindow.model_validate(wrong)


def test_images_are_refused() -> None:
    with pytest.raises(FrameShapeWrong, match="one axis"):
        SpectrumWindow().empty(scan_of("<u2"))
