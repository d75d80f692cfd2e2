"""What happened to the instrument, one line each: commands, refusals, state changes.

Lines of JSON, appended and flushed before the caller is answered. A restart appends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


def wall_clock() -> datetime:
    """Return the time of day in UTC."""
    return datetime.now(UTC)


class Audit:
    """An append-only file; any thread may note.

    Parameters
    ----------
    file
        The file, made if missing.
    clock
        Gives the time of day.
    """

    def __init__(self, file: Path, clock: Callable[[], datetime] = wall_clock) -> None:
        self._file = file.open("a", encoding="utf-8")
        self._clock = clock
        self._lock = threading.Lock()

    def note(self, event: str, **facts: object) -> None:
        """Append one line: the time, the event and its facts (JSON-like)."""
        with self._lock:
            line = {"time": self._clock().isoformat(), "event": event, **facts}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
