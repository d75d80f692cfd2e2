"""What a person types becomes settings in SI units, or a message that says what to type."""

from __future__ import annotations

import pytest

from beamloop.core import Axis, FrameShapeWrong, SettingsInvalid
from beamloop.edge_client.file_reductions.spelling import (
    any_reduction,
    beam_axis,
    centre_of_mass,
    spectrum_window,
    virtual_detector,
)

CAMERA = tuple(Axis(name=name, size=128, units="1/m", offset=-64e8, scale=1e8) for name in "vu")
ANGLES = tuple(Axis(name=name, size=64, units="rad", offset=-32e-4, scale=1e-4) for name in "vu")
BARE = tuple(Axis(name=name, size=size) for name, size in (("v", 101), ("u", 64)))
ENERGY = (Axis(name="energy_loss", size=256, units="eV", offset=580.0, scale=1.25),)


@pytest.mark.parametrize(
    ("words", "axes", "region"),
    [
        ("disk:8px", CAMERA, {"kind": "disk", "radius": 8.0, "centre": (64.0, 64.0), "pixels": True}),
        ("disk:2.5", CAMERA, {"kind": "disk", "radius": 2.5e9, "centre": (0.0, 0.0), "pixels": False}),
        ("disk:2.5/nm", CAMERA, {"kind": "disk", "radius": 2.5e9, "centre": (0.0, 0.0), "pixels": False}),
        ("disk:.25/Å", CAMERA, {"kind": "disk", "radius": 2.5e9, "centre": (0.0, 0.0), "pixels": False}),
        ("disk:1e9 1/m", CAMERA, {"kind": "disk", "radius": 1e9, "centre": (0.0, 0.0), "pixels": False}),
        ("disk:1mrad", ANGLES, {"kind": "disk", "radius": 1e-3, "centre": (0.0, 0.0), "pixels": False}),
        (
            "ring:4,12/nm@-.1,0.2",
            CAMERA,
            {"kind": "ring", "inner": 4e9, "outer": 12e9, "centre": (-0.1e9, 0.2e9), "pixels": False},
        ),
        ("ring:4,12", BARE, {"kind": "ring", "inner": 4.0, "outer": 12.0, "centre": (50.0, 31.5), "pixels": False}),
        ("disk:8px@3,4", BARE, {"kind": "disk", "radius": 8.0, "centre": (3.0, 4.0), "pixels": True}),
    ],
)
def test_a_virtual_detector_is_understood(words: str, axes: tuple[Axis, ...], region: dict[str, object]) -> None:
    wanted = virtual_detector(words, axes)
    found = wanted.settings["region"]
    assert isinstance(found, dict)
    assert {k: v for k, v in found.items() if isinstance(v, (str, bool))} == {
        k: v for k, v in region.items() if isinstance(v, (str, bool))
    }
    for key in region.keys() - {"kind", "pixels"}:
        assert found[key] == pytest.approx(region[key], rel=1e-12)
    assert (wanted.name, wanted.plugin) == (region["kind"], "virtual-detector")


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("705,735", {"window": [705.0, 735.0], "by_channel": False, "combine": "sum"}),
        ("0.705,0.735keV:mean", {"window": [705.0, 735.0], "by_channel": False, "combine": "mean"}),
        (
            "705,735,640,700",
            {"window": [705.0, 735.0], "background": [640.0, 700.0], "by_channel": False, "combine": "difference"},
        ),
        (
            "14,18,46,50ch:ratio",
            {"window": [14.0, 18.0], "background": [46.0, 50.0], "by_channel": True, "combine": "ratio"},
        ),
        ("-2,3.5", {"window": [-2.0, 3.5], "by_channel": False, "combine": "sum"}),
    ],
)
def test_a_spectrum_window_is_understood(words: str, settings: dict[str, object]) -> None:
    wanted = spectrum_window(words, ENERGY)
    assert wanted.settings == settings
    assert wanted.plugin == "spectrum-window"


def test_names_are_taken_and_any_reduction_reads_toml() -> None:
    assert virtual_detector("bf=disk:8px", CAMERA).name == "bf"
    assert spectrum_window("iron=705,735", ENERGY).name == "iron"
    wanted = any_reduction("x=virtual-detector region={kind='disk',radius=4e9}")
    assert (wanted.name, wanted.plugin) == ("x", "virtual-detector")
    assert wanted.settings == {"region": {"kind": "disk", "radius": 4e9}}
    assert any_reduction("moments").settings == {}


@pytest.mark.parametrize("words", ["disk", "disk:", "disk:1,2", "ring:1", "square:3", "disk:1@2", "disk:8 px!@1,2,3"])
def test_a_wrong_virtual_detector_is_told_with_an_example(words: str) -> None:
    with pytest.raises(SettingsInvalid, match="for example disk:8px"):
        virtual_detector(words, CAMERA)


@pytest.mark.parametrize("words", ["705", "705,735,640", "705-735", "a,b", ""])
def test_a_wrong_window_is_told_with_an_example(words: str) -> None:
    with pytest.raises(SettingsInvalid, match="for example 705,735"):
        spectrum_window(words, ENERGY)


def test_units_that_the_axes_do_not_have_are_told_with_those_they_have() -> None:
    with pytest.raises(SettingsInvalid, match="'mrad' do not fit axis v, which has 1/nm; px always fits"):
        virtual_detector("disk:8mrad", CAMERA)
    with pytest.raises(SettingsInvalid, match="'nm' do not fit axis energy_loss, which has eV; ch always fits"):
        spectrum_window("705,735nm", ENERGY)


def test_frames_of_the_wrong_kind_are_told() -> None:
    with pytest.raises(FrameShapeWrong, match=r"disk:8px: needs frames with two axes.*\(256,\)"):
        virtual_detector("disk:8px", ENERGY)
    with pytest.raises(FrameShapeWrong, match=r"705,735: needs frames with one axis.*\(128, 128\)"):
        spectrum_window("705,735", CAMERA)


def test_the_beam_is_where_both_axes_are_zero_or_else_in_the_middle() -> None:
    assert beam_axis(CAMERA, in_pixels=True) == (64.0, 64.0)
    off = (CAMERA[0].model_copy(update={"offset": 1e8}), CAMERA[1])
    assert beam_axis(off, in_pixels=True) == (63.5, 63.5)
    assert beam_axis(off, in_pixels=False) == pytest.approx((64.5e8, -0.5e8))
    assert centre_of_mass(BARE).settings == {"origin": (50.0, 31.5)}
