"""The instrument's side of a relay: keeps a place there, and takes the calls that come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress

from ...core import BeamloopError, WireInvalid
from .dialling import DIAL_S, RelayAddress, dialled
from .joined import CHUNK_BYTES, Connection, hang_up, join
from .words import LIFE_S, Answer, Arrive, Line, Ring, heard

AGAIN_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before the relay is dialled again, the last for good."""


async def answer_calls(
    relay: RelayAddress, ticket: str, ports: Mapping[Line, int], told: Callable[[str], None]
) -> None:
    """Keep a place at a relay until cancelled, and lead each caller to a port of this computer.

    Parameters
    ----------
    relay
        Where to dial out to.
    ticket
        What proves that this is the same instrument as before.
    ports
        Local port of each line.
    told
        Hears one sentence whenever the place is taken or lost.
    """
    calls: set[asyncio.Task[None]] = set()
    try:
        await _keep_place(relay, ticket, lambda ring: _begin(calls, _take(relay, ticket, ring, ports)), told)
    finally:
        for call in calls:
            call.cancel()


async def _keep_place(
    relay: RelayAddress, ticket: str, take: Callable[[Ring], None], told: Callable[[str], None]
) -> None:
    failures = 0
    while True:
        try:
            async with dialled(relay, Arrive(ticket=ticket)) as (connection, reply):
                failures = 0
                told(f"reachable as {relay._replace(name=reply.name)}")
                await _listen(connection, take)
            told(f"the relay at {relay} hung up; dialling again")
        except (BeamloopError, TimeoutError, ConnectionError, ValueError) as error:
            told(f"not reachable through {relay}: {error or 'it fell silent'}; dialling again")
        await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
        failures += 1


async def _listen(connection: Connection, take: Callable[[Ring], None]) -> None:
    """Take calls until the relay hangs up. Lines that are open outlive the place; they end when they break."""
    reader, writer = connection
    living = asyncio.create_task(_live(writer))
    try:
        while True:
            async with asyncio.timeout(3 * LIFE_S):
                line = await reader.readline()
            if not line:
                return
            if line.strip():
                ring = heard(line)
                if not isinstance(ring, Ring):
                    raise WireInvalid(f"a relay rings; this one said {ring.kind!r}")
                take(ring)
    finally:
        living.cancel()


async def _live(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\n")
        await writer.drain()
        await asyncio.sleep(LIFE_S)


def _begin(calls: set[asyncio.Task[None]], call: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(call)
    calls.add(task)
    task.add_done_callback(calls.discard)


async def _take(relay: RelayAddress, ticket: str, ring: Ring, ports: Mapping[Line, int]) -> None:
    """Join one call to a local port; a call that cannot be taken runs out at the relay."""
    with suppress(BeamloopError, OSError, TimeoutError):
        async with asyncio.timeout(DIAL_S):
            here = await asyncio.open_connection("127.0.0.1", ports[ring.line], limit=CHUNK_BYTES)
        try:
            async with dialled(relay, Answer(call=ring.call, ticket=ticket)) as (there, _):
                await join(here, there)
        finally:
            hang_up(here[1])
