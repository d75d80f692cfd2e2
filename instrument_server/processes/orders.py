"""How a child process learns its task, and that its parent is gone.

The server writes one line of JSON to the child's standard input and keeps the pipe open; the
pipe closes when the server ends, however it ends, on every operating system.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from ...core import Frozen

Orders = TypeVar("Orders", bound=Frozen)


def take_orders(kind: type[Orders]) -> tuple[Orders, threading.Event]:
    """Return this child's orders and an event that is set when the server is gone.

    Ctrl-C in a terminal and a service manager's terminate reach the whole process group; the
    server decides in which order to close, so a child ignores both.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orders = kind.model_validate_json(sys.stdin.buffer.readline())
    gone = threading.Event()
    when_parent_leaves(gone.set)
    return orders, gone


def when_parent_leaves(leave: Callable[[], None]) -> None:
    """Call `leave`, once and from another thread, when the other end of standard input is closed."""

    def watch() -> None:
        # os.read, because a thread inside sys.stdin.read() blocks the interpreter's own exit.
        while os.read(sys.stdin.fileno(), 64):
            continue
        leave()

    threading.Thread(target=watch, daemon=True, name="orders").start()
