"""A TCP proxy between client and instrument that does what networks do: delays, stalls, cuts, goes silent.

It stands before all three ports. On the control port it knows where Pyro's messages begin and end, so it can lose
the reply to the so-many-th command and nothing else. One thread; any thread may change what it does.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from beamloop.instrument_server.processes.ports import free_port

HEADER = struct.Struct("!4sHBBHHIIHH16s")
"""Pyro's message header, as far as the sizes: tag, version, type, serializer, flags, sequence, data, annotations."""

COMMANDS = (b"acquire", b"set", b"arm")
PORTS = ("control", "frames", "guard")


class Road:
    """What is done to one port's connections.

    Attributes
    ----------
    passing
        Set while bytes pass.
    silent
        Whether bytes are swallowed, as by a cable that was pulled.
    delay_s, bytes_per_s
        How long each piece waits, and how much passes.
    """

    def __init__(self) -> None:
        self.passing = asyncio.Event()
        self.passing.set()
        self.silent = self.refusing = False
        self.delay_s, self.bytes_per_s = 0.0, 0.0
        self.writers: set[asyncio.StreamWriter] = set()


class Proxy:
    """The proxy; a context.

    Parameters
    ----------
    target
        Returns the instrument's control port of now.

    Attributes
    ----------
    port
        Control port of the proxy; frames and guard are the next two.
    eaten
        Replies to commands that were lost.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self.port = free_port(0)
        self.roads: dict[str, Road] = {}
        self.eaten = 0
        self._eat_after = -1
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def eat_reply(self, number: int) -> None:
        """Lose the reply to a command, counted from now; its connection ends."""
        self._eat_after = number

    def stall(self, *ports: str) -> None:
        """Let nothing pass, and lose nothing."""
        self._do(lambda road: road.passing.clear(), ports)

    def swallow(self, *ports: str) -> None:
        """Lose every byte, and tell nobody."""
        self._do(lambda road: setattr(road, "silent", True), ports)

    def slow(self, delay_s: float, bytes_per_s: float, *ports: str) -> None:
        """Let every piece wait, and only so many bytes pass in a second; 0 is no bound."""

        def change(road: Road) -> None:
            road.delay_s, road.bytes_per_s = delay_s, bytes_per_s

        self._do(change, ports)

    def cut(self, *ports: str) -> None:
        """End every connection with a reset, and take no others until `heal`."""

        def change(road: Road) -> None:
            road.refusing = True
            for writer in road.writers:
                writer.transport.abort()

        self._do(change, ports)

    def heal(self) -> None:
        """Let everything pass again; connections that lost bytes end, for they cannot go on."""

        def change(road: Road) -> None:
            if road.silent:
                for writer in road.writers:
                    writer.transport.abort()
            road.silent = road.refusing = False
            road.delay_s = road.bytes_per_s = 0.0
            road.passing.set()

        self._eat_after = -1
        self._do(change, PORTS)

    def _do(self, change: Callable[[Road], None], ports: tuple[str, ...]) -> None:
        done = threading.Event()

        def act() -> None:
            for name in ports:
                change(self.roads[name])
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(10), "the proxy hangs"

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        servers = []
        for offset, name in enumerate(PORTS):
            self.roads[name] = Road()
            servers.append(await asyncio.start_server(self._accepting(name, offset), "127.0.0.1", self.port + offset))
        self._ready.set()
        await self._over.wait()
        for server in servers:
            server.close()
        for road in self.roads.values():
            for writer in list(road.writers):
                writer.transport.abort()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _accepting(self, name: str, offset: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            road = self.roads[name]
            if road.refusing:
                writer.transport.abort()
                return
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._target() + offset)
            except OSError:
                writer.transport.abort()
                return
            await self._join(name, (reader, writer), (there, back))

        return accept

    async def _join(
        self, name: str, near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:  # fmt: skip
        road, asked = self.roads[name], [False]
        writers = {near[1], far[1]}
        road.writers |= writers
        forth = self._carry(road, near[0], far[1], lambda data: self._asks(name, data, asked))
        back = self._carry(road, far[0], near[1], lambda data: self._replies(data, asked))
        try:
            tasks = [asyncio.ensure_future(forth), asyncio.ensure_future(back)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            road.writers -= writers
            for writer in writers:
                writer.transport.abort()

    def _asks(self, name: str, data: bytes, asked: list[bool]) -> bool:
        # A command fits into one piece, and its verb stands in it as msgpack writes it.
        if name == "control" and any(b"\xa4verb" + bytes([0xA0 + len(verb)]) + verb in data for verb in COMMANDS):
            asked[0] = True
        return True

    def _replies(self, data: bytes, asked: list[bool]) -> bool:
        """Tell whether a piece may pass; the reply to the chosen command may not."""
        if not asked[0] or self._eat_after < 0:
            return True
        assert HEADER.unpack_from(data)[0] == b"PYRO", "a reply begins where the one before ended"
        asked[0] = False
        self._eat_after -= 1
        self.eaten += self._eat_after < 0
        return self._eat_after >= 0

    async def _carry(
        self, road: Road, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[bytes], bool]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                if not passes(data):
                    return
                await road.passing.wait()
                if road.silent:
                    continue
                wait_s = road.delay_s + (len(data) / road.bytes_per_s if road.bytes_per_s else 0.0)
                if wait_s:
                    await asyncio.sleep(wait_s)
                writer.write(data)
                await writer.drain()
