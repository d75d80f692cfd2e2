"""How a person spells a reduction on the command line, in the units of the field.

    virtual detector   [NAME=]disk:R[UNITS][@V,U]   [NAME=]ring:R1,R2[UNITS][@V,U]
    spectrum window    [NAME=]LOW,HIGH[,BG_LOW,BG_HIGH][UNITS][:COMBINE]
    any reduction      [NAME=]PLUGIN [KEY=VALUE ...]

UNITS stand behind the last number: `px` (for windows `ch`) counts pixels or channels; any
other is a unit of the detector's axes, for example `/nm`, `mrad`, `keV`. Without them the
numbers are in the units that files carry: 1/nm, mrad, nm, eV. A centre is in the same
units; without one it is where both axes are zero, or the middle of a detector whose axes
have no zero inside.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from ...core import Axis, FrameShapeWrong, SettingsInvalid
from ...streaming.files import customary, si_units

PIXELS, CHANNELS = "px", "ch"

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBERS = rf"{_NUMBER}(?:,{_NUMBER})*"
_NAME = r"(?:(?P<name>[A-Za-z][\w-]*)=)?"
_REGION = re.compile(
    rf"{_NAME}(?P<kind>disk|ring):(?P<numbers>{_NUMBERS})(?P<units>[^@,:]*)(?:@(?P<centre>{_NUMBER},{_NUMBER}))?"
)
_WINDOW = re.compile(rf"{_NAME}(?P<numbers>{_NUMBERS})(?P<units>[^@,:]*)(?::(?P<combine>\w+))?")
_PLUGIN = re.compile(rf"{_NAME}(?P<plugin>[\w-]+)(?P<settings>(?:\s+\w+=\S+)*)\s*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One reduction that is asked for.

    Attributes
    ----------
    name
        What its results are called.
    plugin, settings
        Name under `beamloop.reductions`, and its settings in SI units.
    words
        How it was spelt.
    """

    name: str
    plugin: str
    settings: Mapping[str, object]
    words: str


def virtual_detector(words: str, axes: tuple[Axis, ...]) -> Wanted:
    """Return the virtual detector that a person spelt, for frames with these axes `(v, u)`.

    Raises
    ------
    SettingsInvalid
        If it is spelt wrongly, or in units that the axes do not have.
    FrameShapeWrong
        If the frames are no patterns.
    """
    found = _REGION.fullmatch(words)
    kinds = {"disk": ("radius",), "ring": ("inner", "outer")}
    numbers = [] if found is None else _numbers(found["numbers"])
    if found is None or len(numbers) != len(kinds[found["kind"]]):
        raise SettingsInvalid(
            f"--virtual-detector {words}: not understood; write disk:R or ring:R1,R2, with units and a centre where "
            "needed, for example disk:8px@63.5,63.5 or ring:4,12/nm"
        )
    if len(axes) != 2:
        shape = tuple(axis.size for axis in axes)
        raise FrameShapeWrong(
            f"--virtual-detector {words}: needs frames with two axes (v, u); these have shape {shape}"
        )
    in_pixels = found["units"] == PIXELS
    factor = 1.0 if in_pixels else _factor(found["units"], axes[0], f"--virtual-detector {words}", PIXELS)
    centre = beam_axis(axes, in_pixels)
    if found["centre"]:
        v, u = _numbers(found["centre"])
        centre = (v * factor, u * factor)
    lengths = {key: number * factor for key, number in zip(kinds[found["kind"]], numbers, strict=True)}
    region = {"kind": found["kind"], **lengths, "centre": centre, "pixels": in_pixels}
    return Wanted(found["name"] or found["kind"], "virtual-detector", {"region": region}, f"--virtual-detector {words}")


