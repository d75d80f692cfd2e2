"""The server's line to the driver: one command at a time, every wait bounded.

Commands leave from whichever thread holds the desk; one thread of the link's own receives
answers and ends of scans. A driver that hangs costs a time-out, never a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import Any, Protocol

import zmq

from ..core import DriverFailed, DriverSilent, error_named
from .processes.post import LOOPBACK, pack, unpack

POLL_MS = 50
LOOK_S = 0.1
"""How often a waiter looks whether the driver still lives."""


class Living(Protocol):
    """What the link needs of the driver's process, or of the thread that stands for one."""

    def poll(self) -> int | None:
        """Return None while it runs."""
        ...


class DriverLink:
    """Speaks with one driver process.

    Parameters
    ----------
    context
        The server's ZeroMQ context.
    ended
        Called from the link's thread with the driver's message when a scan has ended.
    told
        Called from it with facts that the driver tells while a scan runs.
    """

    def __init__(
        self, context: zmq.Context, ended: Callable[[Mapping[str, Any]], None],
        told: Callable[[Mapping[str, Any]], None],
    ) -> None:  # fmt: skip
        self._ended, self._told = ended, told
        self._commands, self._events = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        self._commands.linger = 0
        self._commands.bind(LOOPBACK)
        self._events.bind(LOOPBACK)
        self.commands_endpoint = self._commands.getsockopt_string(zmq.LAST_ENDPOINT)
        self.events_endpoint = self._events.getsockopt_string(zmq.LAST_ENDPOINT)
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._ready: Future[dict[str, Any]] = Future()
        self._process: Living | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="driver-link")
        self._thread.start()

    def ready(self, process: Living, timeout_s: float) -> dict[str, Any]:
        """Wait until the driver in this process has made its instrument; return its description.

        Raises
        ------
        BeamloopError
            What the plugin refused with.
        DriverFailed
            If the driver died, or was not ready in time.
        """
        self._process = process
        return self._wait(self._ready, timeout_s, "its instrument was not ready")

    def alive(self) -> bool:
        """Tell whether the driver's process is running."""
        return self._process is not None and self._process.poll() is None

    def ask(self, verb: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        """Send one command and wait for its answer.

        Raises
        ------
        BeamloopError
            What the driver refused with.
        DriverSilent
            If no answer came in time; whether the command was carried out is not known.
        """
        answer: Future[dict[str, Any]] = Future()
        number = self._send(verb, arguments, answer)
        try:
            message = self._wait(answer, timeout_s, f"{verb!r} was not answered; whether it was done is not known")
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            raise error_named(message["error"])(message["message"])
        return message["value"]

    def tell(self, verb: str, **arguments: object) -> None:
        """Send one command and do not wait; it is done after those before it, or never if the driver is gone."""
        with suppress(DriverFailed):
            self._send(verb, arguments, None)

    def _send(self, verb: str, arguments: Mapping[str, object], answer: Future[dict[str, Any]] | None) -> int:
        with self._lock:
            self._number += 1
            if answer is not None:
                self._waiting[self._number] = answer
            try:
                self._commands.send(pack({"number": self._number, "verb": verb, **arguments}), zmq.NOBLOCK)
            except zmq.Again:
                raise DriverFailed(f"no driver process takes {verb!r}; restart the server") from None
            return self._number

    def _wait(self, answer: Future[dict[str, Any]], timeout_s: float, lacking: str) -> dict[str, Any]:
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            try:
                return answer.result(LOOK_S)
            except NotInTime:
                if not self.alive():
                    raise DriverFailed(f"the driver process has ended: {lacking}. Restart the server") from None
        raise DriverSilent(f"the driver has been silent for {timeout_s:g} s: {lacking}")

    def dismiss(self) -> None:
        """Ask the driver to close its instrument and leave; do not wait for it."""
        self.tell("close")

    def close(self) -> None:
        """End the link's thread and close its sockets."""
        self._closed.set()
        self._thread.join()
        self._commands.close()
        self._events.close()

    def _receive(self) -> None:
        while not self._closed.is_set():
            if self._events.poll(POLL_MS):
                self._sort(unpack(self._events.recv()))

    def _sort(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._ready.set_result(message)
        elif "failed" in message:
            self._ready.set_exception(error_named(message["failed"])(message["message"]))
        elif "ended" in message:
            self._ended(message)
        elif "told" in message:
            self._told(message["told"])
        else:
            waiting = self._waiting.get(message["number"])
            if waiting is not None:
                waiting.set_result(message)
