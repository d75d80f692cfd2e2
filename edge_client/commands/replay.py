"""`beamloop replay`: a run's decisions made again, or other policies on its record."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...active_learning.trial import Quartiles
from ...core import StorageFailed
from ..comparison import TOLERANCES, Comparison, compare
from ..contender import contenders
from ..record.journal import read
from ..record.read_back import seen_in
from ..record.run_folder import RunFolder, find_run
from ..record.story import story_of
from ..reporting.comparison_figure import comparison_figure
from .decisions import show_decisions


def replay(
    run: Annotated[str, typer.Argument(help="Folder of a run, its run.h5, or 'latest'.")] = "latest",
    policy: Annotated[
        list[str] | None,
        typer.Option(help="A policy's name, an experiment file, or a file with [policy] and perhaps [features]."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trials of each policy.")] = 10,
    points: Annotated[
        int | None, typer.Option(min=1, help="Measurements of a trial; the run's number if left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for picture and numbers; the run's own if left out.")
    ] = None,
    parent: Annotated[Path, typer.Option("--runs", help="Folder in which runs are looked for by name.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON and nothing else.")] = False,
) -> None:
    """Make a run's decisions again from its journal, or compare its policy with others on the same record.

    Without --policy: shows whether the same events lead to the same next point at every step, or the first that
    differs and what has changed since. Exit status 1 if one differs.

    With --policy: lets the run's own policy and the others measure the same record with many seeds, and writes
    comparison.png and comparison.json. The run must hold the truth: one on a recording or the simulator does.

    Example: beamloop replay latest

    Example: beamloop replay latest --policy random --policy gp-coordinates

    Example: beamloop replay runs/2026-03-01-101500_iron-edge --policy other.toml --seeds 20 --points 100
    """
    folder = find_run(run, parent)
    if not policy:
        show_decisions(folder, as_json)
        return
    _compare(folder, policy, seeds, points, output or folder.path, as_json)


def _compare(folder: RunFolder, policies: list[str], seeds: int, points: int | None, into: Path, as_json: bool) -> None:
    console = Console(stderr=as_json, quiet=as_json)
    with console.status(f"reading {folder.path.name}"):
        story = story_of(read(folder.journal))
        seen = seen_in(folder.run_file, story)
    competing = contenders(story.experiment, policies)
    with Progress(console=console, transient=True) as progress:
        bars = {one.name: progress.add_task(one.name, total=seeds) for one in competing}
        found = compare(story, seen, competing, range(seeds), points, lambda one: progress.advance(bars[one.name]))
    facts = {"run": folder.path.name, "source": story.described.info.source, **found.facts()}
    picture, numbers = _put(into, f"{story.experiment.question} ({seeds} seeds each)", found, facts)
    if as_json:
        typer.echo(json.dumps({"picture": str(picture), "numbers": str(numbers), **facts}))
        return
    console.print(_table(found))
    typer.echo(f"picture: {picture}")
    typer.echo(f"numbers: {numbers}")


def _put(into: Path, title: str, found: Comparison, facts: dict[str, object]) -> tuple[Path, Path]:
    picture, numbers = into / "comparison.png", into / "comparison.json"
    regrets = [(s.contender.name, s.regret) for s in found.standings]
    errors = [(s.contender.name, s.map_error) for s in found.standings]
    try:
        into.mkdir(parents=True, exist_ok=True)
        comparison_figure(title, regrets, errors).savefig(picture, dpi=150)
        numbers.write_text(json.dumps(facts), encoding="utf-8")
    except OSError as error:
        raise StorageFailed(f"{into} cannot be written: {error.strerror}; choose another folder with -o") from None
    return picture, numbers


def _table(found: Comparison) -> Table:
    head = f"{len(found.seeds)} seeds, {found.points} of {len(found.known.pool)} places each: median (quartiles)"
    table = Table(title=head, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 1, 1))
    table.add_column("policy")
    measured = [f"measured to\nwithin {tolerance:.0%}" for tolerance in TOLERANCES]
    for title in (*measured, "area under\nregret", "map error\nat the end"):
        table.add_column(title, justify="right", no_wrap=True)
    for standing in found.standings:
        error = standing.map_error
        last = Quartiles(error.low[-1:], error.median[-1:], error.high[-1:])
        table.add_row(
            standing.contender.name,
            *(_cell(standing.needed(tolerance), "g", found.points) for tolerance in TOLERANCES),
            _cell(standing.area, ".3f"),
            _cell(last, ".2f"),
        )
    return table


def _cell(found: Quartiles, digits: str, most: int = 0) -> str:
    low, median, high = (float(part.reshape(-1)[0]) for part in (found.low, found.median, found.high))
    if math.isnan(median):
        return "no map"
    words = [f">{most}" if math.isinf(value) else f"{value:{digits}}" for value in (low, median, high)]
    return f"{words[1]}\n({words[0]}–{words[2]})"
