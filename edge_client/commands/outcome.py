"""What `beamloop run` and `beamloop resume` say at the end: the same facts, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from ..passage import Finished


def tell(finished: Finished, as_json: bool) -> None:
    """Print how a run ended and where it lies; leave with status 1 if it failed.

    Raises
    ------
    typer.Exit
        With status 1, if it failed.
    """
    story, folder, best, ended = finished.story, finished.folder, finished.story.best, finished.ended
    if as_json:
        facts = {
            "folder": str(folder.path), "run_file": str(folder.run_file), "journal": str(folder.journal),
            "report": str(folder.report), "outcome": ended.outcome, "reason": ended.reason,
            "source": story.described.info.source, "measured": len(story.measurements),
            "best": None if best is None else best.model_dump(),
        }  # fmt: skip
        typer.echo(json.dumps(facts))
    else:
        typer.echo(f"{ended.outcome}: {ended.reason}")
        if best is not None:
            y, x = best.position
            value = f"{best.value:.5g} {story.experiment.target.units}".strip()
            typer.echo(f"best {story.experiment.target.name}: {value} at y = {y:.4g} m, x = {x:.4g} m")
        typer.echo(f"run folder: {folder.path}")
        typer.echo(f"report: {folder.report}")
        if ended.outcome != "finished":
            typer.echo(f"to go on: beamloop resume {folder.path}")
    if ended.outcome == "failed":
        raise typer.Exit(1)


@contextmanager
def told_how_to_go_on(run: str) -> Iterator[None]:
    """Say after an abort how the run goes on.

    Raises
    ------
    typer.Exit
        With status 130, after a second Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"aborted; what was stored is kept. Go on with: beamloop resume {run}", err=True)
        raise typer.Exit(130) from None


def tell_detached(folder: Path, as_json: bool) -> None:
    """Print where a run that goes on without this terminal is kept."""
    if as_json:
        typer.echo(json.dumps({"folder": str(folder)}))
        return
    typer.echo(f"running in {folder}")
    typer.echo(f"look on: beamloop attach {folder}")
    typer.echo(f"end it:  beamloop attach {folder} --stop")
