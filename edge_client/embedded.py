"""An instrument that belongs to this process: started as a child, ended with it.

Its processes are the same as those of an instrument elsewhere, over loopback and free
ports, so nothing downstream knows the difference.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from .first_word import first_word

READY_WITHIN_S = 90.0
GONE_WITHIN_S = 10.0
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
            said = first_word(child, words, f"instrument {what!r}", "ready", ready_within_s)
            yield f"127.0.0.1:{said['port']}"
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
