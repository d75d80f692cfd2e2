"""`beamloop lease`: see who commands an instrument, take the lease, wait for it, give it, or break it."""

from __future__ import annotations

import json
import signal
import threading
from enum import StrEnum
from typing import Annotated

import typer

from ...core import LeaseHeld, LeaseInfo
from ..instrument import RemoteInstrument, connect
from .queueing import queued
from .standing import standing


class Word(StrEnum):
    """What to do about the lease."""

    show = "show"
    take = "take"
    wait = "wait"
    give = "give"
    break_ = "break"


def lease(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    word: Annotated[Word, typer.Argument(help="What to do about the lease.")] = Word.show,
    purpose: Annotated[str, typer.Option(help="What it is for; everybody sees it.")] = "held from the command line",
    to: Annotated[str | None, typer.Option(help="give: who gets it: one that waits, or that had it before.")] = None,
    holder: Annotated[
        str | None, typer.Option("--as", help="give: the client whose lease it is; the present holder if not given.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="break: why it is taken; the holder and the audit are told.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Show who commands an instrument and who waits; or take, wait for, give or break the lease.

    What is taken is held until Ctrl-C, which gives it back. `break` blanks the beam and halts the scan first, and
    tells whoever held it who took it and why; `beamloop stop` needs no lease at all.

    Example: beamloop lease localhost:7440

    Example: beamloop lease localhost:7440 take --purpose "aligning by hand"

    Example: beamloop lease localhost:7440 give --to eva@stem/4711-3f2a9c

    Example: beamloop lease localhost:7440 break --reason "vacuum alarm, nobody answers"
    """
    if word is Word.give:
        _give(host, to, holder, key, as_json)
        return
    if word is Word.break_ and not (reason or "").strip():
        raise typer.BadParameter("'break' needs --reason; it is told to whoever holds the lease, and kept in the audit")
    with connect(host, key=key) as instrument:
        if word is Word.show:
            _show(instrument, as_json)
        elif word is Word.wait:
            _hold(instrument, queued(instrument, purpose, lambda text: typer.echo(text, err=True)), as_json)
        else:
            _hold(instrument, instrument.take_lease(purpose, reason or ""), as_json)


def _show(instrument: RemoteInstrument, as_json: bool) -> None:
    state = instrument.state()
    if as_json:
        told = state.model_dump(include={"lease", "local", "interrupted"})
        typer.echo(json.dumps({"client": instrument.client, **told}))
    else:
        typer.echo("\n".join(standing(state)))


def _give(host: str, to: str | None, holder: str | None, key: str | None, as_json: bool) -> None:
    if not to:
        raise typer.BadParameter("'give' needs --to CLIENT; `beamloop lease HOST` names who waits")
    with connect(host, key=key) as looking:
        present = looking.state().lease
    if present is None:
        raise LeaseHeld("nobody holds the lease, so there is nothing to give; take it")
    holder = holder or present.holder
    with connect(host, name=holder, key=key) as instrument:
        given = instrument.hand_over(to)
    if as_json:
        typer.echo(given.model_dump_json())
    else:
        typer.echo(
            f"{holder} handed the lease over to {to}, who must take it up within {given.expires_in_s:.1f} s "
            "(who waits in the queue does so by itself)"
        )


def _hold(instrument: RemoteInstrument, held: LeaseInfo, as_json: bool) -> None:
    """Keep the lease until Ctrl-C.

    Raises
    ------
    BeamloopError
        What ended the lease before that.
    """
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    if as_json:
        print(held.model_dump_json(), flush=True)
    else:
        how = f" ({held.how})" if held.how else ""
        typer.echo(f"the lease is held as {instrument.client}{how}; Ctrl-C gives it back")
    while not over.wait(0.2):
        lost = instrument.lease_lost()
        if isinstance(lost, LeaseHeld):
            raise lost
    if not as_json:
        typer.echo("given back")
