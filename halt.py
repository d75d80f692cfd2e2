"""`beamloop stop`: nothing heavy may stand between a person and a dark beam.

So this file and `__main__.py` import no numpy, no pydantic and no package of ours: Python's
own start is most of what is left. It says one word on the guard's public line and prints the
answer as it comes; `edge_client.connection.guard_line` says the same words for programs.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import msgpack
import typer
import zmq

PORT, GUARD_OFFSET = 7440, 2
"""As in `core.control`, which is too heavy to import here; a test holds them together."""

KEY_MARK = "beamloop-key: "
_KEY = "--key"
_RELAY = "relay://"
_PARTS = ("beam", "motion", "acquisition")
_MEANING = {
    "confirmed": "confirmed at rest",
    "commanded": "commanded, not yet confirmed",
    "unknown": "UNKNOWN - use the instrument's own stop",
    "active": "goes on - this word does not halt it",
}


_HANDSHAKES = "inproc://handshakes"
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WANTED = "it wants a key; give --key FILE, or set BEAMLOOP_KEY"
_REFUSALS = {
    ("unlisted", True): "the key is unknown there, revoked or expired",
    ("mismatch", True): "it serves without keys; leave the key out: --key none",
    ("mismatch", False): _WANTED,
    ("ended", True): "the key was made for another instrument, or nobody there looks at keys",
    ("ended", False): _WANTED,
}


def stop(
    host: Annotated[
        str, typer.Argument(help="HOST, HOST:PORT or relay://... of the instrument.")
    ] = f"localhost:{PORT}",
    blank: Annotated[bool, typer.Option("--blank", help="Only blank the beam.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Hold and blank; arm to continue.")] = False,
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="How long the answer may take, in seconds.", min=0.05)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the last answer's facts as JSON.")] = False,
) -> None:
    """Stop an instrument: halt what moves, blank the beam. Needs no lease and waits for nobody.

    Each part is reported as confirmed, commanded or unknown, at once; what was only commanded is told again
    when it is read back, or when the instrument's stopping time is over. The exit status is 1 unless the beam
    is confirmed blanked.

    Example: beamloop stop localhost:7440

    Example: beamloop stop stem-3 --key ada.key
    """
    if blank and pause:
        raise typer.BadParameter("--blank and --pause were both given; choose one, or none for a full stop")
    word = "blank" if blank else "pause" if pause else "stop"
    report = {}
    with _way_to(host) as guard:
        said_s = time.perf_counter()
        for latest in _reports(guard, word, timeout_s, _shown(key)):
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


def is_plain(words: list[str]) -> bool:
    """Tell whether these words are a stop that `stop_plainly` understands: HOST, `--key FILE`, both or neither.

    >>> is_plain(["stop", "stem-3", "--key", "ada.key"]), is_plain(["stop", "stem-3", "--json"])
    (True, False)
    """
    names = _without_key(words[1:])
    return words[:1] == ["stop"] and len(names) <= 1 and not any(name.startswith(("-", _RELAY)) for name in names)


def stop_plainly(words: list[str]) -> None:
    """Carry out a plain stop and leave; return only if its host or key is none."""
    names, at = _without_key(words[1:]), words.index(_KEY) + 1 if _KEY in words else 0
    try:
        stop(names[0] if names else f"localhost:{PORT}", key=words[at] if at else None)
    except typer.Exit as left:
        raise SystemExit(left.exit_code) from None
    except typer.BadParameter:
        return
    raise SystemExit(0)


def _without_key(words: list[str]) -> list[str]:
    at = words.index(_KEY) if _KEY in words[:-1] else len(words)
    return words[:at] + words[at + 2 :]


def _shown(key: str | None) -> dict[str, str] | None:
    """Return what a key file says; None where none is to be shown. `core.key_file` writes it."""
    file = os.environ.get("BEAMLOOP_KEY", "none") if key is None else key
    if file in ("", "none"):
        return None
    try:
        with open(os.path.expanduser(file), encoding="utf-8") as lines:
            facts = json.loads(next(line for line in lines if line.startswith(KEY_MARK)).removeprefix(KEY_MARK))
        return {half: facts[half] for half in ("public", "secret", "guard")}
    except (OSError, UnicodeDecodeError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"the key {file} is no readable key file ({str(error) or 'no key in it'})") from None


@contextmanager
def _way_to(host: str) -> Iterator[str]:
    """Give the guard's endpoint; through a relay, the way to it for as long as the block lasts."""
    if not host.startswith(_RELAY):
        yield _guard_of(host)
        return
    # Half a second of imports, only for those who have no shorter way.
    from .edge_client.connection.reached import reached

    address, gate = reached(host)
    assert gate is not None
    with gate:
        yield address.guard


