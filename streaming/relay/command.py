"""`beamloop relay`: the meeting place's command."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from contextlib import suppress
from typing import Annotated

import typer

from ...core import SettingsInvalid
from .dialling import relay_address
from .relay import Relay
from .words import PORT


def relay(
    listen: Annotated[str, typer.Option(help="HOST[:PORT] to listen at.")] = f"0.0.0.0:{PORT}",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not say who comes and goes.")] = False,
) -> None:
    """Run a meeting place for instruments and clients behind firewalls, until Ctrl-C.

    Both dial out to it. It passes on what they say to each other, which is encrypted between them, and holds no
    keys. It never carries the only stop: the guard at the instrument needs it for nothing.

    Example: beamloop relay --listen 0.0.0.0:7450

    Then, at the instrument: beamloop serve instrument.toml --relay HOST:7450

    And at a client: beamloop info relay://HOST:7450/NAME
    """
    if not quiet:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    place = relay_address(listen)
    meeting = Relay()

    def ready(port: int) -> None:
        if as_json:
            print(json.dumps({"ready": True, "port": port}), flush=True)
        else:
            typer.echo(
                f"relay at {place.host}:{port}; it holds no keys and cannot read what it passes on. Ctrl-C closes."
            )

    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_until_told(meeting.serve(place.host, place.port, ready)))
        except OSError as error:
            raise SettingsInvalid(f"cannot listen at {place.host}:{place.port}: {error}; name a free port") from None
    if not as_json:
        typer.echo(f"closed; {meeting.forwarded_bytes / 1e6:.1f} MB were passed on")


async def _until_told(serving) -> None:
    """Serve until Ctrl-C or a service manager's terminate."""
    task = asyncio.ensure_future(serving)
    with suppress(NotImplementedError):  # Windows has no handlers in its loop; Ctrl-C raises there.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
