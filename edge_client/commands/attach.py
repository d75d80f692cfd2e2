"""`beamloop attach`: look on at a run of another process, or end it in order."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...core import NotRunning
from ..experiment import Experiment
from ..following import follow, new_entries
from ..progress import progress
from ..record.events import Opened
from ..record.journal import read
from ..record.journal_mark import writing_process
from ..record.run_folder import RunFolder, find_run


def attach(
    run: Annotated[str, typer.Argument(help="Folder of the run, or 'latest'.")] = "latest",
    parent: Annotated[Path, typer.Option("--runs", help="Folder in which runs are looked for by name.")] = Path("runs"),
    stop: Annotated[bool, typer.Option("--stop", help="Ask the run to end in order, and look on.")] = False,
) -> None:
    """Look on at a run that goes on in another process, until it ends. Ctrl-C leaves it running.

    Example: beamloop attach latest

    Example: beamloop attach runs/2026-03-01-101500_iron-edge --stop
    """
    folder = find_run(run, parent)
    process = writing_process(folder.journal)
    if process is None:
        raise NotRunning(
            f"no process works on {folder.path}; `beamloop show` makes its report, `beamloop resume` goes on"
        )
    if stop:
        _ask_to_end(process, folder)
    try:
        with progress(_experiment(folder), Console()) as onlooker:
            ended = follow(new_entries(folder.journal), onlooker)
    except KeyboardInterrupt:
        typer.echo(f"left; the run goes on. End it with: beamloop attach {folder.path} --stop")
        return
    if ended is None:
        typer.echo(f"the run was cut off; go on with: beamloop resume {folder.path}")
        raise typer.Exit(1)
    typer.echo(f"{ended.outcome}: {ended.reason}")
    typer.echo(f"report: {folder.report}")


def _ask_to_end(process: int, folder: RunFolder) -> None:
    try:
        os.kill(process, signal.SIGINT)
    except (ProcessLookupError, PermissionError) as error:
        raise NotRunning(
            f"process {process} works on {folder.path} and cannot be asked to end ({error.strerror}): it runs on "
            "another computer or belongs to somebody else"
        ) from None


def _experiment(folder: RunFolder) -> Experiment:
    opened = next(e.event for e in read(folder.journal) if isinstance(e.event, Opened))
    return Experiment.model_validate(opened.settings)
