"""Who commands an instrument, who waits, and what a newcomer must know, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from ...core import InstrumentState, LeaseInfo


def standing(state: InstrumentState) -> Iterator[str]:
    """Say who holds the lease and how they came to it, who waits, whether the switch is on, what was proved."""
    if state.local is not None:
        control = state.local
        admitted = f"; {control.admits} may command" if control.admits else ""
        yield f"LOCAL CONTROL since {control.since} by {control.by}: {control.reason}{admitted}"
        yield "  remotes may look and stop; it ends with `beamloop local off` at the instrument"
    yield from _lease(state.lease)
    if state.proof is not None:
        holds = "" if state.proof.counts else "; made again before the next exposure" if state.proof.passed else ""
        yield f"last proof, {state.proof.at}: {state.proof}{holds}"
    for interruption in state.interrupted:
        yield f"INTERRUPTED: {interruption.in_words()}"


def _lease(lease: LeaseInfo | None) -> Iterator[str]:
    if lease is None:
        yield "lease: nobody holds it"
        return
    left = f"{lease.expires_in_s:.1f} s"
    yield f"lease: {lease.holder} ({lease.purpose or 'no purpose given'}), expires in {left} unless renewed"
    if lease.how:
        yield f"  {lease.how}"
    for place, waiting in enumerate(lease.queue, 1):
        yield f"  {place}. in the queue: {waiting.client} ({waiting.purpose or 'no purpose given'})"
