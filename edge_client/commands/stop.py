"""`beamloop stop`: halt an instrument now, whoever holds the lease."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ...core import SettingsInvalid
from ..connection.address import address_from
from ..connection.guard_line import Word, say

_MEANING = {
    "confirmed": "confirmed at rest",
    "commanded": "commanded, not yet confirmed",
    "unknown": "UNKNOWN - use the instrument's own stop",
}


def stop(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    blank: Annotated[bool, typer.Option("--blank", help="Only blank the beam.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Hold and blank; arm to continue.")] = False,
    timeout_s: Annotated[float, typer.Option(help="How long the answer may take, in seconds.", min=0.05)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Stop an instrument: halt, then blank. Needs no lease and waits for nobody.

    Each part is reported as confirmed, commanded or unknown; the exit status is 1 unless the beam is
    confirmed blanked.

    Example: beamloop stop localhost:7440
    """
    if blank and pause:
        raise SettingsInvalid("--blank and --pause were both given; choose one, or none for a full stop")
    word: Word = "blank" if blank else "pause" if pause else "stop"
    report = say(address_from(host), word, timeout_s)
    if as_json:
        typer.echo(json.dumps(report.model_dump()))
    else:
        typer.echo(f"{word} {host}")
        typer.echo(f"  beam         {_MEANING[report.beam]}")
        typer.echo(f"  acquisition  {_MEANING[report.acquisition]}")
        typer.echo(f"  armed        {'yes' if report.armed else 'no'}{f': {report.reason}' if report.reason else ''}")
    if report.beam != "confirmed":
        raise typer.Exit(1)
