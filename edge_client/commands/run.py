"""`beamloop run`: an autonomous experiment, here or on an instrument elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...core.control import PORT
from ..connection.shown_key import key_from_anywhere
from ..detached import Announcing, detached
from ..experiment import read_experiment
from ..instrument_at import from_anywhere, instrument_at
from ..progress import progress
from ..runner import RunRequest, run_experiment
from .outcome import tell, tell_detached, told_how_to_go_on
from .queueing import queued, refuse_to_wait_detached


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
    """Run an autonomous experiment and write a run folder: run.h5, journal.sqlite, report.html.

    Ctrl-C ends the run in order: what was measured is kept and reported. A second one aborts. What was cut
    off goes on with `beamloop resume`.

    Example: beamloop run examples/simulator.toml

    Example: beamloop run examples/bfo_iv.toml --instrument replay:bfo_iv_final.hf5 --points 250

    Example: beamloop run examples/simulator.toml --instrument simulator --detach

    Example: beamloop run examples/simulator.toml --instrument stem:7440 --wait-for-lease
    """
    asked, text = read_experiment(experiment)
    asked = asked.changed(seed, points)
    where = from_anywhere(instrument or asked.instrument or f"localhost:{PORT}")
    refuse_to_wait_detached(wait_for_lease, detach)
    if detach:
        words = ["run", str(experiment), "--instrument", where, "--output", str(output)]
        words += [word for name, value in (("seed", seed), ("points", points)) if value is not None
                  for word in (f"--{name}", str(value))]  # fmt: skip
        words += [] if key is None else ["--key", str(key_from_anywhere(key))]
        tell_detached(detached([*words, *(["--arm"] if arm else [])]), as_json)
        return
    request = RunRequest(asked, text, where, output, arm)
    with told_how_to_go_on(f"latest --runs {output}"), ExitStack() as stack:
        connected = stack.enter_context(instrument_at(where, key=key))
        if wait_for_lease:
            queued(connected, f"run {asked.name}", lambda text: typer.echo(text, err=True))
        onlooker = stack.enter_context(progress(asked, Console(stderr=as_json, quiet=as_json)))
        finished = run_experiment(request, connected, Announcing(onlooker) if announce else onlooker)
    tell(finished, as_json)
