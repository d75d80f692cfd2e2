"""`beamloop list`: the runs in a folder, and how each is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ...core import UnknownName
from ..record.glance import Glance, runs_below

_COLOURS = {"running": "cyan", "finished": "", "stopped": "yellow", "interrupted": "yellow"}


def list_runs(
    parent: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a run.")] = False,
) -> None:
    """List the runs in a folder: running, finished, stopped, failed, or interrupted and ready to be resumed.

    Example: beamloop list

    Example: beamloop list /data/2026/runs --json
    """
    if not parent.is_dir():
        raise UnknownName(f"no folder {parent}; name a folder that holds runs")
    runs = runs_below(parent)
    if as_json:
        for run in runs:
            typer.echo(json.dumps({**asdict(run), "folder": str(run.folder)}))
        return
    if not runs:
        typer.echo(f"no runs below {parent.absolute()}")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "state", "measured", "best"):
        justify = "right" if column in ("measured", "best") else "left"
        table.add_column(column, justify=justify, no_wrap=True, min_width=max(len(_CELLS[column](run)) for run in runs))
    table.add_column("", no_wrap=True)
    console = Console()
    # Cut here, since a table would take the room for a long reason from every other column.
    room = max(0, console.width - sum(2 + max(len(cell(run)) for run in runs) for cell in _CELLS.values()) - 8)
    for run in runs:
        hint = _hint(run)
        cut = hint if len(hint) <= room else f"{hint[: max(0, room - 1)]}…"
        table.add_row(*(cell(run) for cell in _CELLS.values()), cut, style=_COLOURS.get(run.state, "red"))
    console.print(table)


_CELLS: dict[str, Callable[[Glance], str]] = {
    "run": lambda run: run.folder.name,
    "state": lambda run: run.state,
    "measured": lambda run: f"{run.measured} of {run.wanted}" if run.wanted else str(run.measured),
    "best": lambda run: "" if run.best is None else f"{run.best:.4g}",
}


def _hint(run: Glance) -> str:
    hints = {"finished": "", "interrupted": "beamloop resume", "running": f"process {run.process}"}
    return hints.get(run.state, run.reason)
