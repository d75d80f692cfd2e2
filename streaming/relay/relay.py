"""The relay itself: greets connections, rings instruments, joins callers to them.

It runs anywhere both sides can reach. It forwards ciphertext, holds no keys and stores nothing; when
it dies, leases run out and beams are blanked at the instruments, whose own guards need it for nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable

from ...core import RelayRefused, WireInvalid
from .joined import CHUNK_BYTES, Connection, hang_up, join, prompt
from .meeting import Meeting
from .words import VERSION, Answer, Arrive, Ask, Call, Ring, Told, Word, heard, spoken

FIRST_WORD_S = 5.0
TICK_S = 1.0
MOST_CONNECTIONS = 1024
LOG = logging.getLogger(__name__)


class Relay:
    """A meeting place at one address; lives in one event loop.

    Parameters
    ----------
    clock
        Monotonic seconds.

    Attributes
    ----------
    forwarded_bytes
        What was passed on, both ways together, of joined calls that are over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meeting = Meeting()
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._joined: dict[int, asyncio.Future[Connection]] = {}
        self.forwarded_bytes = 0

    async def serve(self, host: str, port: int, ready: Callable[[int], None]) -> None:
        """Listen until cancelled; `ready` is told the real port.

        Raises
        ------
        OSError
            If the address cannot be listened at.
        """
        server = await asyncio.start_server(self._welcome, host, port, limit=CHUNK_BYTES, backlog=512)
        async with server:
            ready(server.sockets[0].getsockname()[1])
            while True:
                await asyncio.sleep(TICK_S)
                for number in self._meeting.overdue(self._clock()):
                    self._close(number)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[number] = (reader, writer)
        prompt(writer)
        try:
            async with asyncio.timeout(FIRST_WORD_S):
                word = heard(await reader.readline())
            await self._attend(number, word)
        except RelayRefused as refusal:
            await _tell(writer, Told(error=str(refusal)))
        except (WireInvalid, ValueError, TimeoutError, ConnectionError) as error:
            LOG.info("connection %d ended: %s", number, error or type(error).__name__)
        except asyncio.CancelledError:
            # The relay closes; asyncio before 3.12 complains of a callback that was cancelled.
            return
        finally:
            self._close(number)

    async def _attend(self, number: int, word: Word) -> None:
        reader, writer = self._connections[number]
        if getattr(word, "version", VERSION) != VERSION:
            raise RelayRefused(f"this relay speaks version {VERSION}; install the same beamloop on both sides")
        match word:
            case Arrive():
                await self._seat(number, word)
            case Ask():
                self._meeting.ask(word.name)
                await _tell(writer, Told(name=word.name))
            case Call():
                await self._put_through(number, word)
            case Answer():
                caller = self._meeting.answer(number, word.call, word.ticket)
                await _tell(writer, Told())
                self._joined[caller].set_result((reader, writer))
                # The caller's side passes the bytes; this side only waits for the end.
                await writer.wait_closed()
            case _:
                raise WireInvalid(f"{word.kind!r} is the relay's own word")

    async def _seat(self, number: int, word: Arrive) -> None:
        reader, writer = self._connections[number]
        name, closed = self._meeting.arrive(number, word.ticket, self._clock())
        for other in closed:
            self._close(other)
        LOG.info("instrument %s is here", name)
        await _tell(writer, Told(name=name))
        while await reader.readline():
            self._meeting.alive(number, self._clock())
            writer.write(b"\n")
            await writer.drain()
        LOG.info("instrument %s left", name)

    async def _put_through(self, number: int, word: Call) -> None:
        ringing = self._meeting.call(number, word.name, word.line, self._clock())
        joined = self._joined[number] = asyncio.get_running_loop().create_future()
        seat = self._connections[ringing.seat][1]
        seat.write(spoken(Ring(call=ringing.call, line=ringing.line)))
        try:
            instrument = await joined
        finally:
            self._joined.pop(number, None)
        await _tell(self._connections[number][1], Told(name=word.name))
        self.forwarded_bytes += sum(await join(self._connections[number], instrument))

    def _close(self, number: int) -> None:
        """Close a connection and those that depend on it; a waiting caller is told why by its own task."""
        waiting = self._joined.get(number)
        if waiting is not None:
            if not waiting.done():
                waiting.set_exception(RelayRefused("the instrument did not take the call; it may be cut off or busy"))
            return
        connection = self._connections.pop(number, None)
        if connection is not None:
            hang_up(connection[1])
        for other in self._meeting.leave(number):
            self._close(other)


async def _tell(writer: asyncio.StreamWriter, told: Told) -> None:
    writer.write(spoken(told))
    await writer.drain()
