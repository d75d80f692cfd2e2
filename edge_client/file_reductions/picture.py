"""One picture of all results of a file's reductions: maps, mean patterns, spectra."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from ...core import Axis, Signal, StorageFailed
from ...streaming.files import customary
from ..reporting.curves import BLUE
from ..reporting.figures import DIFFERENCE, PICTURE, VALUES, Length

DOTS_PER_INCH = 130
MOST_PANELS = 24
COLUMNS = 3

DECADES = 1e-5
"""The darkest shade of a pattern, as a part of its brightest pixel, if it has such dim ones."""


def results_figure(title: str, results: Mapping[str, Signal]) -> Figure | None:
    """Return a figure with one panel a result; None if none of them can be drawn.

    Errors (`..._std`) and results of three and more axes are left out.
    """
    drawn = {n: s for n, s in results.items() if 1 <= len(_wide(s)) <= 2 and not n.endswith("_std")}
    drawn = dict(list(drawn.items())[:MOST_PANELS])
    if not drawn:
        return None
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.9 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, signal) in zip(panels, drawn.items(), strict=False):
        axes.set_title(name, fontsize=10, loc="left")
        (_line if len(_wide(signal)) == 1 else _image)(figure, axes, signal)
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises
    ------
    StorageFailed
        If the folder is missing or read-only, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        FigureCanvasAgg(figure)
        figure.savefig(beside, format="png", dpi=DOTS_PER_INCH)
        os.replace(beside, path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error}; choose another place with --plot") from None
    finally:
        # Where nothing can be written nothing was left.
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _wide(signal: Signal) -> tuple[Axis, ...]:
    """Return the axes along which there is something to see."""
    return tuple(axis for axis in signal.axes if axis.size > 1) or signal.axes[:1]


def _line(figure: Figure, axes: Axes, signal: Signal) -> None:
    (axis,) = _wide(signal)
    unit = shown_units(axis)
    axes.plot(axis.coordinates() * unit.per_metre, signal.data.ravel(), color=BLUE, linewidth=1.1)
    axes.set_xlabel(_label(axis.name.replace("_", " "), unit.unit))
    axes.set_ylabel(_label(signal.quantity, signal.units))
    axes.margins(x=0.01)


def _image(figure: Figure, axes: Axes, signal: Signal) -> None:
    rows, columns = _wide(signal)
    data = np.asarray(signal.data, dtype=np.float64).reshape(rows.size, columns.size)
    if signal.valid is not None:
        data = np.where(signal.valid.reshape(data.shape), data, np.nan)
    colours, norm = _shades(data, on_specimen=(rows.name, columns.name) == ("y", "x"))
    image = axes.imshow(data, cmap=colours, norm=norm, extent=_extent(rows, columns), interpolation="nearest")
    axes.set_xlabel(_label(columns.name, shown_units(columns).unit))
    axes.set_ylabel(_label(rows.name, shown_units(rows).unit))
    figure.colorbar(image, ax=axes, label=_label(signal.quantity, signal.units), shrink=0.85)


def _shades(data: np.ndarray, *, on_specimen: bool) -> tuple[str, Normalize]:
    """Return colours and scale: patterns are drawn over decades, maps that go both ways about zero."""
    finite = data[np.isfinite(data)]
    if not len(finite):
        return VALUES, Normalize(0.0, 1.0)
    most = float(finite.max())
    if not on_specimen and most > 0:
        dimmest = float(np.percentile(finite[finite > 0], 0.5))
        return PICTURE, LogNorm(min(max(most * DECADES, dimmest), most / 2), most, clip=True)
    # Single extreme pixels must not take the colours from all others.
    low, high = (float(edge) for edge in np.percentile(finite, [0.2, 99.8]))
    if on_specimen and low < 0 < high:
        return DIFFERENCE, Normalize(-max(-low, high), max(-low, high))
    return VALUES, Normalize(low, high if high > low else low + 1e-12)


def _extent(rows: Axis, columns: Axis) -> tuple[float, float, float, float]:
    ends = []
    for axis in (columns, rows):
        at = axis.coordinates() * shown_units(axis).per_metre
        half = abs(float(at[1] - at[0])) / 2
        ends.append((float(at[0]) - half, float(at[-1]) + half))
    (left, right), (top, bottom) = ends
    return left, right, bottom, top


def shown_units(axis: Axis) -> Length:
    """Return the units in which an axis is drawn, and the factor to them."""
    if axis.units == "m":
        return Length.fitting(float(np.ptp(axis.coordinates())))
    carried = customary(Axis(name=axis.name, size=1, units=axis.units))
    return Length(carried.scale, carried.units)


def _label(name: str, units: str) -> str:
    return f"{name} ({units})" if units else name
