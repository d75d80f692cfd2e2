"""Policies side by side: how much of the best they had found, how wrong their map was, measurement by measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...active_learning.trial import Quartiles
from .curves import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)


def comparison_figure(
    title: str, regrets: Sequence[tuple[str, Quartiles]], map_errors: Sequence[tuple[str, Quartiles]]
) -> Figure:
    """Return curves of regret and of the map's error for each named policy: the median in a band of quartiles."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, regrets)
    left.set_ylabel("regret (part of the true range)")
    left.set_ylim(bottom=0.0)
    left.legend(fontsize=8, framealpha=0.9)
    _curves(right, map_errors)
    right.set_ylabel("error of the map (standard deviations of the truth)")
    figure.suptitle(title, fontsize=10)
    return figure


def _curves(axes: Axes, named: Sequence[tuple[str, Quartiles]]) -> None:
    for number, (name, found) in enumerate(named):
        colour, count = COLOURS[number % len(COLOURS)], np.arange(1, len(found.median) + 1)
        axes.fill_between(count, found.low, found.high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(count, found.median, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("measurements")
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
