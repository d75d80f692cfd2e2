"""`beamloop watch`: look at what an instrument measures, whoever asked for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from ...core import InstrumentUnreachable
from ...streaming.viewer import Viewer
from ..instrument import RemoteInstrument, connect
from ..watching import Watched

LOOK_S = 1.0
"""How long nothing may come before the instrument is asked whether it is still there."""

TELL_S = 1.0
"""How often a scan under way is told where there is no terminal to draw on."""


def watch(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    only: Annotated[str, typer.Option("--only", help="Id of the one scan, or measurement, to look at.")] = "",
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    scans: Annotated[int, typer.Option("--scans", help="Leave after so many scans have ended; 0: stay.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each second and at each end.")] = False,
) -> None:
    """Look at scans while they are taken, newest frames first, with the number passed over. Ctrl-C leaves.

    It slows nobody, keeps nothing and needs no lease.

    Example: beamloop watch localhost:7440

    Example: beamloop watch stem:7440 --json --scans 1
    """
    console = Console()
    try:
        with connect(host, key=key) as instrument, instrument.watch(only) as viewer:
            if as_json or not console.is_terminal:
                _tell(instrument, viewer, scans, as_json)
            else:
                _draw(instrument, viewer, scans, console)
    except KeyboardInterrupt:
        # Leaving is what Ctrl-C is for here; the instrument goes on.
        return


def _draw(instrument: RemoteInstrument, viewer: Viewer, scans: int, console: Console) -> None:
    with Live(f"waiting for a scan at {instrument.address}", console=console, refresh_per_second=8) as live:

        def show(watched: Watched, is_end: bool) -> None:
            live.update(watched.picture(viewer.statistics().lost_scans))

        def wait(activity: str) -> None:
            live.update(f"waiting for a scan at {instrument.address}, which is {activity}")

        _look_on(instrument, viewer, scans, show, wait)


def _tell(instrument: RemoteInstrument, viewer: Viewer, scans: int, as_json: bool) -> None:
    told_s = float("-inf")

    def show(watched: Watched, is_end: bool) -> None:
        nonlocal told_s
        if is_end or time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
            lost = viewer.statistics().lost_scans
            typer.echo(json.dumps(watched.facts(lost)) if as_json else ": ".join(watched.account(lost)))

    _look_on(instrument, viewer, scans, show, lambda activity: None)


def _look_on(
    instrument: RemoteInstrument,
    viewer: Viewer,
    scans: int,
    show: Callable[[Watched, bool], None],
    wait: Callable[[str], None],
) -> None:
    watched, ended = Watched(), 0
    while not scans or ended < scans:
        try:
            sight = viewer.look(LOOK_S)
        except InstrumentUnreachable:
            # Silent on the data channel; if it is gone, this raises with its address.
            activity = instrument.state().activity
            if watched.sight is None or watched.sight.end is not None:
                wait(activity)
            continue
        watched.saw(sight)
        ended += sight.end is not None
        show(watched, sight.end is not None)
