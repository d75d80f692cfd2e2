"""From a dataset as found to a detector: which axes are y and x, in metres, and what had to be guessed.

The one place where guesses are made, for every kind of file. Each leaves a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.signal import Axis
from .found import Found
from .recorded import Layout, RecordedDetector
from .scales import Scale, even_axis, frame_dimensions, scan_dimensions
from .units import si_units

NOMINAL_M = 1e-9
"""Step that stands for a pixel where a file tells no length."""

Lengths = Mapping[tuple[str, bytes], Scale]
"""Axes of one file that are lengths, by name and coordinates."""


def lengths_among(found: Sequence[Found]) -> Lengths:
    """Return the axes that tell a length, for others of the same name and numbers that tell none."""
    return {_key(scale): scale for each in found for scale in each.scales if scale.si[0] == "m"}


def placed(found: Found, file: Path, lengths: Lengths) -> RecordedDetector | None:
    """Return a dataset as a detector, its name still empty where the file tells none.

    None if it is no grid of numbers over y and x.
    """
    scan = scan_dimensions(found.scales)
    if scan is None or found.why or found.data.dtype.kind not in "biuf":
        return None
    (y, y_note), (x, x_note) = (
        _length_axis(name, None if i is None else found.scales[i], lengths) for name, i in zip("yx", scan, strict=True)
    )
    falling = (y.scale < 0, x.scale < 0)
    frame = frame_dimensions(found.scales, scan)
    return RecordedDetector(
        name=found.detector,
        y=_rising(y),
        x=_rising(x),
        frame_axes=_frame_axes([found.scales[i] for i in frame]),
        dtype=found.data.dtype.str,
        quantity=found.quantity or "intensity",
        units=_spelt(found.units),
        valid=_valid(found, scan, falling),
        simulated=bool(found.metadata.get("simulated", False)),
        metadata=found.metadata,
        path=found.path,
        layout=Layout(scan, frame, falling),
        dataset=found.data,
        file=file,
        calibrated=all(i is not None and _told(found.scales[i], lengths) for i in scan),
        notes=found.notes,
        place=_place(found, scan, (y_note, x_note)),
    )


def _length_axis(name: str, scale: Scale | None, lengths: Lengths) -> tuple[Axis, str]:
    """Return an even axis in metres, and what had to be taken instead of what the file tells."""
    if scale is None:
        return Axis(name=name, quantity="length", units="m", size=1, scale=NOMINAL_M), "not there; one position of 1 nm"
    known = {"name": name, "quantity": "length", "units": "m", "size": len(scale.at)}
    note = ""
    units, factor = scale.si
    if units != "m" and (twin := lengths.get(_key(scale))):
        note = f"units {scale.units!r}; {twin.units} taken from its twin"
        units, factor = twin.si
    if units != "m":
        return Axis(**known, scale=NOMINAL_M), f"units {scale.units!r}, no length; 1 nm taken for each pixel"
    at = scale.at * factor
    axis = even_axis(known, at, (scale.step or 0.0) * factor or NOMINAL_M)
    if axis is not None:
        return axis, note
    step = float(at[-1] - at[0]) / (len(at) - 1)
    if not np.isfinite(step) or step == 0:
        return Axis(**known, scale=NOMINAL_M), "not from one end to another; 1 nm taken for each pixel"
    off = np.abs(at - (at[0] + step * np.arange(len(at)))).max() / abs(step)
    return Axis(
        **known, offset=float(at[0]), scale=step
    ), f"uneven by up to {off:.2g} of a step; its mean step is taken"


def _place(found: Found, scan: tuple[int | None, int | None], notes: tuple[str, str]) -> str:
    """Return what was taken for y and x in one line, empty if they are as the file tells them."""
    y, x = (name if i is None else found.scales[i].name or name for name, i in zip("yx", scan, strict=True))
    if notes[0] == notes[1] != "":
        return f"axes {y} and {x} of {found.path}: {notes[0]}"
    return "; ".join(f"axis {name} of {found.path}: {note}" for name, note in zip((y, x), notes, strict=True) if note)


def _told(scale: Scale, lengths: Lengths) -> bool:
    return scale.si[0] == "m" or _key(scale) in lengths


def _key(scale: Scale) -> tuple[str, bytes]:
    return scale.name.lower(), scale.at.tobytes()


def _rising(axis: Axis) -> Axis:
    if axis.scale > 0:
        return axis
    return axis.model_copy(update={"offset": axis.offset + axis.scale * (axis.size - 1), "scale": -axis.scale})


def _frame_axes(scales: Sequence[Scale]) -> tuple[Axis, ...]:
    axes = [scale.axis() for scale in scales]
    if len(axes) == 2 and all(axis.name in ("", "y", "x", "height", "width") for axis in axes):
        # Two axes of a frame without names of their own are rows and columns of a camera.
        return tuple(axis.model_copy(update={"name": name}) for axis, name in zip(axes, "vu", strict=True))
    return tuple(a.model_copy(update={"name": a.name or f"axis_{i}"}) for i, a in enumerate(axes))


def _valid(found: Found, scan: tuple[int | None, int | None], falling: tuple[bool, bool]) -> NDArray[np.bool_]:
    shape = tuple(1 if i is None else found.data.shape[i] for i in scan)
    y, x = scan
    # Only files with y before x, as ours, carry a mask.
    if found.valid is None or found.valid.shape != shape or y is None or x is None or y > x:
        return np.ones(shape, np.bool_)
    return found.valid[tuple(slice(None, None, -1 if down else 1) for down in falling)]


def _spelt(units: str) -> str:
    symbol, factor = si_units(units)
    # The numbers stay as they are, so units that would need a factor keep their name.
    return symbol if factor == 1.0 else units
