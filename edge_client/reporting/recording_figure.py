"""A picture of a recorded file: every image, every map with its mean spectrum or pattern, every list."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...core import Axis, RecordingUnreadable, Region
from ...streaming.files import NOMINAL_M, Found, RecordedDetector, Recording, field_of
from .curves import BLUE
from .figures import PICTURE, VALUES, Length
from .means import Tick, means
from .recording_text import readable

MOST_PANELS = 24
COLUMNS = 4
LONGEST_LIST = 1 << 22

Panel = Callable[[Axes], None]


def recording_figure(recording: Recording, tick: Tick) -> Figure:
    """Return a picture of everything in a recording that can be drawn.

    Raises
    ------
    RecordingUnreadable
        If nothing can be drawn, or the file is damaged.
    """
    panels = list(islice(_panels(recording, tick), MOST_PANELS + 1))
    if not panels:
        raise RecordingUnreadable(f"nothing in {recording.path} can be drawn: {'; '.join(recording.notes)}")
    drawn = panels[:MOST_PANELS]
    columns = min(COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(4.3 * columns, 3.7 * rows), layout="constrained")
    more = f", the first {MOST_PANELS} panels" if len(panels) > MOST_PANELS else ""
    figure.suptitle(" + ".join(path.name for path in recording.paths) + more, fontsize=10)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(places, drawn, strict=False):
        panel(axes)
    for axes in places[len(drawn) :]:
        axes.set_axis_off()
    return figure


def positions_to_read(recording: Recording) -> int:
    """Return how many positions `recording_figure` reads, for a progress bar."""
    return sum(detector.valid.size for detector in recording.detectors)


def _panels(recording: Recording, tick: Tick) -> Iterator[Panel]:
    for detector in recording.detectors:
        by_position, frame = means(detector, tick)
        if detector.kind == "image" or detector.valid.size > 1:
            yield _map_panel(detector, by_position)
        if frame.ndim == 1:
            yield _curve_panel(detector, frame)
        elif frame.ndim > 1:
            yield _pattern_panel(detector, frame)
    for found in recording.beside:
        if (panel := _list_panel(found)) is not None:
            yield panel


def _map_panel(detector: RecordedDetector, values: NDArray[np.float64]) -> Panel:
    is_image = detector.kind == "image"
    ny, nx = detector.shape
    title = f"{detector.name}, {ny} x {nx}" if is_image else f"{detector.name}: mean of each, {ny} x {nx}"

    def draw(axes: Axes) -> None:
        field = field_of(detector)
        length = _length(detector)
        picture = axes.imshow(
            values, cmap=PICTURE if is_image else VALUES, norm=_range(values), extent=_extent(field, length),
            interpolation="nearest",
        )  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(f"x ({length.unit})")
        axes.set_ylabel(f"y ({length.unit})")
        _colour_bar(axes, picture, _label(detector.quantity, detector.units))

    return draw


def _curve_panel(detector: RecordedDetector, mean: NDArray[np.float64]) -> Panel:
    def draw(axes: Axes) -> None:
        axis = readable(detector.frame_axes[0])
        axes.plot(axis.coordinates(), mean, color=BLUE, linewidth=1.0)
        axes.set_title(f"{detector.name}: mean of all", fontsize=9)
        axes.set_xlabel(_axis_label(axis))
        axes.set_ylabel(_label(detector.quantity, detector.units))
        axes.margins(x=0.01)

    return draw


def _pattern_panel(detector: RecordedDetector, mean: NDArray[np.float64]) -> Panel:
    while mean.ndim > 2:
        mean = mean.mean(axis=0)

    def draw(axes: Axes) -> None:
        v, u = (readable(axis) for axis in detector.frame_axes[-2:])
        ends = [axis.coordinates()[[0, -1]] for axis in (u, v)]
        (left, right), (top, bottom) = ends
        # Bright discs would leave the rest black.
        norm = PowerNorm(0.5, *_limits(mean)) if mean.min() >= 0 else _range(mean)
        square = (v.name, u.name) == ("v", "u") and v.units == u.units
        picture = axes.imshow(
            mean, cmap=PICTURE, norm=norm, extent=(left, right, bottom, top), aspect="equal" if square else "auto",
            interpolation="nearest",
        )  # fmt: skip
        axes.set_title(f"{detector.name}: mean of all, {v.size} x {u.size}", fontsize=9)
        axes.set_xlabel(_axis_label(u))
        axes.set_ylabel(_axis_label(v))
        _colour_bar(axes, picture, _label(detector.quantity, detector.units))

    return draw


def _list_panel(found: Found) -> Panel | None:
    """Return the drawing of a list of numbers, spectra or patterns; None if it is none, or too long."""
    shape = found.data.shape
    if found.why or found.data.dtype.kind not in "biuf" or not shape or math.prod(shape) > LONGEST_LIST:
        return None
    if len(shape) > 1 and found.positions is None:
        return None
    numbers = found.data[tuple(slice(None) for _ in shape)].astype(np.float64)
    values = numbers.reshape(len(numbers), -1).mean(axis=1)
    if not np.isfinite(values).any():
        return None
    label, places = _label(found.quantity, found.units), found.positions

    def draw(axes: Axes) -> None:
        axes.set_title(f"{found.path.rsplit('/', 1)[-1]}: list of {len(values)}", fontsize=9)
        if places is None:
            axes.plot(values, ".", color=BLUE)
            axes.set_xlabel(found.scales[0].name)
            axes.set_ylabel(label)
            return
        y, x = places.T * 1e9
        dots = axes.scatter(x, y, c=values, s=14, cmap=VALUES)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_xlabel("x (nm)")
        axes.set_ylabel("y (nm)")
        _colour_bar(axes, dots, label)

    return draw


def _length(detector: RecordedDetector) -> Length:
    """Return the unit to draw a field in; where no length is told it is the pixel that stands for one."""
    if not detector.calibrated:
        return Length(1 / NOMINAL_M, "pixels" if detector.y.scale == NOMINAL_M else "positions")
    field = field_of(detector)
    return Length.fitting(max(field.height_m, field.width_m))


def _extent(field: Region, length: Length) -> tuple[float, float, float, float]:
    left, top = field.x_m * length.per_metre, field.y_m * length.per_metre
    return left, left + field.width_m * length.per_metre, top + field.height_m * length.per_metre, top


def _colour_bar(axes: Axes, drawn: object, label: str) -> None:
    figure = axes.figure
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    bar.set_label(label, fontsize=8)


def _range(values: NDArray[np.float64]) -> Normalize:
    return Normalize(*_limits(values))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of colours, from which single extreme pixels are left out."""
    good = values[np.isfinite(values)]
    if not good.size:
        return 0.0, 1.0
    low, high = np.percentile(good, [0.5, 99.5])
    return float(low), float(high if high > low else low + 1.0)


def _label(name: str, units: str) -> str:
    return f"{name} ({units})" if units else name


def _axis_label(axis: Axis) -> str:
    return _label(axis.name.replace("_", " "), axis.units)
