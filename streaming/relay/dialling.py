"""Dials out to a relay and says the first word: what instrument and client have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from ...core import InstrumentUnreachable, RelayRefused, SettingsInvalid, WireInvalid
from .joined import CHUNK_BYTES, Connection, hang_up, prompt
from .words import PORT, Told, Word, heard, spoken

SCHEME = "relay://"
DIAL_S = 10.0
"""How long a relay may take to answer a first word; a call must reach the instrument meanwhile."""


class RelayAddress(NamedTuple):
    """Where a relay is, and which instrument is meant there; an instrument's own name for it may be empty."""

    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}:{self.port}" + (f"/{self.name}" if self.name else "")


def relay_address(text: str) -> RelayAddress:
    """Return the address that `[relay://]HOST[:PORT][/NAME]` says.

    >>> relay_address("relay://meet.example.org/6b7d")
    RelayAddress(host='meet.example.org', port=7450, name='6b7d')

    Raises
    ------
    SettingsInvalid
        If it says none.
    """
    where, _, name = text.removeprefix(SCHEME).partition("/")
    host, colon, port = where.rpartition(":")
    if not colon:
        host, port = where, str(PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536 or "/" in name:
        raise SettingsInvalid(
            f"{text!r} is no address at a relay; give {SCHEME}HOST[:PORT]/NAME, as the server shows it"
        )
    return RelayAddress(host, int(port), name)


@asynccontextmanager
async def dialled(relay: RelayAddress, word: Word) -> AsyncIterator[tuple[Connection, Told]]:
    """Connect, say the first word, and give the connection with the relay's reply; hung up at the end.

    Raises
    ------
    InstrumentUnreachable
        If the relay does not answer.
    RelayRefused
        If it says no.
    """
    reader, writer = await _connected(relay)
    try:
        prompt(writer)
        yield (reader, writer), await _reply(relay, reader, writer, word)
    finally:
        hang_up(writer)


async def _connected(relay: RelayAddress) -> Connection:
    try:
        async with asyncio.timeout(DIAL_S):
            return await asyncio.open_connection(relay.host, relay.port, limit=CHUNK_BYTES)
    except (OSError, TimeoutError) as error:
        raise InstrumentUnreachable(
            f"no relay answers at {relay.host}:{relay.port} ({error or 'time-out'}); is `beamloop relay` running there?"
        ) from None


async def _reply(relay: RelayAddress, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: Word) -> Told:
    try:
        writer.write(spoken(word))
        async with asyncio.timeout(DIAL_S + 1):
            reply = heard(await reader.readline())
    except (WireInvalid, ValueError, ConnectionError, TimeoutError) as error:
        what = f"what answers at {relay.host}:{relay.port} is no relay of this version, or it was cut off"
        raise InstrumentUnreachable(f"{what}: {error or 'time-out'}") from None
    if not isinstance(reply, Told) or reply.error:
        raise RelayRefused(f"{relay}: {getattr(reply, 'error', 'an unexpected word')}")
    return reply
