"""`beamloop stop`: nothing heavy may stand between a person and a dark beam.

So this file and `__main__.py` import no numpy, no pydantic and no package of ours: Python's
own start is most of what is left. It says one word on the guard's public line and prints the
answer as it comes; `edge_client.connection.guard_line` says the same words for programs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgpack
import typer
import zmq

PORT, GUARD_OFFSET = 7440, 2
"""As in `core.control`, which is too heavy to import here; a test holds them together."""

_MEANING = {
    "confirmed": "confirmed at rest",
    "commanded": "commanded, not yet confirmed",
    "unknown": "UNKNOWN - use the instrument's own stop",
}


def stop(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = f"localhost:{PORT}",
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
        raise typer.BadParameter("--blank and --pause were both given; choose one, or none for a full stop")
    word = "blank" if blank else "pause" if pause else "stop"
    report = _said(_guard_of(host), word, timeout_s)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        typer.echo(f"{word} {host}")
        for part in ("beam", "acquisition"):
            typer.echo(f"  {part:<12} {_MEANING[report[part]]}")
        why = f": {report['reason']}" if report["reason"] else ""
        typer.echo(f"  {'armed':<12} {'yes' if report['armed'] else 'no'}{why}")
    if report["beam"] != "confirmed":
        raise typer.Exit(1)


def stop_plainly(host: str = f"localhost:{PORT}") -> None:
    """Carry out `beamloop stop HOST` without options and leave; return only if the host is no address."""
    try:
        stop(host)
    except typer.Exit as left:
        raise SystemExit(left.exit_code) from None
    except typer.BadParameter:
        return
    raise SystemExit(0)


def _guard_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon:
        name, port = host, str(PORT)
    if not name or not port.isdecimal() or not 0 < int(port) <= 65_535 - GUARD_OFFSET:
        raise typer.BadParameter(f"{host!r} is no address of an instrument; give HOST or HOST:PORT")
    return f"tcp://{name}:{int(port) + GUARD_OFFSET}"


def _said(guard: str, word: str, timeout_s: float) -> dict[str, Any]:
    """Say a word and return the guard's report; one that does not come ends the program with status 1."""
    with zmq.Context() as context, context.socket(zmq.REQ) as line:
        line.linger = 0
        line.connect(guard)
        line.send(msgpack.Packer().pack({"word": word}))
        if not line.poll(round(1e3 * timeout_s)):
            typer.echo(
                f"InstrumentUnreachable: {word!r} was sent to the guard at {guard} and not answered within "
                f"{timeout_s:g} s; it is unknown whether it was heard: use the instrument's own stop",
                err=True,
            )
            raise typer.Exit(1)
        return msgpack.unpackb(line.recv())
