"""Wait for the first line of JSON that a child process says, or tell what it said instead.

A child that begins something says one line when it has begun; if it ends before, the error
that it told in its last line is raised here as its own class.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from typing import IO, Any

from ..core import BeamloopError, DriverFailed, InstrumentUnreachable, error_named

TOLD_LINES = 12
"""Lines of the child's last words in an error message."""

GONE_WITHIN_S = 10.0


def first_word(
    child: subprocess.Popen[bytes], words: IO[bytes], what: str, key: str, within_s: float
) -> dict[str, Any]:
    """Return the first JSON object with this key that a child writes to its standard output.

    Parameters
    ----------
    child
        Its standard output is a pipe.
    words
        The file that takes its standard error.
    what
        What it is, for messages.
    key
        What the line must hold, and be true.
    within_s
        How long it may take.

    Raises
    ------
    BeamloopError
        If it ended before: the error that it told, or `DriverFailed` with its last words.
    InstrumentUnreachable
        If it said nothing in time.
    """
    assert child.stdout is not None
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # The thread reads on after the first line, so the child can never block on a full pipe.
    threading.Thread(target=_pass_on, args=(child.stdout, lines), name="first word", daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=within_s)
        except queue.Empty:
            raise InstrumentUnreachable(f"{what} was not up within {within_s:g} s; it says:\n{_last(words)}") from None
        if not line:
            child.wait(GONE_WITHIN_S)
            raise _refusal(what, child.returncode, _last(words))
        with contextlib.suppress(json.JSONDecodeError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get(key):
                return said


def _refusal(what: str, status: int, last: str) -> BeamloopError:
    """Return the error that the child told in its last line, or one with all its last words."""
    name, _, message = last.rpartition("\n")[2].partition(": ")
    kind = error_named(name)
    if kind is BeamloopError:
        return DriverFailed(f"{what} ended with status {status}:\n{last}")
    return kind(f"{what} did not start: {message}")


def _pass_on(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _last(words: IO[bytes]) -> str:
    words.seek(0)
    said = words.read().decode(errors="replace").strip().splitlines()
    return "\n".join(said[-TOLD_LINES:]) or "nothing"
