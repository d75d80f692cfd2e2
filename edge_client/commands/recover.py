"""`beamloop recover`: make the run file of a run that was cut off open again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..record.recovery import Recovered, recover
from ..record.run_folder import find_run


def recover_run(
    run: Annotated[str, typer.Argument(help="Folder of the run, or 'latest'.")],
    parent: Annotated[Path, typer.Option("--runs", help="Folder in which runs are looked for by name.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found and done as JSON.")] = False,
) -> None:
    """Make the run file of a run open again, whatever happened to it.

    Frames are kept as far as their checksums are right; values, decisions and events are written again from the
    journal, which is not changed. A damaged file stays beside the new one. Exit status 1 if something could not
    be saved.

    Example: beamloop recover latest

    Example: beamloop recover runs/2026-11-24-101500_edge --json
    """
    with Console(stderr=True).status(f"reading {run}"):
        # A folder that has lost its journal is still worth a try.
        done = recover(Path(run) if Path(run).is_dir() else find_run(run, parent).path)
    if as_json:
        typer.echo(json.dumps(asdict(done), default=str))
    else:
        typer.echo("\n".join(_told(done)))
    if done.lost or done.lacking:
        raise typer.Exit(1)


def _told(done: Recovered) -> Iterator[str]:
    yield f"{done.run_file}: {done.found}"
    yield f"{done.rows} frames and {done.events} events of the journal; the run's outcome: {done.outcome}"
    for loss in done.lost:
        yield f"not saved: {loss}"
    if done.lacking:
        yield f"in the journal and without a frame: {', '.join(done.lacking)}"
    if done.aside is not None:
        yield f"the damaged file is kept as {done.aside}"
    yield f"written again in {done.duration_s:.2f} s" if done.changed else "nothing needed to be done"
