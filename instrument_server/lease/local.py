"""`beamloop local`: the switch at the instrument, a file in the server's folder: only somebody there can turn it."""

from __future__ import annotations

import getpass
import json
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ...core import LocalControl, SettingsInvalid
from ...core.control import MOST_WORDS
from ...core.settings import load
from ..settings import ServerSettings
from .local_switch import LocalSwitch, Seen

HEARD_WITHIN_S = 3.0
"""How long to wait for the server to say that it has seen the switch; it looks ten times a second."""


class Position(StrEnum):
    """How the switch shall stand, or a look at it."""

    on = "on"
    off = "off"
    show = "show"


def local(
    position: Annotated[Position, typer.Argument(help="Turn it on or off, or show how it stands.")],
    place: Annotated[
        Path, typer.Argument(help="The server's configuration file, or its folder as `beamloop serve` names it.")
    ],
    reason: Annotated[str, typer.Option(help="Why; everybody who asks is told.")] = "somebody works at the instrument",
    admits: Annotated[
        str, typer.Option("--for", help="Whose commands are taken all the same: a key's or a client's name.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Turn the switch at the instrument, which wins over any remote: on this computer only, never over the network.

    While it is on, remotes may look and stop and nothing else: the beam is blanked, a running scan halted and every
    lease ended when it is turned on. It stays on over restarts of the server, until it is turned off here.

    Example: beamloop local on examples/instrument.toml --reason "changing the aperture"

    Example: beamloop local off examples/instrument.toml
    """
    switch = LocalSwitch(_folder(place))
    if position is Position.on:
        since = datetime.now(UTC).isoformat(timespec="milliseconds")
        switch.turn_on(_control(reason, since, admits))
    elif position is Position.off:
        switch.turn_off()
    _tell(switch, _heard(switch), as_json)


def _control(reason: str, since: str, admits: str) -> LocalControl:
    try:
        return LocalControl(by=_person(), reason=reason, since=since, admits=admits)
    except ValidationError:
        told = f"--reason and --for must be printable and of at most {MOST_WORDS} characters"
        raise typer.BadParameter(told) from None


def _folder(place: Path) -> Path:
    """Return the folder of the server's state.

    Raises
    ------
    SettingsInvalid
        If there is none; nothing would hear of the switch.
    """
    folder = place if place.is_dir() else place.absolute().parent / load(place, ServerSettings).folder
    if not folder.is_dir():
        raise SettingsInvalid(
            f"{folder} is no folder of a server; name the configuration file that `beamloop serve` was given, or the "
            "folder in which it says that its state is kept"
        )
    return folder


def _heard(switch: LocalSwitch) -> Seen | None:
    """Wait until the server has seen the switch as it stands; return what it says, None if it says nothing."""
    until_s = time.monotonic() + HEARD_WITHIN_S
    while time.monotonic() < until_s:
        wanted, seen = switch.position(), switch.confirmed()
        if (None if wanted is None else wanted.since) == (None if seen is None else seen.since):
            return seen
        time.sleep(0.05)
    return None


def _tell(switch: LocalSwitch, seen: Seen | None, as_json: bool) -> None:
    control = switch.position()
    if as_json:
        facts = {"local": control and control.model_dump(), "beam": seen and seen.beam, "seen": seen is not None}
        typer.echo(json.dumps(facts))
    elif control is None:
        typer.echo("off: remote commands are taken")
    else:
        typer.echo(f"ON since {control.since} by {control.by}: {control.reason}")
        typer.echo(f"  {control.admits} may command" if control.admits else "  no remote commands are taken")
        if seen is None:
            typer.echo("  no server has seen it yet; one that is started on this folder will, before it takes commands")
        else:
            typer.echo(f"  the server has seen it: no scan goes on, beam {seen.beam}")


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
