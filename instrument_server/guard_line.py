"""The private line from server or driver to the guard: short questions, short waits.

Any thread may speak; a lock keeps one question on the line at a time.
"""

from __future__ import annotations

import threading
from typing import Any, Literal

import zmq

from .post import pack, unpack

ANSWER_MS = 250
"""How long the guard may take to answer before it counts as silent."""


class GuardLine:
    """A question-and-answer line to the guard.

    Parameters
    ----------
    context
        The process's ZeroMQ context.
    endpoint
        The guard's private endpoint.
    token
        The secret of this instrument's processes.
    who
        `server` or `driver`.
    """

    def __init__(self, context: zmq.Context, endpoint: str, token: str, who: Literal["server", "driver"]) -> None:
        self._token, self._who = token, who
        self._lock = threading.Lock()
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.sndtimeo = ANSWER_MS
        # A lost answer must not block the next question, nor be taken for its answer.
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)
        self._socket.setsockopt(zmq.REQ_CORRELATE, 1)
        self._socket.connect(endpoint)

    def say(self, act: Literal["beat", "begin", "close", "halt", "arm"], **facts: object) -> dict[str, Any] | None:
        """Send one message; return the guard's answer, or None if it stayed silent."""
        with self._lock:
            try:
                self._socket.send(pack({"token": self._token, "who": self._who, "act": act, **facts}))
            except zmq.Again:
                return None
            if not self._socket.poll(ANSWER_MS):
                return None
            return unpack(self._socket.recv())
