"""`beamloop stop`: nothing heavy may stand between a person and a dark beam.

So this file and `__main__.py` import no numpy, no pydantic and no package of ours: Python's
own start is most of what is left. It says one word on the guard's public line and prints the
answer as it comes; `edge_client.connection.guard_line` says the same words for programs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import msgpack
import typer
import zmq

PORT, GUARD_OFFSET = 7440, 2
"""As in `core.control`, which is too heavy to import here; a test holds them together."""

_PARTS = ("beam", "motion", "acquisition")
_MEANING = {
    "confirmed": "confirmed at rest",
    "commanded": "commanded, not yet confirmed",
    "unknown": "UNKNOWN - use the instrument's own stop",
    "active": "goes on - this word does not halt it",
}


def stop(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = f"localhost:{PORT}",
    blank: Annotated[bool, typer.Option("--blank", help="Only blank the beam.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Hold and blank; arm to continue.")] = False,
    timeout_s: Annotated[float, typer.Option(help="How long the answer may take, in seconds.", min=0.05)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last answer's facts as JSON.")] = False,
) -> None:
    """Stop an instrument: halt what moves, blank the beam. Needs no lease and waits for nobody.

    Each part is reported as confirmed, commanded or unknown, at once; what was only commanded is told again
    when it is read back, or when the instrument's stopping time is over. The exit status is 1 unless the beam
    is confirmed blanked.

    Example: beamloop stop localhost:7440
    """
    if blank and pause:
        raise typer.BadParameter("--blank and --pause were both given; choose one, or none for a full stop")
    word = "blank" if blank else "pause" if pause else "stop"
    said_s, report = time.perf_counter(), {}
    for latest in _reports(_guard_of(host), word, timeout_s):
        if not as_json:
            typer.echo(f"after {time.perf_counter() - said_s:.3f} s" if report else f"{word} {host}")
            _tell(latest, report)
        report = latest
    if as_json:
        typer.echo(json.dumps(report))
    if report["beam"] != "confirmed":
        raise typer.Exit(1)


def _tell(latest: dict[str, Any], before: dict[str, Any]) -> None:
    """Print what a report says that the one before it did not."""
    for part in _PARTS:
        if (found := latest.get(part, "unknown")) != before.get(part):
            typer.echo(f"  {part:<12} {_MEANING[found]}")
    if (latest["armed"], latest["reason"]) != (before.get("armed"), before.get("reason")):
        why = f": {latest['reason']}" if latest["reason"] else ""
        typer.echo(f"  {'armed':<12} {'yes' if latest['armed'] else 'no'}{why}")


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


def _reports(guard: str, word: str, timeout_s: float) -> Iterator[dict[str, Any]]:
    """Say a word and yield the guard's report, and its last if that comes later.

    An answer that does not come ends the program with status 1.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as line:
        line.linger = 0
        line.connect(guard)
        line.send_multipart([b"", msgpack.Packer().pack({"word": word, "follow": True})])
        report = _next(line, timeout_s)
        if report is None:
            told = (
                f"InstrumentUnreachable: {word!r} was sent to the guard at {guard} and not answered within "
                f"{timeout_s:g} s; it is unknown whether it was heard: use the instrument's own stop"
            )
            raise _ended(told)
        if "error" in report:
            raise _ended(f"WireInvalid: the guard did not take {word!r}: {report['error']}")
        yield report
        if within_s := report.get("follows_within_s", 0.0):
            lacking = dict.fromkeys((part for part in _PARTS if report[part] == "commanded"), "unknown")
            yield _next(line, within_s + timeout_s) or {**report, **lacking, "follows_within_s": 0.0}


def _next(line: zmq.Socket, timeout_s: float) -> dict[str, Any] | None:
    return msgpack.unpackb(line.recv_multipart()[-1]) if line.poll(round(1e3 * timeout_s)) else None


def _ended(told: str) -> typer.Exit:
    typer.echo(told, err=True)
    return typer.Exit(1)
