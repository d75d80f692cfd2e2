"""What a child process tells its server about those it turned away: a line of JSON on its standard output.

The guard must not wait for a server that does not listen, so lines leave from a thread of their own,
and those that nobody takes are dropped. What else a child prints, as a vendor's library may, goes
into its log.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MOST_WAITING = 256
_MARK = '{"turned away": '


class WordHome:
    """The child's side; any thread may tell, and none waits."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[str] = queue.Queue(MOST_WAITING)
        threading.Thread(target=self._write, name="word home", daemon=True).start()

    def tell(self, peer: str, reason: str) -> None:
        """Tell the server that a peer was refused, and why."""
        with suppress(queue.Full):
            self._waiting.put_nowait(json.dumps({"turned away": [peer, reason]}))

    def _write(self) -> None:
        # A server that is gone takes nothing; the child ends with it.
        with suppress(OSError):
            while True:
                print(self._waiting.get(), flush=True)


def hear(process: subprocess.Popen[str], log: Path, turned_away: Callable[[str, str], None]) -> None:
    """Hear a child, from a thread of its own, until the last process that holds its standard output ends."""
    assert process.stdout is not None
    # A line of its own: whoever closes the process's must not wait for a grandchild that still holds the pipe.
    lines = os.fdopen(os.dup(process.stdout.fileno()), encoding="utf-8", errors="replace")

    def listen() -> None:
        with lines, log.open("a") as written:
            for line in lines:
                if line.startswith(_MARK):
                    turned_away(*json.loads(line)["turned away"])
                else:
                    written.write(line)
                    written.flush()

    threading.Thread(target=listen, name=f"word of {process.pid}", daemon=True).start()
