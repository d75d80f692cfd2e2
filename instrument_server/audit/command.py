"""`beamloop audit verify` and `beamloop audit show`: whether the audit is whole, and what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from ...core import SettingsInvalid
from .chain import Link
from .verdict import Verdict, files_of, verdict_on

audit = typer.Typer(no_args_is_help=True, help="What happened to an instrument: is its audit whole, what does it say?")

Place = Annotated[Path, typer.Argument(help="Folder in which the server keeps its state, or one file of its audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
HERE = Path("instrument-state")

_WITNESS = re.compile(r"([0-9]+):([0-9a-f]{64})")
_AGO = re.compile(r"([0-9.]+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ASIDE = ("number", "time", "event", "hash", "client", "verb", "message")


@audit.command()
def verify(
    place: Place = HERE,
    head: Annotated[
        str,
        typer.Option(metavar="NUMBER:HASH", help="Where the chain stood, as a run's journal or a colleague kept it."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check that every line of an audit follows from those before it, and that none lacks at the end.

    Leaves with status 1 and names the first bad line, what was found there and what was expected.

    Example: beamloop audit verify instrument-state

    Example: beamloop audit verify instrument-state --head 1042:9f86d081...
    """  # fmt: skip
    verdict = verdict_on(place, _witness(head))
    typer.echo(json.dumps(_facts(verdict)) if as_json else "\n".join(_told(verdict)))
    if verdict.problems:
        raise typer.Exit(1)


@audit.command()
def show(
    place: Place = HERE,
    client: Annotated[str, typer.Option(help="Only lines in whose client's name this occurs.")] = "",
    event: Annotated[str, typer.Option(help="Only this event, for example refused.")] = "",
    since: Annotated[str, typer.Option(help="Only lines since then: 10m, 2h, 3d, or a date and time (UTC).")] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only the last N of these lines; 0 shows all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they stand.")] = False,
) -> None:
    """Show what an audit says, oldest first; times are UTC. It is shown as it stands: `verify` checks it.

    Example: beamloop audit show instrument-state -n 20

    Example: beamloop audit show --event refused --since 2h --client ada
    """
    start = _instant(since, datetime.now(UTC)) if since else None
    found = [line for line in _lines(place) if _wanted(line, client, event, start)]
    for line in found[-last:]:
        typer.echo(json.dumps(line) if as_json else _readable(line))


def _told(verdict: Verdict) -> Iterator[str]:
    for found in verdict.files:
        if found.links:
            span = f"{found.links[0].number} to {found.links[-1].number}"
            yield f"{found.name}: lines {span} follow from each other"
    yield from (f"note: {remark}" for remark in verdict.remarks)
    yield from (f"BAD: {problem}" for problem in verdict.problems)
    state = f"{len(verdict.problems)} problems" if verdict.problems else "whole"
    yield f"{state}; {verdict.lines} lines, head {verdict.head.number}:{verdict.head.hash}"


def _facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": not verdict.problems, "lines": verdict.lines, "problems": verdict.problems, "remarks": verdict.remarks,
        "head": f"{verdict.head.number}:{verdict.head.hash}", "files": [found.name for found in verdict.files],
    }  # fmt: skip


def _lines(place: Path) -> Iterator[dict[str, Any]]:
    for file in files_of(place):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield _said(line, f"{file.name} line {number}")


def _said(line: bytes, where: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {"event": "unreadable", "message": f"{where}: {line[:60]!r}"}


def _wanted(line: dict[str, Any], client: str, event: str, start: datetime | None) -> bool:
    time = str(line.get("time", ""))
    is_late = start is None or time >= start.isoformat()
    return client in str(line.get("client", "")) and event in ("", line.get("event")) and is_late


def _readable(line: dict[str, Any]) -> str:
    """Return one line for a person: when, what, who, and all else that it says, control characters escaped."""
    rest = " ".join(
        f"{name}={_short(value)}" for name, value in line.items() if name not in _ASIDE and value not in ("", None)
    )
    time = str(line.get("time", ""))[:23].replace("T", " ")
    parts = [f"{line.get('number', ''):>6}", f"{time:23}", f"{line.get('event', '?'):12}"]
    parts += [str(line[name]) for name in ("client", "verb", "message") if line.get(name)]
    text = "  ".join([*parts, rest] if rest else parts)
    # What a stranger sent must not command the terminal of who reads it.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text).rstrip()


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _witness(head: str) -> Link | None:
    if not head:
        return None
    said = _WITNESS.fullmatch(head)
    if said is None:
        raise SettingsInvalid(f"--head {head!r} is not NUMBER:HASH with 64 hexadecimal digits, as `verify` prints it")
    return Link(int(said[1]), said[2])


def _instant(since: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(since)
    if ago is not None:
        return now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        raise SettingsInvalid(
            f"--since {since!r} is neither a time ago (10m, 2h, 3d) nor a date and time (2026-11-24T13:00)"
        ) from None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
