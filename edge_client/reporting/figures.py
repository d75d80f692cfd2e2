"""The report's maps: overview, way through the specimen, prediction, uncertainty, truth.

Drawn with matplotlib's figure objects, never pyplot, so there is no global state and no
window. Colour maps are even in lightness and safe for colour-blind readers; the predicted
map and the truth share one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...core import Axis, Measurement, Pool, Region, Signal

VALUES, DOUBT, ORDER, PICTURE, DIFFERENCE = "viridis", "magma", "plasma", "gray", "RdBu_r"
NUMBERED = 12
"""So many first points carry their number; more would hide the picture."""


@dataclass(frozen=True, slots=True)
class Length:
    """Metres in the unit that gives readable numbers.

    >>> Length.fitting(2.5e-6)
    Length(per_metre=1000000.0, unit='µm')
    """

    per_metre: float
    unit: str

    @classmethod
    def fitting(cls, extent_m: float) -> Length:
        """Return the unit for a picture of this extent."""
        for limit, per_metre, unit in ((1e-6, 1e9, "nm"), (1e-3, 1e6, "µm"), (1.0, 1e3, "mm")):
            if extent_m < limit:
                return cls(per_metre, unit)
        return cls(1.0, "m")


@dataclass(frozen=True, slots=True)
class Layer:
    """One map to draw: its title, numbers by candidate, shape (m,), units, colours and range."""

    title: str
    values: NDArray[np.float64]
    units: str
    colours: str
    low: float
    high: float


def overview_figure(overview: Signal, field: Region, measured: Sequence[Measurement] = ()) -> Figure:
    """Return the first picture, with the measured points in order over it if any are given."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    length = Length.fitting(max(field.height_m, field.width_m))
    low, high = np.nanpercentile(overview.data, [0.5, 99.5])
    image = axes.imshow(
        overview.data, cmap=PICTURE, extent=extent_of(overview.axes[-2], overview.axes[-1], length),
        vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest",
    )  # fmt: skip
    frame_field(axes, field, length)
    if measured:
        figure.colorbar(_way(axes, measured, length), ax=axes, label="order of measuring", shrink=0.85)
    else:
        figure.colorbar(image, ax=axes, label=f"{overview.quantity} ({overview.units})", shrink=0.85)
    return figure


