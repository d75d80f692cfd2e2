"""The private line from server or driver to the guard: short questions, short waits.

Any thread may speak; a lock keeps one question on the line at a time. A guard that is late on a
busy machine is not a dead one: it counts as silent when its process has ended, or when nothing
was heard of it for as long as the beam may stay open unrenewed, which it tells with every answer. So a
question waits until then, and no longer: whoever must blank in its place still does so in time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import zmq

from ..processes.post import pack, unpack

ANSWER_S = 0.25
"""How long an answer is waited for at least, by a process that was itself late to ask."""

GRACE_S = 0.03
"""How long an answer is waited for at least while an open beam's permission is about to run out."""

SILENCE_S = 1.0
"""How long after its last answer a guard that lives counts as late, not as silent."""

LOOK_MS = 20
"""How often a waiter looks whether the guard still lives."""


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
    alive
        Tells whether the guard's process runs, as far as this side can know.
    """

    def __init__(
        self, context: zmq.Context, endpoint: str, token: str, who: Literal["server", "driver"],
        alive: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._token, self._who, self._alive = token, who, alive
        self._lock = threading.Lock()
        self._heard_s = self._open_until_s = time.monotonic()
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.sndtimeo = round(1e3 * ANSWER_S)
        # A lost answer must not block the next question, nor be taken for its answer.
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)
        self._socket.setsockopt(zmq.REQ_CORRELATE, 1)
        self._socket.connect(endpoint)

    def say(
        self, act: Literal["beat", "begin", "reopen", "move", "close", "halt", "word", "arm"], **facts: object
    ) -> dict[str, Any] | None:
        """Send one message; return the guard's answer, or None if it is silent.

        What asks for beam or motion carries the time until which somebody waits here; a guard that
        hears of it later must not begin it. Question and answer carry when they were said, and count from then:
        either side may be held up before it hears them.
        """
        said_s = time.monotonic()
        with self._lock:
            # An open beam must be dark soon after its permission has run out, whoever was late. Of a permission that
            # ended before this question nothing follows: another may have been given since.
            now_s = time.monotonic()
            if now_s < self._open_until_s:
                until_s = max(now_s + GRACE_S, min(self._open_until_s, self._heard_s + SILENCE_S))
            else:
                until_s = max(now_s + ANSWER_S, self._heard_s + SILENCE_S)
            carried = {"token": self._token, "who": self._who, "said_s": said_s, "before_s": until_s}
            try:
                self._socket.send(pack({**carried, "act": act, **facts}))
            except zmq.Again:
                return None
            while not self._socket.poll(min(LOOK_MS, max(1, round(1e3 * (until_s - time.monotonic()))))):
                if time.monotonic() >= until_s or not self._alive():
                    return None
            answer = unpack(self._socket.recv())
            self._heard_s = float(answer.get("said_s", self._heard_s))
            self._open_until_s = float(answer.get("until_s") or -math.inf)
            return answer
