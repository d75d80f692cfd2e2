"""An instrument that belongs to this process: started as a child, ended with it.

Its processes are the same as those of an instrument elsewhere, over loopback and free
ports, so nothing downstream knows the difference.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from ..core import BeamloopError, DriverFailed, InstrumentUnreachable, error_named

READY_WITHIN_S = 90.0
GONE_WITHIN_S = 10.0
TOLD_LINES = 12
"""Lines of the child's last words in an error message."""

_NEW_PROCESS_GROUP = 0x200
"""`subprocess.CREATE_NEW_PROCESS_GROUP`, which only Windows has."""


@contextlib.contextmanager
def embedded(what: str, ready_within_s: float = READY_WITHIN_S) -> Iterator[str]:
    """Start an instrument and give its address; stop it at the end.

    Parameters
    ----------
    what
        `simulator`, `replay:FILE`, or the path of a server configuration.
    ready_within_s
        How long it may take to come up.

    Raises
    ------
    BeamloopError
        If it ended before it was up: the error that it told, or `DriverFailed` with its last words.
    InstrumentUnreachable
        If it was not up in time.
    """
    with tempfile.TemporaryDirectory(prefix="beamloop-") as folder, tempfile.TemporaryFile() as words:
        child = _start(what, folder, words)
        try:
            yield f"127.0.0.1:{_port(child, words, what, ready_within_s)}"
        finally:
            _stop(child)


def _start(what: str, folder: str, words: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "beamloop",
        "serve",
        what,
        "--port",
        "0",
        "--json",
        "--with-parent",
        "--folder",
        folder,
    ]
    # A group of its own: Ctrl-C in the terminal is for this process, which then ends the child in order.
    on_windows = sys.platform == "win32"
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        start_new_session=not on_windows,
        creationflags=_NEW_PROCESS_GROUP if on_windows else 0,
    )


def _port(child: subprocess.Popen[bytes], words: IO[bytes], what: str, within_s: float) -> int:
    assert child.stdout is not None
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # The thread reads on after the first line, so the child can never block on a full pipe.
    threading.Thread(target=_pass_on, args=(child.stdout, lines), name="instrument output", daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=within_s)
        except queue.Empty:
            raise InstrumentUnreachable(
                f"instrument {what!r} was not up within {within_s:g} s; it says:\n{_last(words)}"
            ) from None
        if not line:
            child.wait(GONE_WITHIN_S)
            raise _refusal(what, child.returncode, _last(words))
        with contextlib.suppress(json.JSONDecodeError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("ready"):
                return int(said["port"])


def _refusal(what: str, status: int, last: str) -> BeamloopError:
    """Return the error that the child told in its last line, or one with all its last words."""
    name, _, message = last.rpartition("\n")[2].partition(": ")
    kind = error_named(name)
    if kind is BeamloopError:
        return DriverFailed(f"instrument {what!r} ended with status {status}:\n{last}")
    return kind(f"instrument {what!r} did not start: {message}")


def _pass_on(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _last(words: IO[bytes]) -> str:
    words.seek(0)
    said = words.read().decode(errors="replace").strip().splitlines()
    return "\n".join(said[-TOLD_LINES:]) or "nothing"


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
        for end in (child.terminate, child.kill):
            try:
                child.wait(GONE_WITHIN_S)
                break
            except subprocess.TimeoutExpired:
                end()
    child.wait(GONE_WITHIN_S)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