def _guard_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon:
        name, port = host, str(PORT)
    if not name or not port.isdecimal() or not 0 < int(port) <= 65_535 - GUARD_OFFSET:
        raise typer.BadParameter(f"{host!r} is no address of an instrument; give HOST or HOST:PORT")
    return f"tcp://{name}:{int(port) + GUARD_OFFSET}"


def _reports(guard: str, word: str, timeout_s: float, key: dict[str, str] | None) -> Iterator[dict[str, Any]]:
    """Say a word and yield the guard's report, and its last if that comes later.

    An answer that does not come ends the program with status 1.
    """
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        line = stack.enter_context(context.socket(zmq.DEALER))
        line.linger = 0
        if key is not None:
            line.curve_publickey, line.curve_secretkey = key["public"].encode(), key["secret"].encode()
            line.curve_serverkey = key["guard"].encode()
        line.monitor(_HANDSHAKES, _FAILURES)
        refusals = stack.enter_context(context.socket(zmq.PAIR))
        refusals.connect(_HANDSHAKES)
        line.connect(guard)
        line.send_multipart([b"", msgpack.Packer().pack({"word": word, "follow": True})])
        report, refusal = _first(line, refusals, timeout_s)
        if refusal:
            why = _REFUSALS[refusal, key is not None]
            told = f"KeyRefused: the guard at {guard} did not hear {word!r}: {why}; or use the instrument's own stop"
            raise _ended(told)
        if report is None:
            told = (
                f"InstrumentUnreachable: {word!r} was sent to the guard at {guard} and not answered within "
                f"{timeout_s:g} s; it is unknown whether it was heard: use the instrument's own stop"
            )
            raise _ended(told)
        if "error" in report:
            raise _ended(f"{report.get('kind', 'WireInvalid')}: the guard did not take {word!r}: {report['error']}")
        yield report
        if within_s := report.get("follows_within_s", 0.0):
            lacking = dict.fromkeys((part for part in _PARTS if report[part] == "commanded"), "unknown")
            yield _next(line, within_s + timeout_s) or {**report, **lacking, "follows_within_s": 0.0}


def _first(line: zmq.Socket, refusals: zmq.Socket, timeout_s: float) -> tuple[dict[str, Any] | None, str]:
    """Wait for the first report; return it, or what became of the handshake if it does not come."""
    poller = zmq.Poller()
    for socket in (line, refusals):
        poller.register(socket, zmq.POLLIN)
    until_s, ended = time.perf_counter() + timeout_s, ""
    while (left_s := until_s - time.perf_counter()) > 0:
        ready = dict(poller.poll(round(1e3 * left_s)))
        if line in ready:
            return _next(line, 0), ""
        if refusals in ready:
            event, value = struct.unpack("=HI", refusals.recv_multipart()[0])
            ended = "ended"
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                return None, "unlisted"
            if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                return None, "mismatch"
    return None, ended


def _next(line: zmq.Socket, timeout_s: float) -> dict[str, Any] | None:
    return msgpack.unpackb(line.recv_multipart()[-1]) if line.poll(round(1e3 * timeout_s)) else None


def _ended(told: str) -> typer.Exit:
    typer.echo(told, err=True)
    return typer.Exit(1)
