"""`beamloop keys`: make, list, change and revoke the keys of an instrument."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ...core.control import Role
from .key_list import Key, KeyList
from .making import add_key, change_key, make_folder, revoke_key
from .place import Place

DAYS = 365.0

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list, change and revoke the keys of an instrument. Without keys it listens on this computer only.\n\n"
    "Example: beamloop keys init; beamloop keys add ada --role operator; beamloop serve simulator --keys keys",
)

Folder = Annotated[Path, typer.Option("--folder", help="Folder of the instrument's keys.")]
Name = Annotated[str, typer.Argument(help="Name of the key: of a person, or of a program.")]


@keys.command()
def init(folder: Folder = Path("keys")) -> None:
    """Make the folder of an instrument's keys, readable only by you; nobody is let in yet.

    Example: beamloop keys init --folder keys
    """
    make_folder(Place(folder))
    typer.echo(f"made {folder}: an authority of its own, the keys of the server's three lines, an empty list")
    typer.echo(f"next: beamloop keys add NAME --role operator{_elsewhere(folder)}")
    typer.echo(f'then: keys = "{folder}" in the server configuration, or beamloop serve ... --keys {folder}')
    typer.echo("only 'keys add' needs authority.key; it may be kept on another computer meanwhile")


@keys.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the key may do; it can be changed later.")] = "observer",
    days: Annotated[float, typer.Option(help="How long it lasts.", min=0.0)] = DAYS,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where its file goes; NAME.key if not given.")
    ] = None,
    folder: Folder = Path("keys"),
) -> None:
    """Make a key and list it; write the file that its owner carries to the client.

    An observer looks and may stop; an operator commands while holding the lease; an engineer also changes what
    operators may do.

    Example: beamloop keys add ada --role operator --days 90
    """
    file = output or Path(f"{name}.key")
    key = add_key(Place(folder), name, role, days, file)
    typer.echo(f"{_told(key)}; a running server lets it in within a second")
    typer.echo(f"carry {file} to the client, by a way that others cannot read, and delete it here; then there:")
    typer.echo(f"  beamloop info HOST --key {file.name}")
    typer.echo(f"or once for all commands and programs:  export BEAMLOOP_KEY={file.name}")


@keys.command()
def change(
    name: Name,
    role: Annotated[Role | None, typer.Option(help="Its new role.")] = None,
    days: Annotated[float | None, typer.Option(help="How long it lasts from now.", min=0.0)] = None,
    folder: Folder = Path("keys"),
) -> None:
    """Change what a key may do, or how long it lasts; its file stays as it is.

    Example: beamloop keys change ada --role engineer --days 365
    """
    typer.echo(f"{_told(change_key(Place(folder), name, role, days))}; in force within a second")


@keys.command()
def revoke(name: Name, folder: Folder = Path("keys")) -> None:
    """Shut a key out, also from connections that are open: within a second.

    Example: beamloop keys revoke ada
    """
    revoke_key(Place(folder), name)
    typer.echo(f"{name!r} is revoked; a running server shuts it out within a second")


@keys.command("list")
def list_keys(
    folder: Folder = Path("keys"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """List the keys that are let in.

    Example: beamloop keys list
    """
    place = Place(folder)
    place.require()
    found, now = KeyList(place).keys, datetime.now(UTC)
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") | {"expired": now >= key.expires} for key in found]))
        return
    typer.echo(f"{folder}: {len(found) or 'no'} key{'s' if len(found) != 1 else ''}")
    for key in found:
        typer.echo(f"  {_told(key, now)}")
    lost = {file.stem for file in place.listed.glob("*.json")} - {key.name for key in found}
    if lost:
        typer.echo(f"  damaged, so not let in: {', '.join(sorted(lost))}; revoke by removing the file, and add anew")


def _told(key: Key, now: datetime | None = None) -> str:
    state = "EXPIRED" if now is not None and now >= key.expires else "until"
    return f"{key.name}: {key.role}, {state} {key.expires:%Y-%m-%d %H:%M} UTC"


def _elsewhere(folder: Path) -> str:
    return "" if folder == Path("keys") else f" --folder {folder}"
