"""The report's curves: best value beside random sampling, belief beside outcome, time, best frame.

Colours are those of Okabe & Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...core import Measurement, Signal
from ..record.story import Step
from .best_of_draws import best_of_draws
from .figures import PICTURE

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#222222",
)  # fmt: skip


MOST_BARS = 400
"""So many steps are drawn one by one; of more, every second, third, ..., so that each can still be seen."""


def best_figure(name: str, units: str, measured: Sequence[Measurement], truth: NDArray[np.float64] | None) -> Figure:
    """Return the best value so far by number of measurements; with the truth, beside random sampling.

    With a truth both curves are of the true value at the places measured, so that noise flatters neither.
    """
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    count = np.arange(1, len(measured) + 1)
    values = np.array([m.value for m in measured])
    if truth is not None:
        draws = np.unique(np.geomspace(1, len(measured), MOST_BARS).round()) if len(measured) > MOST_BARS else count
        random = best_of_draws(truth, len(measured), draws.astype(int))
        axes.fill_between(
            draws, random.low, random.high, color=ORANGE, alpha=0.25, linewidth=0, label="random, quartiles"
        )
        axes.plot(draws, random.mean, color=ORANGE, linestyle="--", label="random, expected")
        axes.axhline(float(np.nanmax(truth)), color=BLACK, linewidth=0.9, linestyle=":", label="best there is")
        values = truth[[m.candidate for m in measured]]
    size = 5 if len(measured) <= MOST_BARS else 2
    axes.plot(count, values, ".", color=SKY, markersize=size, label="each measurement")
    axes.step(
        count, np.maximum.accumulate(values), where="post", color=BLUE, linewidth=2.0, label="this run, best so far"
    )
    axes.set_xlabel("measurements")
    axes.set_ylabel(_label(name, units))
    axes.margins(x=0.01)
    axes.legend(fontsize=8, loc="lower right", framealpha=0.9)
    return figure


def belief_figure(name: str, units: str, steps: Sequence[Step]) -> Figure | None:
    """Return what was believed before each measurement and what came; None where nothing was believed."""
    told = [(n, s) for n, s in enumerate(steps, 1) if s.arrived is not None and s.commanded.suggestion.mean is not None]
    if not told:
        return None
    told = told[:: every(len(told))]
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    number = [n for n, _ in told]
    mean = np.array([s.commanded.suggestion.mean for _, s in told], dtype=float)
    std = np.array([s.commanded.suggestion.std or 0.0 for _, s in told])
    came = [s.arrived.measurement.value for _, s in told if s.arrived is not None]
    axes.errorbar(
        number, mean, yerr=2 * std, fmt="none", ecolor=ORANGE, elinewidth=2.2, alpha=0.55, label="believed, ±2 std"
    )
    axes.plot(number, mean, "_", color=VERMILION, markersize=6, label="believed")
    axes.plot(number, came, "o", color=BLUE, markersize=3.5, label="measured")
    axes.set_xlabel("step")
    axes.set_ylabel(_label(name, units))
    axes.legend(fontsize=8, framealpha=0.9)
    return figure


def budget_figure(steps: Sequence[Step]) -> Figure:
    """Return where the wall time of a step went: the parts of the median step, and every step."""
    done = [step for step in steps if step.arrived is not None]
    stride = every(len(done))
    parts = {
        "wait for a decision": ("wait_s", PURPLE), "instrument": ("produce_s", BLUE), "transfer": ("transfer_s", SKY),
        "reduce": ("reduce_s", GREEN), "store": ("store_s", ORANGE),
    }  # fmt: skip
    columns = {
        label: 1e3 * np.array([getattr(step.arrived.budget, part) for step in done if step.arrived is not None])
        for label, (part, _) in parts.items()
    }
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    middle, each = figure.subplots(2, 1, height_ratios=(1, 2.6))
    left = 0.0
    for label, values in columns.items():
        width = float(np.median(values))
        middle.barh(0, width, left=left, color=parts[label][1], label=label)
        left += width
    middle.set_yticks([])
    middle.set_xlabel("medians (ms, wall)")
    middle.margins(x=0.0)
    middle.legend(fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    number = np.arange(1, len(done) + 1)[::stride]
    total = np.sum(list(columns.values()), axis=0)[::stride]
    waited, decided = columns["wait for a decision"][::stride], [1e3 * s.commanded.decide_s for s in done[::stride]]
    each.plot(number, total, color=BLACK, linewidth=1.0, drawstyle="steps-mid", label="whole step")
    each.plot(number, waited, "v", color=PURPLE, markersize=4, label="wait for a decision")
    each.plot(number, decided, ".", color=VERMILION, label="decide (meanwhile)")
    each.set_yscale("log")
    each.set_xlabel("finished step")
    each.set_ylabel("ms, wall")
    each.margins(x=0.01)
    each.legend(fontsize=8, framealpha=0.9, loc="upper right")
    return figure


def frame_figure(frame: Signal) -> Figure | None:
    """Return what the detector gave at one place: a spectrum or a pattern; None for a single number."""
    if frame.data.ndim not in (1, 2):
        return None
    figure = Figure(figsize=(7.2, 3.2) if frame.data.ndim == 1 else (4.6, 4.0), layout="constrained")
    axes = figure.subplots()
    counted = _label(frame.quantity, frame.units)
    if frame.data.ndim == 1:
        (axis,) = frame.axes
        axes.plot(axis.coordinates(), frame.data, color=BLUE, linewidth=1.2)
        axes.set_xlabel(_label(axis.name.replace("_", " "), axis.units))
        axes.set_ylabel(counted)
        axes.margins(x=0.01)
        return figure
    v, u = (axis.coordinates() for axis in frame.axes)
    image = axes.imshow(np.sqrt(np.clip(frame.data, 0, None)), cmap=PICTURE, extent=(u[0], u[-1], v[-1], v[0]))
    axes.set_xlabel(_label(frame.axes[1].name, frame.axes[1].units))
    axes.set_ylabel(_label(frame.axes[0].name, frame.axes[0].units))
    figure.colorbar(image, ax=axes, label=f"square root of {counted}")
    return figure


def every(steps: int) -> int:
    """Return which part of so many steps is drawn: 1 for each, 2 for every second, ...

    >>> every(400), every(1000)
    (1, 3)
    """
    return max(1, -(-steps // MOST_BARS))


def _label(name: str, units: str) -> str:
    return f"{name} ({units})" if units else name
