"""`beamloop run`: an autonomous experiment, here or on an instrument elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...core.control import PORT
from ..embedded import embedded
from ..experiment import read_experiment
from ..instrument import RemoteInstrument, connect
from ..progress import progress
from ..runner import Finished, RunRequest, run_experiment


def run(
    experiment: Annotated[Path, typer.Argument(help="The experiment file, TOML.")],
    instrument: Annotated[
        str | None,
        typer.Option(
            help="HOST[:PORT], 'simulator', 'replay:FILE[+FILE]' or a server configuration; the file's if not given."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder in which the run folder is made.")] = Path(
        "runs"
    ),
    seed: Annotated[int | None, typer.Option(help="Another seed than the file's.")] = None,
    points: Annotated[int | None, typer.Option(help="Another number of measurements than the file's.")] = None,
    arm: Annotated[bool, typer.Option("--arm", help="Arm an instrument that a person has stopped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON and nothing else.")] = False,
) -> None:
    """Run an autonomous experiment and write a run folder: run.h5, journal.sqlite, report.html.

    Ctrl-C ends the run in order: what was measured is kept and reported. A second one aborts.

    Example: beamloop run examples/simulator.toml

    Example: beamloop run examples/bfo_iv.toml --instrument replay:bfo_iv_final.hf5 --points 250
    """
    asked, text = read_experiment(experiment)
    asked = asked.changed(seed, points)
    where = instrument or asked.instrument or f"localhost:{PORT}"
    request = RunRequest(asked, text, where, output, arm)
    with _instrument(where) as connected:
        console = Console(stderr=as_json, quiet=as_json)
        with progress(asked, console) as onlooker:
            finished = run_experiment(request, connected, onlooker)
    _tell(finished, as_json)
    if finished.ended.outcome == "failed":
        raise typer.Exit(1)


@contextmanager
def _instrument(where: str) -> Iterator[RemoteInstrument]:
    """Connect to an instrument that is served, or start one for as long as it is needed."""
    if where == "simulator" or where.startswith("replay:") or where.endswith(".toml"):
        with embedded(where) as address, connect(address) as connected:
            yield connected
        return
    with connect(where) as connected:
        yield connected


def _tell(finished: Finished, as_json: bool) -> None:
    story, folder, best = finished.story, finished.folder, finished.story.best
    if as_json:
        facts = {
            "folder": str(folder.path), "run_file": str(folder.run_file), "journal": str(folder.journal),
            "report": str(folder.report), "outcome": finished.ended.outcome, "reason": finished.ended.reason,
            "source": story.described.info.source, "measured": len(story.measurements),
            "best": None if best is None else best.model_dump(),
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{finished.ended.outcome}: {finished.ended.reason}")
    if best is not None:
        y, x = best.position
        units = story.experiment.target.units
        typer.echo(
            f"best {story.experiment.target.name}: {best.value:.5g} {units} at y = {y:.4g} m, x = {x:.4g} m".replace(
                "  ", " "
            )
        )
    typer.echo(f"run folder: {folder.path}")
    typer.echo(f"report: {folder.report}")
