"""`beamloop serve`: the instrument side's command."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..core import InstrumentInfo
from ..core.settings import checked, load
from .dialling_out import reachable
from .orders import when_parent_leaves
from .server import serving
from .settings import ServerSettings


def serve(
    config: Annotated[
        str, typer.Argument(help="A configuration file, 'simulator', 'replay:FILE', or 'replay:FILE+FILE'.")
    ],
    port: Annotated[
        int | None, typer.Option(help="Control port; frames and guard take the next two. 0 takes free ones.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where answers, audit and logs are kept.")] = None,
    relay: Annotated[
        str | None,
        typer.Option(help="HOST[:PORT] of a relay to dial out to; clients then name relay://HOST:PORT/NAME."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Leave when standard input is closed, as it is when the starter dies.")
    ] = False,
) -> None:
    """Serve an instrument: three processes (guard, driver, server) on this computer, until Ctrl-C.

    Example: beamloop serve examples/instrument.toml

    Example: beamloop serve simulator --port 7440

    Example: beamloop serve replay:SI-EELS.dm3+SI-HAADF.dm3
    """
    settings, home = _settings(config)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leave.set())
    if with_parent:
        when_parent_leaves(leave.set)
    with ExitStack() as stack:
        place = stack.enter_context(_place(folder or home))
        info, at = stack.enter_context(serving(settings, place))
        _announce(info, at, place, as_json)
        if relay or settings.relay:
            told = partial(typer.echo, err=as_json)
            stack.enter_context(reachable(relay or settings.relay or "", at, place, told))
        while not leave.wait(0.2):
            continue
    if not as_json:
        typer.echo("closed; the beam is blanked")


def _settings(config: str) -> tuple[ServerSettings, Path | None]:
    """Return the settings, and the folder they ask for; None where a temporary one will do."""
    name, _, file = config.partition(":")
    if config == "simulator":
        return checked({"instrument": {"plugin": "simulator"}}, ServerSettings, config), None
    if name == "replay" and file:
        plugin = {"plugin": "replay", "settings": {"file": _files(file)}}
        return checked({"instrument": plugin}, ServerSettings, config), None
    settings = load(Path(config), ServerSettings)
    return settings, Path(config).absolute().parent / settings.folder


def _files(text: str) -> list[str]:
    """Return the files of `FILE+FILE`; a file that is there under the whole name is meant by it."""
    names = [text] if Path(text).exists() else text.split("+")
    return [str(Path(name).absolute()) for name in names]


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="beamloop-") as temporary:
        yield Path(temporary)


def _announce(info: InstrumentInfo, port: int, folder: Path, as_json: bool) -> None:
    if as_json:
        facts = {"ready": True, "name": info.name, "source": info.source, "port": port, "folder": str(folder)}
        print(json.dumps(facts), flush=True)
        return
    typer.echo(f"{info.name} ({info.source}) is served on localhost:{port}, frames on {port + 1}, guard on {port + 2}")
    typer.echo("No keys are configured, so only this computer can connect (loopback); from afar, tunnel three ports:")
    typer.echo(
        f"  ssh -L {port}:localhost:{port} -L {port + 1}:localhost:{port + 1} -L {port + 2}:localhost:{port + 2} HOST"
    )
    typer.echo(f"State is kept in {folder}. Ctrl-C closes.")
