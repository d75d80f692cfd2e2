"""Passes bytes between two connections, both ways, until either ends; holds a bounded amount of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket

CHUNK_BYTES = 2**16
"""Read at once; a connection holds at most four times as much."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(left: Connection, right: Connection) -> tuple[int, int]:
    """Pass bytes both ways until both sides are done, or one breaks; close both; return the bytes each sent."""
    for _, writer in (left, right):
        prompt(writer)
    ways = [asyncio.create_task(_pour(left[0], right[1])), asyncio.create_task(_pour(right[0], left[1]))]
    try:
        sent = await asyncio.gather(*ways)
        return sent[0], sent[1]
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (left, right):
            hang_up(writer)


def prompt(writer: asyncio.StreamWriter) -> None:
    """Send small messages at once, and let the operating system notice a peer that vanished."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection now; what could not be sent is dropped, as when a cable is pulled."""
    if not writer.is_closing():
        writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    sent = 0
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
            sent += len(data)
    # One way being done ends the other too: no line of ours is used in one direction only.
    hang_up(writer)
    return sent
