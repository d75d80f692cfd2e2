"""A relay, and an instrument that answers through it, in threads of the test."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from beamloop.streaming.relay.answering import answer_calls
from beamloop.streaming.relay.dialling import RelayAddress
from beamloop.streaming.relay.relay import Relay
from beamloop.streaming.relay.words import Line, name_of

TICKET = "0123456789abcdef0123456789abcdef"


@contextmanager
def running(work: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[asyncio.AbstractEventLoop]:
    """Run a coroutine in a thread until the block is left."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(asyncio.wait([task]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def relay(port: int = 0) -> Iterator[RelayAddress]:
    ready: queue.Queue[int] = queue.Queue()
    with running(lambda: Relay().serve("127.0.0.1", port, ready.put)):
        yield RelayAddress("127.0.0.1", ready.get(timeout=10), name_of(TICKET))


@contextmanager
def answering(where: RelayAddress, ports: dict[Line, int]) -> Iterator[queue.Queue[str]]:
    """Answer calls with the ports, once the place is taken; yield what is told."""
    told: queue.Queue[str] = queue.Queue()
    with running(lambda: answer_calls(where._replace(name=""), TICKET, ports, told.put)):
        assert told.get(timeout=10) == f"reachable as {where}"
        yield told
