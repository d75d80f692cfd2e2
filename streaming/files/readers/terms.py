"""The terms of HyperSpy, in which its files and rosettasciio tell about a dataset.

Axes have a name, units, scale, offset, size and whether they `navigate`, that is, whether the
probe moves along them; metadata are a tree with General, Signal, Acquisition_instrument.

Which axes lie on the specimen is told by their names (`y`, `x`), or by that they navigate.
`navigate` alone does not decide: Gatan's spectrum images have their energy axis first, and
that is then the one that navigates.

Source: the file specification of rosettasciio 0.15.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..found import Found, Numbers
from ..scales import Scale, even_scale, scan_dimensions
from ..units import si_units

_UNSAID = ("<undefined>", "None", "_None_")


def in_terms(
    path: str, data: Numbers, axes: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], title: str = ""
) -> Found:
    """Return a dataset that is told in these terms; `title` is for one that has none of its own."""
    signal = _branch(metadata, "Signal")
    quantity, units = quantity_and_units(str(signal.get("quantity", "")))
    scales = scales_in(axes, str(signal.get("signal_type", "")))
    return Found(
        path=path,
        data=data,
        scales=scales,
        quantity=quantity,
        units=units,
        title=title_in(metadata) or title,
        metadata=metadata,
        notes=_stacked(path, scales),
    )


def title_in(metadata: Mapping[str, Any]) -> str:
    """Return the title among the facts, or empty."""
    return str(_branch(metadata, "General").get("title", ""))


def scales_in(axes: Sequence[Mapping[str, Any]], signal_type: str) -> tuple[Scale, ...]:
    """Return the axes in the array's order, with their kinds where what they stand for is told."""
    moved = [axis for axis in axes if axis.get("navigate")]
    in_frame = [axis for axis in axes if not axis.get("navigate")]
    reciprocal = any(si_units(_told(axis, "units"))[0] in ("1/m", "rad") for axis in in_frame)
    is_camera = len(in_frame) == 2 and (signal_type == "electron_diffraction" or len(moved) == 2 or reciprocal)

    def kind(axis: Mapping[str, Any]) -> str:
        if axis.get("navigate"):
            return "SPATIAL" if is_camera or len(moved) == 2 or len(in_frame) == 1 else ""
        if is_camera:
            return "RECIPROCAL"
        return "SPATIAL" if len(in_frame) == 2 and not _told(axis, "name") else ""

    return tuple(_scale(axis, kind(axis)) for axis in axes)


def quantity_and_units(text: str) -> tuple[str, str]:
    """Return what is measured and in which units.

    >>> quantity_and_units("X-rays (Counts)"), quantity_and_units("Intensity")
    (('X-rays', 'Counts'), ('Intensity', ''))
    """
    both = re.fullmatch(r"(.*?)\s*\((.*)\)", text)
    return (both[1], both[2]) if both else (text, "")


def _scale(axis: Mapping[str, Any], kind: str) -> Scale:
    name, units = _told(axis, "name"), _told(axis, "units")
    if not kind and si_units(units)[0] == "eV":
        kind = "SPECTRAL"
    if "axis" in axis:
        return Scale(name, "", units, kind, np.asarray(axis["axis"], dtype=np.float64))
    step, offset = float(axis.get("scale", 1.0)), float(axis.get("offset", 0.0))
    return even_scale(name, units, int(axis["size"]), step, offset, kind)


def _stacked(path: str, scales: Sequence[Scale]) -> tuple[str, ...]:
    """Return what to note of a stack of images, whose further axis may be anything."""
    scan = scan_dimensions(scales)
    if scan is None or None in scan:
        return ()
    further = [scale for i, scale in enumerate(scales) if i not in scan and not scale.kind]
    return tuple(
        f"{path} is a stack of {len(scale.at)} images; the numbers of a pixel through the stack count as its spectrum"
        for scale in further
    )


def _told(axis: Mapping[str, Any], key: str) -> str:
    text = str(axis.get(key) or "")
    return "" if text in _UNSAID else text


def _branch(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, Mapping) else {}
