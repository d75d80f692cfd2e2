"""`beamloop show`: the report of a run, made again from its journal and run file."""

from __future__ import annotations

import json
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...core import OutputExists
from ..record.journal import read
from ..record.journal_mark import writing_process
from ..record.read_back import seen_in
from ..record.run_folder import RunFolder, find_run, put_page
from ..record.story import Seen, Story, story_of
from ..reporting.answer import answer, outcome_of
from ..reporting.report import report


def show(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folder of a run, its run.h5, or 'latest'.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write here instead: an HTML file, or a folder for several runs."),
    ] = None,
    parent: Annotated[Path, typer.Option("--runs", help="Folder in which runs are looked for by name.")] = Path("runs"),
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in the web browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON, one line a run.")] = False,
) -> None:
    """Make the report of a run again, from its journal and run file, and say where it is.

    Works on a run that is under way, was cut off, or has lost its run file: the report tells what there is.

    Example: beamloop show latest --open

    Example: beamloop show runs/2026-03-01-101500_iron-edge -o iron.html

    Example: beamloop show runs/* -o reports/
    """
    for named in runs:
        folder = find_run(named, parent)
        page = _place(folder, output, several=len(runs) > 1)
        # Rebuilding a belief that is not in the file can take a while.
        with Console(stderr=True, quiet=as_json).status(f"reading {folder.path.name}"):
            story = story_of(read(folder.journal))
            seen = _with_its_process(seen_in(folder.run_file, story), folder)
            put_page(page, report(story, seen))
        _tell(folder, page, story, seen, as_json)
        if open_it:
            webbrowser.open(page.absolute().as_uri())


def _with_its_process(seen: Seen, folder: RunFolder) -> Seen:
    process = writing_process(folder.journal)
    if process is None:
        return seen
    note = f"process {process} was still working on this run when its report was made: it tells what there was by then"
    return replace(seen, notes=(*seen.notes, note))


def _place(folder: RunFolder, output: Path | None, *, several: bool) -> Path:
    """Return where the report goes; only the one in the run's own folder is replaced."""
    if output is None:
        return folder.report
    page = output / f"{folder.path.absolute().name}.html" if several or output.is_dir() else output
    if page.exists():
        raise OutputExists(f"{page} already exists; give -o another name, or leave it out to renew {folder.report}")
    return page


def _tell(folder: RunFolder, page: Path, story: Story, seen: Seen, as_json: bool) -> None:
    outcome, reason = outcome_of(story)
    if as_json:
        facts = {
            "run": str(folder.path), "report": str(page), "outcome": outcome, "reason": reason,
            "source": story.described.info.source, "question": story.experiment.question, "answer": answer(story, seen),
            "measured": len(story.measurements), "candidates": len(seen.pool),
            "best": None if story.best is None else story.best.model_dump(), "notes": list(seen.notes),
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{story.opened.run}: {outcome}: {reason}")
    typer.echo(answer(story, seen))
    for note in seen.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {page}")
