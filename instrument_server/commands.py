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

from ..core import InstrumentInfo, SettingsInvalid
from ..core.control import FRAMES_OFFSET, GUARD_OFFSET
from ..core.settings import checked, load
from .dialling_out import reachable
from .keys.key_list import KeyList
from .keys.place import Place
from .processes.orders import when_parent_leaves
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
    keys: Annotated[
        Path | None, typer.Option(help="Folder of the keys that let clients in; see `beamloop keys`.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Address to listen on, such as 0.0.0.0 for all; needs keys.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Leave when standard input is closed, as it is when the starter dies.")
    ] = False,
) -> None:
    """Serve an instrument: three processes (guard, driver, server) on this computer, until Ctrl-C.

    Example: beamloop serve examples/instrument.toml

    Example: beamloop serve simulator --port 7440

    Example: beamloop serve simulator --keys keys --listen 0.0.0.0

    Example: beamloop serve replay:SI-EELS.dm3+SI-HAADF.dm3
    """
    settings, home = _settings(config)
    given = {"port": port, "keys": keys and keys.absolute(), "listen": listen, "relay": relay}
    asked = settings.model_dump() | {name: value for name, value in given.items() if value is not None}
    settings = checked(asked, ServerSettings, "beamloop serve")
    if settings.relay and not settings.keys:
        raise SettingsInvalid(
            "a relay was asked for without keys; make them ('beamloop keys init') and give --keys FOLDER"
        )
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leave.set())
    if with_parent:
        when_parent_leaves(leave.set)
    with ExitStack() as stack:
        place = stack.enter_context(_place(folder or home))
        info, at = stack.enter_context(serving(settings, place))
        _announce(info, at, place, settings, as_json)
        if settings.relay:
            told = partial(typer.echo, err=as_json)
            stack.enter_context(reachable(settings.relay, at, place, told))
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
    settings, beside = load(Path(config), ServerSettings), Path(config).absolute().parent
    if settings.keys is not None:
        settings = settings.model_copy(update={"keys": beside / settings.keys})
    return settings, beside / settings.folder


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


def _announce(info: InstrumentInfo, port: int, folder: Path, settings: ServerSettings, as_json: bool) -> None:
    if as_json:
        facts = {"ready": True, "name": info.name, "source": info.source, "port": port, "folder": str(folder)}
        print(json.dumps(facts), flush=True)
        return
    where = "localhost" if settings.listen.is_loopback else settings.listen
    typer.echo(f"{info.name} ({info.source}) is served on {where}:{port}, frames on {port + 1}, guard on {port + 2}")
    for line in _who_may_connect(port, settings):
        typer.echo(line)
    if info.guarantee:
        typer.echo(info.guarantee)
    typer.echo(f"State is kept in {folder}. Ctrl-C closes.")


def _who_may_connect(port: int, settings: ServerSettings) -> Iterator[str]:
    if settings.keys is None:
        yield "No keys, so only this computer can connect (loopback); make some with 'beamloop keys init', or"
    else:
        listed = ", ".join(f"{key.name} ({key.role})" for key in KeyList(Place(settings.keys)).keys)
        yield f"Keys of {settings.keys} are let in, and nobody else: {listed or 'none yet; beamloop keys add NAME'}"
        if not settings.listen.is_loopback:
            return
        yield 'It listens on this computer only (loopback): set listen = "0.0.0.0", or'
    ports = " ".join(f"-L {p}:localhost:{p}" for p in (port, port + FRAMES_OFFSET, port + GUARD_OFFSET))
    yield f"from afar, tunnel three ports: ssh {ports} HOST"
