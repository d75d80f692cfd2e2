"""Makes an instrument reachable through a relay: a process of its own that dials out and leads callers in.

A process of its own because nothing at the instrument may wait for a network that somebody else
runs; when it hangs or dies, only those who came through the relay are cut off, and their leases run out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core import Frozen, SettingsInvalid
from ..core.control import FRAMES_OFFSET, GUARD_OFFSET
from ..streaming.relay.answering import answer_calls
from ..streaming.relay.dialling import RelayAddress, relay_address
from ..streaming.relay.words import Line, name_of
from .processes.children import child
from .processes.orders import take_orders

TICKET = "relay-ticket"


class DialOrders(Frozen):
    """What the process is told when it starts, as one line of JSON on its standard input."""

    relay: str
    ticket: str
    port: int


@contextmanager
def reachable(relay: str, port: int, folder: Path, told: Callable[[str], None]) -> Iterator[RelayAddress]:
    """Keep a place at a relay until the context is left; yield the address that clients name.

    Parameters
    ----------
    relay
        `HOST` or `HOST:PORT` of the relay.
    port
        Control port of this instrument; frames and guard follow.
    folder
        Keeps the ticket, so that the instrument has the same name tomorrow, and the process's complaints.
    told
        Hears one sentence whenever the place is taken or lost; from another thread.

    Raises
    ------
    SettingsInvalid
        If `relay` is no address, or names an instrument.
    """
    where, ticket = relay_address(relay), _ticket(folder / TICKET)
    if where.name:
        raise SettingsInvalid(f"relay = {relay!r} names an instrument; give HOST or HOST:PORT: its ticket names it")
    orders = DialOrders(relay=relay, ticket=ticket, port=port)
    with child("beamloop.instrument_server.dialling_out", orders, folder / "relay.log") as process:
        listening = threading.Thread(target=_listen, args=(process, told), name="relay")
        listening.start()
        try:
            yield where._replace(name=name_of(ticket))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            listening.join()


def _listen(process: subprocess.Popen[str], told: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        told(line.strip())


def _ticket(file: Path) -> str:
    """Return the ticket in a file that only its owner may read; made if missing."""
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as new:
            new.write(secrets.token_hex(32))
    return file.read_text(encoding="ascii").strip()


async def _dial_out(orders: DialOrders, gone: threading.Event) -> None:
    ports: dict[Line, int] = {
        "control": orders.port,
        "frames": orders.port + FRAMES_OFFSET,
        "guard": orders.port + GUARD_OFFSET,
    }
    calls = answer_calls(relay_address(orders.relay), orders.ticket, ports, lambda line: print(line, flush=True))
    answering = asyncio.create_task(calls)
    while not gone.is_set():
        await asyncio.sleep(0.1)
    answering.cancel()


def main() -> None:
    """Take the orders from standard input and dial out until it closes."""
    asyncio.run(_dial_out(*take_orders(DialOrders)))


if __name__ == "__main__":
    main()
