"""`beamloop resume`: go on with a run that was cut off."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..connection.shown_key import key_from_anywhere
from ..detached import Announcing, detached
from ..instrument_at import from_anywhere, instrument_at
from ..progress import progress
from ..record.run_folder import find_run
from ..resuming import resume_run, unfinished
from .outcome import tell, tell_detached, told_how_to_go_on
from .queueing import queued, refuse_to_wait_detached


def resume(
    run: Annotated[str, typer.Argument(help="Folder of the run, or 'latest'.")],
    instrument: Annotated[
        str | None, typer.Option(help="Where its instrument is now; where it was begun if not given.")
    ] = None,
    parent: Annotated[Path, typer.Option("--runs", help="Folder in which runs are looked for by name.")] = Path("runs"),
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    arm: Annotated[bool, typer.Option("--arm", help="Arm an instrument that a person has stopped.")] = False,
    wait_for_lease: Annotated[
        bool, typer.Option("--wait-for-lease", help="Stand in the queue if somebody else commands the instrument.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Let the run go on without this terminal; see `beamloop attach`.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON and nothing else.")] = False,
    announce: Annotated[bool, typer.Option("--announce", hidden=True)] = False,
) -> None:
    """Go on with a run that was killed, stopped, or lost its instrument.

    Nothing that was measured is measured again. What was under way is looked for in the run file and at the
    instrument; if nobody knows how it ended, it is recorded as interrupted, its dose is charged, and it is repeated.

    Example: beamloop resume latest

    Example: beamloop resume runs/2026-03-01-101500_iron-edge --instrument stem:7440
    """
    cut_off = unfinished(find_run(run, parent).path)
    where = from_anywhere(instrument or cut_off.last_instrument)
    refuse_to_wait_detached(wait_for_lease, detach)
    if detach:
        words = ["resume", str(cut_off.folder.path), "--instrument", where]
        words += [] if key is None else ["--key", str(key_from_anywhere(key))]
        tell_detached(detached([*words, *(["--arm"] if arm else [])]), as_json)
        return
    with told_how_to_go_on(str(cut_off.folder.path)), ExitStack() as stack:
        connected = stack.enter_context(instrument_at(where, cut_off.client, key))
        if wait_for_lease:
            queued(connected, f"resume {cut_off.experiment.name}", lambda text: typer.echo(text, err=True))
        console = Console(stderr=as_json, quiet=as_json)
        onlooker = stack.enter_context(progress(cut_off.experiment, console, past=cut_off.measurements))
        finished = resume_run(cut_off, connected, where, arm, Announcing(onlooker) if announce else onlooker)
    tell(finished, as_json)
