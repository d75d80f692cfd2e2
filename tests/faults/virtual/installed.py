"""Let the programs of beamloop run in a virtual world: their clocks, threads, sockets and children are the world's.

Nothing of them is changed but the names through which they reach the operating system, in each module and in the
defaults of each function; afterwards all is as before.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import importlib
import pkgutil
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import zmq

import beamloop.edge_client.connection
import beamloop.instrument_server
import beamloop.streaming
from beamloop.core import registry
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.control_stream import wants_key
from beamloop.instrument_server import face
from beamloop.instrument_server.guard import process as guard_process
from beamloop.instrument_server.processes import children, orders, ports, word_home

from . import threads
from .calls import Faces
from .hub import Hub, current_task
from .sockets import Net, as_zmq

WORLDLY = ("beamloop.instrument_server", "beamloop.streaming", "beamloop.edge_client.connection")
ALSO = ("beamloop.edge_client.instrument", "beamloop.simulators.faults")

COMPUTING = ("beamloop.streaming.files", "beamloop.streaming.reduce")
"""What reads files and computes meets no clock and no socket."""


def modules() -> list[ModuleType]:
    """Return every module that runs in the world."""
    for package in (beamloop.instrument_server, beamloop.streaming, beamloop.edge_client.connection):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(COMPUTING):
                importlib.import_module(found.name)
    for name in ALSO:
        importlib.import_module(name)
    chosen = [m for name, m in sys.modules.items() if name.startswith(WORLDLY) or name in ALSO]
    return [m for m in chosen if not m.__name__.startswith(COMPUTING)]


def stand_ins(world: Hub, net: Net, faces: Faces, places: Mapping[Any, Any]) -> dict[int, tuple[Any, Any]]:
    """Return what takes the place of what, by the identity of the real thing."""
    clock = threads.Clock(world)
    pairs = [
        (threading, threads.THREADING), (queue, threads.QUEUE), (time, clock.as_time()),
        (time.monotonic, clock.monotonic), (time.perf_counter, clock.monotonic), (time.sleep, clock.sleep),
        (secrets, clock.as_secrets()), (datetime.datetime, clock.as_datetime()), (zmq, as_zmq(net)),
        (concurrent.futures.Future, threads.Future), (wants_key, lambda address: False),
        *places.items(),
    ]  # fmt: skip
    return {id(real): (real, virtual) for real, virtual in pairs}


@contextmanager
def installed(world: Hub, net: Net, faces: Faces, places: Mapping[Any, Any]) -> Iterator[None]:
    """Let every program started within the block live in this world."""
    table = stand_ins(world, net, faces, places)
    undo: list[tuple[Any, str, Any]] = []
    guard_process.print = says  # type: ignore[attr-defined]
    connected = ControlLine._connected
    ControlLine._connected = lambda line: faces.proxy(line.address.port)  # type: ignore[method-assign]
    for module, name, value in _SITES or _find_sites(table):
        undo.append((module, name, value))
        if isinstance(value, tuple):
            setattr(module, name, tuple(table[id(v)][1] if id(v) in table else v for v in value))
        elif isinstance(value, dict):
            setattr(module, name, {k: table[id(v)][1] if id(v) in table else v for k, v in value.items()})
        else:
            setattr(module, name, table[id(value)][1])
    try:
        yield
    finally:
        for module, name, value in reversed(undo):
            setattr(module, name, value)
        del guard_process.print  # type: ignore[attr-defined]
        ControlLine._connected = connected  # type: ignore[method-assign]


_SITES: list[tuple[Any, str, Any]] = []
"""Where the real things stand; looked for once, because a hundred thousand worlds are made."""


def _find_sites(table: Mapping[int, tuple[Any, Any]]) -> list[tuple[Any, str, Any]]:
    for module in modules():
        for name, value in list(vars(module).items()):
            if id(value) in table and not name.startswith("__"):
                _SITES.append((module, name, value))
        for function in _functions(module):
            if any(id(v) in table for v in function.__defaults__ or ()):
                _SITES.append((function, "__defaults__", function.__defaults__))
            if any(id(v) in table for v in (function.__kwdefaults__ or {}).values()):
                _SITES.append((function, "__kwdefaults__", function.__kwdefaults__))
    return _SITES


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from (v for v in vars(value).values() if isinstance(v, FunctionType))


def says(text: str, flush: bool = False) -> None:
    """Take what a child prints, as its parent reads it."""
    current_task().node.lines.append(text + "\n")


REAL = {
    "child": children.child, "free_port": ports.free_port, "shown": face.shown, "find": registry.find,
    "take_orders": orders.take_orders, "hear": word_home.hear, "Popen": subprocess.Popen,
}  # fmt: skip
"""What `site` gives a virtual place of its own."""
