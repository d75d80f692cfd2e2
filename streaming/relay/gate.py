"""The client's side of a relay: three neighbouring local ports that lead to an instrument far away.

Everything downstream connects to this computer and does not know the difference; what passes is
encrypted by the lines themselves, end to end. A stop said here travels through the relay: the instrument's own
stop and the ends of its leases do not depend on it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import get_args

from ...core import BeamloopError, InstrumentUnreachable
from ...core.closing import Closing
from .dialling import RelayAddress, dialled
from .joined import CHUNK_BYTES, hang_up, join
from .words import Ask, Call, Line

TRIES = 50


class Gate(Closing):
    """Local ports of an instrument at a relay; a thread of its own passes the bytes.

    Parameters
    ----------
    relay
        Where the relay is and which instrument is meant.

    Attributes
    ----------
    port
        First of three neighbouring ports on 127.0.0.1: control, frames, guard.

    Raises
    ------
    InstrumentUnreachable
        If the relay does not answer.
    RelayRefused
        If the instrument is not there.
    """

    def __init__(self, relay: RelayAddress) -> None:
        self._relay = relay
        listeners = _neighbours(len(get_args(Line)))
        self.port: int = listeners[0].getsockname()[1]
        self._ready: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(listeners,), name=f"gate {relay}", daemon=True)
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """Close every line; may be repeated."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self, listeners: Sequence[socket.socket]) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listeners))

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        lines = dict(zip(get_args(Line), listeners, strict=True))
        try:
            async with dialled(self._relay, Ask(name=self._relay.name)):
                pass
            servers = [
                await asyncio.start_server(self._leading(line), sock=listener, limit=CHUNK_BYTES)
                for line, listener in lines.items()
            ]
        except BaseException as error:
            for listener in listeners:
                listener.close()
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        await self._over.wait()
        for server in servers:
            server.close()

    def _leading(self, line: Line):
        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A caller that is hung up on tries again or tells its user; the relay may be back by then. That
            # the loop ends is no error either, and asyncio before 3.12 complains of a callback that was cancelled.
            with suppress(BeamloopError, asyncio.CancelledError):
                async with dialled(self._relay, Call(name=self._relay.name, line=line)) as (there, _):
                    await join((reader, writer), there)
            hang_up(writer)

        return lead


def _neighbours(count: int) -> list[socket.socket]:
    """Return listening-to-be sockets on neighbouring free ports of 127.0.0.1."""
    for _ in range(TRIES):
        with ExitStack() as taken:
            bound: list[socket.socket] = []
            with suppress(OSError, OverflowError):
                for _ in range(count):
                    port = bound[-1].getsockname()[1] + 1 if bound else 0
                    listener = taken.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                    listener.bind(("127.0.0.1", port))
                    bound.append(listener)
                taken.pop_all()
                return bound
    raise InstrumentUnreachable(f"no {count} neighbouring free ports on 127.0.0.1; close what uses them")