def way_figure(field: Region, measured: Sequence[Measurement]) -> Figure:
    """Return the measured points in order over the bare field, for an instrument without a picture."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")
    length = Length.fitting(max(field.height_m, field.width_m))
    frame_field(axes, field, length)
    figure.colorbar(_way(axes, measured, length), ax=axes, label="order of measuring", shrink=0.85)
    return figure


def maps_figure(pool: Pool, field: Region, layers: Sequence[Layer], measured: Sequence[Measurement]) -> Figure:
    """Return the layers side by side, two in a row; a pool that is no grid is drawn as dots."""
    rows = -(-len(layers) // 2)
    figure = Figure(figsize=(11.0, 4.4 * rows), layout="constrained")
    length = Length.fitting(max(field.height_m, field.width_m))
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, layer in zip(panels, layers, strict=False):
        drawn = _drawn(axes, pool, layer, length)
        frame_field(axes, field, length)
        axes.set_title(layer.title, fontsize=11, loc="left")
        figure.colorbar(drawn, ax=axes, label=layer.units, shrink=0.9, extend=_beyond(layer))
    for axes in panels[len(layers) :]:
        axes.set_axis_off()
    _mark(panels[0], measured, length)
    return figure


def map_layers(
    name: str, units: str, belief_mean: NDArray | None, belief_std: NDArray | None, truth: NDArray | None
) -> list[Layer]:
    """Return the maps that a run gives; prediction and truth share their range.

    The first panel is the prediction where there is one.
    """
    shown = [v[np.isfinite(v)] for v in (belief_mean, truth) if v is not None]
    if not shown:
        return []
    # Single extreme pixels must not take the colours from all others.
    low, high = (float(edge) for edge in np.percentile(np.concatenate(shown), [0.5, 99.5]))
    layers = []
    if belief_mean is not None and belief_std is not None:
        layers.append(Layer(f"predicted {name}", belief_mean, units, VALUES, low, high))
        layers.append(Layer("uncertainty (1 std)", belief_std, units, DOUBT, 0.0, float(np.nanmax(belief_std))))
    if truth is not None:
        layers.append(Layer(f"true {name}", truth, units, VALUES, low, high))
    if truth is not None and belief_mean is not None:
        error = belief_mean - truth
        most = float(np.nanpercentile(np.abs(error), 99.5)) or 1.0
        layers.append(Layer("error: predicted - true", error, units, DIFFERENCE, -most, most))
    return layers


def _beyond(layer: Layer) -> Literal["neither", "min", "max", "both"]:
    below, above = np.nanmin(layer.values) < layer.low, np.nanmax(layer.values) > layer.high
    return "both" if below and above else "min" if below else "max" if above else "neither"


def extent_of(y: Axis, x: Axis, length: Length) -> tuple[float, float, float, float]:
    """Return the edges of a picture with these axes: left, right, bottom, top, as `imshow` takes them."""
    ys, xs = (axis.coordinates() * length.per_metre for axis in (y, x))
    dy, dx = (abs(axis.scale) * length.per_metre / 2 if not axis.values else 0.0 for axis in (y, x))
    return xs[0] - dx, xs[-1] + dx, ys[-1] + dy, ys[0] - dy


def frame_field(axes: Axes, field: Region, length: Length) -> None:
    """Show the whole field of view, with labels."""
    axes.set_xlim(field.x_m * length.per_metre, (field.x_m + field.width_m) * length.per_metre)
    # y runs down, as a scan does.
    axes.set_ylim((field.y_m + field.height_m) * length.per_metre, field.y_m * length.per_metre)
    axes.set_aspect("equal")
    axes.set_xlabel(f"x ({length.unit})")
    axes.set_ylabel(f"y ({length.unit})")


def _drawn(axes: Axes, pool: Pool, layer: Layer, length: Length) -> ScalarMappable:
    y, x = pool.positions.T * length.per_metre
    if pool.shape is None:
        axes.set_facecolor("#d9d9d9")
        return axes.scatter(x, y, c=layer.values, cmap=layer.colours, vmin=layer.low, vmax=layer.high, s=14)
    ny, nx = pool.shape
    dy = (y[-1] - y[0]) / max(ny - 1, 1) / 2
    dx = (x[-1] - x[0]) / max(nx - 1, 1) / 2
    return axes.imshow(
        layer.values.reshape(pool.shape), cmap=layer.colours, vmin=layer.low, vmax=layer.high,
        extent=(x[0] - dx, x[-1] + dx, y[-1] + dy, y[0] - dy), interpolation="nearest",
    )  # fmt: skip


def _way(axes: Axes, measured: Sequence[Measurement], length: Length) -> ScalarMappable:
    y, x = _places(measured, length)
    order = np.arange(1, len(measured) + 1)
    dots = axes.scatter(
        x, y, c=order, cmap=ORDER, norm=Normalize(1, max(len(measured), 2)),
        s=20, edgecolors="white", linewidths=0.6, zorder=3,
    )  # fmt: skip
    for number in range(min(NUMBERED, len(measured))):
        axes.annotate(
            str(number + 1), (x[number], y[number]), xytext=(4, 4), textcoords="offset points", fontsize=7,
            color="white", zorder=4, bbox={"boxstyle": "round,pad=0.12", "fc": "#222222", "ec": "none", "alpha": 0.65},
        )  # fmt: skip
    _point_at(axes, *max(zip((m.value for m in measured), x, y, strict=True))[1:])
    return dots


def _point_at(axes: Axes, x: float, y: float) -> None:
    """Point at the best place from outside the crowd around it, towards the middle of the picture."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across = 42 if x < (left + right) / 2 else -42
    # y runs down: its axis ends are given from the lower edge of the picture.
    along = -42 if abs(y - top) < abs(y - bottom) else 42
    axes.annotate(
        "best", (x, y), xytext=(across, along), textcoords="offset points", color="white", fontsize=9, zorder=6,
        ha="center", va="center", bbox={"boxstyle": "round,pad=0.25", "fc": "#0072b2", "ec": "white"},
        arrowprops={"arrowstyle": "-|>", "color": "#56b4e9", "linewidth": 1.6, "shrinkB": 3},
    )  # fmt: skip


def _mark(axes: Axes, measured: Sequence[Measurement], length: Length) -> None:
    if measured:
        y, x = _places(measured, length)
        # One marker stamped many times, which is much quicker than as many circles.
        axes.plot(x, y, "o", markersize=3, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.5)


def _places(measured: Sequence[Measurement], length: Length) -> tuple[NDArray, NDArray]:
    y, x = np.array([m.position for m in measured]).T * length.per_metre
    return y, x
