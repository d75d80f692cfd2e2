"""What a person sees while a run goes on: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..core import Measurement, Suggestion
from .experiment import Experiment

PLAIN_EVERY_S = 2.0


class Onlooker(Protocol):
    """Who is told how a run goes; called from the run's main thread."""

    def began(self, folder: Path) -> None:
        """Take in where the run is kept; told once, before anything is measured."""
        ...

    def note(self, text: str) -> None:
        """Take in something worth a line."""
        ...

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        """Take in a value and what was believed before it."""
        ...

    def declined(self, outcome: str, reason: str) -> None:
        """Take in a refusal or failure."""
        ...


class Silence:
    """Nobody looks on."""

    def began(self, folder: Path) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        """Ignore it."""

    def declined(self, outcome: str, reason: str) -> None:
        """Ignore it."""


@dataclass(slots=True)
class _Tally:
    """What has been seen so far."""

    done: int = 0
    here: int = 0
    declined: int = 0
    electrons: float = 0.0
    duration_s: float = 0.0
    best: Measurement | None = None
    last: Measurement | None = None
    believed: Suggestion | None = None
    trouble: str = ""

    def arrived(self, suggestion: Suggestion | None, measurement: Measurement) -> None:
        self.done += 1
        self.here += 1
        self.electrons += measurement.electrons
        self.duration_s += measurement.duration_s
        self.last, self.believed = measurement, suggestion
        if self.best is None or measurement.value > self.best.value:
            self.best = measurement


class PlainProgress:
    """A line every few seconds, for logs and pipes.

    Parameters
    ----------
    experiment
        What is under way.
    out
        Where lines go.
    clock
        Monotonic seconds.
    past
        What was measured before, in a run that goes on.
    """

    def __init__(
        self,
        experiment: Experiment,
        out: Callable[[str], None],
        clock: Callable[[], float],
        past: Sequence[Measurement] = (),
    ) -> None:
        self._experiment, self._out, self._clock = experiment, out, clock
        self._tally, self._start_s, self._said_s = _tally_of(past), clock(), -PLAIN_EVERY_S

    def began(self, folder: Path) -> None:
        """Print nothing; the run's notes name the folder."""

    def note(self, text: str) -> None:
        """Print it."""
        self._out(text)

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        """Print a line if the last one is long enough ago, or it is the last one."""
        self._tally.arrived(suggestion, measurement)
        now_s = self._clock()
        is_last = self._tally.done == self._experiment.stop.points
        if is_last or now_s - self._said_s >= PLAIN_EVERY_S:
            self._said_s = now_s
            facts = _facts(self._experiment, self._tally, now_s - self._start_s)
            self._out("  ".join(f"{name} {value}" for name, value in facts))

    def declined(self, outcome: str, reason: str) -> None:
        """Print it."""
        self._out(f"{outcome}: {reason}")


class LiveProgress:
    """A panel that is drawn over itself, for terminals; see `PlainProgress`."""

    def __init__(
        self, experiment: Experiment, live: Live, clock: Callable[[], float], past: Sequence[Measurement] = ()
    ) -> None:
        self._experiment, self._live, self._clock = experiment, live, clock
        self._tally, self._start_s = _tally_of(past), clock()

    def began(self, folder: Path) -> None:
        """Print nothing; the run's notes name the folder."""

    def note(self, text: str) -> None:
        """Print it above the panel."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        """Draw the panel anew."""
        self._tally.arrived(suggestion, measurement)
        self._live.update(self._panel())

    def declined(self, outcome: str, reason: str) -> None:
        """Keep it in the panel and print it above."""
        self._tally.declined += 1
        self._tally.trouble = f"{outcome}: {reason}"
        self.note(self._tally.trouble)
        self._live.update(self._panel())

    def _panel(self) -> Panel:
        grid = Table.grid(padding=(0, 2))
        for name, value in _facts(self._experiment, self._tally, self._clock() - self._start_s):
            grid.add_row(f"[dim]{name}[/dim]", value)
        if self._tally.declined:
            grid.add_row("[dim]declined[/dim]", f"[yellow]{self._tally.declined}[/yellow]")
        points = self._experiment.stop.points
        if points is not None:
            grid.add_row("", ProgressBar(total=points, completed=self._tally.done, width=40))
        return Panel(grid, title=self._experiment.name, title_align="left", width=72)


@contextmanager
def progress(
    experiment: Experiment,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
    past: Sequence[Measurement] = (),
) -> Iterator[Onlooker]:
    """Show a run on a console while the block lasts; plain lines where it is no terminal."""
    if not console.is_terminal:
        yield PlainProgress(
            experiment, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True), clock, past
        )
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield LiveProgress(experiment, live, clock, past)


def _tally_of(past: Sequence[Measurement]) -> _Tally:
    tally = _Tally()
    for measurement in past:
        tally.arrived(None, measurement)
    tally.here = 0
    return tally


def _facts(experiment: Experiment, tally: _Tally, elapsed_s: float) -> list[tuple[str, str]]:
    target, points = experiment.target, experiment.stop.points
    facts = [("step", f"{tally.done}/{points}" if points else str(tally.done))]
    if tally.best is not None and tally.last is not None:
        facts += [(f"best {target.name}", _value(tally.best, target.units)), ("last", _value(tally.last, target.units))]
    if tally.believed is not None and tally.believed.std is not None:
        facts.append(("believed before", f"{tally.believed.mean:.4g} ± {tally.believed.std:.2g}"))
    facts.append(("dose", f"{tally.electrons:.3g} e"))
    facts.append(("elapsed", f"{elapsed_s:.0f} s"))
    if points and tally.here:
        facts.append(("to go", f"{elapsed_s / tally.here * (points - tally.done):.0f} s"))
    return facts


def _value(measurement: Measurement, units: str) -> str:
    error = "" if measurement.std is None else f" ± {measurement.std:.2g}"
    return f"{measurement.value:.4g}{error} {units}".strip()
