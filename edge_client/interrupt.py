"""Ctrl-C during a run: the first ends it in order, the second aborts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(ask_to_stop: Callable[[str], None]) -> Iterator[None]:
    """Call `ask_to_stop` with a reason on the first Ctrl-C; raise KeyboardInterrupt on the second.

    Outside the main thread signals cannot be taken, and nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        ask_to_stop("Ctrl-C" if number == signal.SIGINT else "the process was asked to end")

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
