"""The server's line to the driver: one command at a time, every wait bounded.

Commands leave from whichever thread holds the desk; one thread of the link's own receives
answers and ends of scans. A driver that hangs costs a time-out, never a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

import zmq

from ..core import DriverFailed, error_named
from .post import LOOPBACK, pack, unpack

POLL_MS = 50


class DriverLink:
    """Speaks with one driver process.

    Parameters
    ----------
    context
        The server's ZeroMQ context.
    ended
        Called from the link's thread with the driver's message when a scan has ended.
    """

    def __init__(self, context: zmq.Context, ended: Callable[[Mapping[str, Any]], None]) -> None:
        self._ended = ended
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
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="driver-link")
        self._thread.start()

    def ready(self, timeout_s: float, alive: Callable[[], bool]) -> dict[str, Any]:
        """Wait until the driver has made its instrument; return its description.

        Raises
        ------
        BeamloopError
            What the plugin refused with.
        DriverFailed
            If the driver died, or was not ready in time.
        """
        waited_s = 0.0
        while waited_s < timeout_s:
            try:
                return self._ready.result(0.1)
            except NotInTime:
                waited_s += 0.1
            if not alive():
                raise DriverFailed("the driver process ended before its instrument was ready; its words are above")
        raise DriverFailed(f"the driver's instrument was not ready within {timeout_s:g} s")

    def ask(self, verb: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        """Send one command and wait for its answer.

        Raises
        ------
        BeamloopError
            What the driver refused with.
        DriverFailed
            If no answer came in time; whether the command was carried out is not known.
        """
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = answer
            self._commands.send(pack({"number": number, "verb": verb, **arguments}))
        try:
            message = answer.result(timeout_s)
        except NotInTime:
            raise DriverFailed(
                f"the driver did not answer {verb!r} within {timeout_s:g} s; whether it was done is not known"
            ) from None
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            raise error_named(message["error"])(message["message"])
        return message["value"]

    def dismiss(self) -> None:
        """Ask the driver to close its instrument and leave; do not wait for it."""
        with self._lock:
            self._commands.send(pack({"number": 0, "verb": "close"}))

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
        else:
            waiting = self._waiting.get(message["number"])
            if waiting is not None:
                waiting.set_result(message)
