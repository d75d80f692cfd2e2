"""`beamloop list`: the runs in a folder, and how each is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..record.glance import Glance, runs_below

_COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow", "interrupted": "yellow"}


def list_runs(
    parent: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a run.")] = False,
) -> None:
    """List the runs in a folder: running, finished, stopped, failed, or interrupted and ready to be resumed.

    Example: beamloop list

    Example: beamloop list /data/2026/runs --json
    """
    runs = runs_below(parent)
    if as_json:
        for run in runs:
            typer.echo(json.dumps({**asdict(run), "folder": str(run.folder)}))
        return
    if not runs:
        typer.echo(f"no runs below {parent.absolute()}")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "measured", "best", "instrument", ""):
        table.add_column(column, justify="right" if column in ("measured", "best") else "left", overflow="fold")
    for run in runs:
        table.add_row(*_cells(run))
    Console().print(table)


def _cells(run: Glance) -> tuple[str, ...]:
    colour = _COLOURS.get(run.state, "red")
    measured = f"{run.measured} of {run.wanted}" if run.wanted else str(run.measured)
    hint = {"interrupted": "beamloop resume", "running": f"process {run.process}"}.get(run.state, run.reason)
    best = "" if run.best is None else f"{run.best:.4g}"
    return run.folder.name, f"[{colour}]{run.state}[/]", measured, best, run.instrument, hint
