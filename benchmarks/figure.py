"""One measured figure, as a line for people or as JSON for the table in README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside its peer and its goal.

    Attributes
    ----------
    figure, unit, better
        Its name, unit, and which direction is better.
    ours, peer_value
        Medians of ours and of the peer's; None where there is no peer.
    goal
        What must hold; None if nothing must.
    peer
        The peer's name and version.
    n, spread
        Repetitions, and the interquartile range over the median.
    """

    figure: str
    ours: float
    unit: str
    better: Literal["higher", "lower"]
    goal: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    n: int = 1
    spread: float | None = None

    def show(self, as_json: bool) -> None:
        """Print the figure."""
        if as_json:
            print(json.dumps(asdict(self)), flush=True)
            return
        words = f"{self.figure:<42} {self.ours:>10.4g} {self.unit:<12}"
        if self.goal is not None:
            met = self.ours >= self.goal if self.better == "higher" else self.ours <= self.goal
            words += f" goal {'>=' if self.better == 'higher' else '<='} {self.goal:g} {'met' if met else 'MISSED'}"
        if self.peer is not None and self.peer_value is not None:
            words += f"   {self.peer}: {self.peer_value:.4g}"
        print(words + f"   (n = {self.n})", flush=True)


def spread(values: ArrayLike) -> float:
    """Return the interquartile range over the median."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / middle)


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller case, within a minute")
    parser.add_argument("--json", action="store_true", help="one line of JSON a figure")
    return parser


def announce(as_json: bool) -> None:
    """Print the machine and its load, the first line of every benchmark."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    facts = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(), "load": load}
    print(json.dumps(facts) if as_json else f"{facts}", flush=True)