def spectrum_window(words: str, axes: tuple[Axis, ...]) -> Wanted:
    """Return the spectrum window that a person spelt, for frames with this one axis.

    Raises
    ------
    SettingsInvalid
        If it is spelt wrongly, or in units that the axis does not have.
    FrameShapeWrong
        If the frames are no spectra.
    """
    found = _WINDOW.fullmatch(words)
    numbers = [] if found is None else _numbers(found["numbers"])
    if found is None or len(numbers) not in (2, 4):
        raise SettingsInvalid(
            f"--spectrum-window {words}: not understood; write LOW,HIGH or LOW,HIGH,BG_LOW,BG_HIGH, for example "
            "705,735 or 6.2,6.6keV or 705,735,640,700:ratio"
        )
    if len(axes) != 1:
        shape = tuple(axis.size for axis in axes)
        raise FrameShapeWrong(f"--spectrum-window {words}: needs frames with one axis; these have shape {shape}")
    by_channel = found["units"] == CHANNELS
    factor = 1.0 if by_channel else _factor(found["units"], axes[0], f"--spectrum-window {words}", CHANNELS)
    edges = [number * factor for number in numbers]
    settings: dict[str, object] = {"window": edges[:2], "by_channel": by_channel}
    if len(edges) == 4:
        settings["background"] = edges[2:]
    combine = found["combine"] or ("difference" if len(edges) == 4 else "sum")
    name = found["name"] or "window"
    return Wanted(name, "spectrum-window", settings | {"combine": combine}, f"--spectrum-window {words}")


def centre_of_mass(axes: tuple[Axis, ...]) -> Wanted:
    """Return the centre of mass of whole frames, its distance measured from the beam axis."""
    origin = beam_axis(axes, in_pixels=False) if len(axes) == 2 else (0.0, 0.0)
    return Wanted("com", "centre-of-mass", {"origin": origin}, "--com")


def any_reduction(words: str) -> Wanted:
    """Return the reduction that a person spelt as a plugin's name and settings, each value as in TOML.

    >>> any_reduction("iron=spectrum-window window=[705,735] combine=sum").settings
    {'window': [705, 735], 'combine': 'sum'}

    Raises
    ------
    SettingsInvalid
        If it is spelt wrongly.
    """
    found = _PLUGIN.fullmatch(words)
    if found is None:
        raise SettingsInvalid(
            f"--reduction {words!r}: not understood; write one word 'NAME KEY=VALUE ...' in quotes, without spaces in "
            "a value, for example 'spectrum-window window=[705,735]'"
        )
    settings = dict(_setting(part) for part in found["settings"].split())
    return Wanted(found["name"] or found["plugin"], found["plugin"], settings, f"--reduction {words!r}")


def beam_axis(axes: tuple[Axis, ...], in_pixels: bool) -> tuple[float, float]:
    """Return where both axes `(v, u)` are zero, or the middle of a detector that has no zero inside.

    >>> beam_axis((Axis(name="v", size=5), Axis(name="u", size=4)), in_pixels=True)
    (2.0, 1.5)
    """
    # The first pixel of a bare index is called 0, but no beam is there.
    at = [axis.coordinates() for axis in axes]
    zero_inside = all(c[1:-1].size and c[1:-1].min() <= 0 <= c[1:-1].max() for c in at)
    pixels = [-axis.offset / axis.scale if zero_inside else (axis.size - 1) / 2 for axis in axes]
    if in_pixels:
        return pixels[0], pixels[1]
    v, u = (0.0 if zero_inside else float(c[0] + c[-1]) / 2 for c in at)
    return v, u


def _factor(units: str, axis: Axis, words: str, instead: str) -> float:
    """Return what takes numbers in `units` to those of the axis; without units, those that files carry."""
    carried = customary(Axis(name=axis.name, size=1, units=axis.units))
    if not units:
        return 1.0 / carried.scale
    symbol, factor = si_units(f"1{units}" if units.startswith("/") else units, of_length=True)
    if symbol != axis.units:
        own = carried.units or "no units"
        raise SettingsInvalid(
            f"{words}: units {units!r} do not fit axis {axis.name}, which has {own}; {instead} always fits"
        )
    return factor


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _setting(part: str) -> tuple[str, object]:
    key, _, value = part.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # A plain word needs no quotes: the shell would take them away.
        return key, value
