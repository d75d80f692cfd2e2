"""Standing in the queue for the lease at a terminal: every change is a line, Ctrl-C leaves the queue."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ...core import LeaseInfo
from ..instrument import RemoteInstrument


def queued(instrument: RemoteInstrument, purpose: str, say: Callable[[str], None]) -> LeaseInfo:
    """Wait until the lease is ours and return it; it is kept then.

    Raises
    ------
    typer.Exit
        With status 130, after Ctrl-C.
    """

    def waiting(lease: LeaseInfo, place: int) -> None:
        say(
            f"waiting for the lease, place {place} in the queue; {lease.holder} holds it "
            f"({lease.purpose or 'no purpose given'}). Ctrl-C leaves the queue"
        )

    try:
        return instrument.wait_for_lease(purpose, waiting=waiting)
    except KeyboardInterrupt:
        say("left the queue; nothing was begun")
        raise typer.Exit(130) from None


def refuse_to_wait_detached(wait: bool, detach: bool) -> None:
    """Raise if a run is to wait where nobody can see it wait.

    Raises
    ------
    typer.BadParameter
        If both are asked for.
    """
    if wait and detach:
        raise typer.BadParameter(
            "--wait-for-lease and --detach were both given; wait in this terminal, or give --detach once it is free"
        )
