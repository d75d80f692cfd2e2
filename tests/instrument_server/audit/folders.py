"""Audits to look at: written by the real writer, with a clock that only counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from beamloop.instrument_server.audit import Audit


def counting_clock() -> Callable[[], datetime]:
    """Return a clock that goes on by a second with each look."""
    seconds = itertools.count()
    return lambda: datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=next(seconds))


def noted(folder: Path, lines: int, full: int = 1 << 24) -> Path:
    """Write an audit of the first line and `lines` more into a new folder, and return the folder."""
    folder.mkdir(exist_ok=True)
    audit = Audit(folder / "audit.jsonl", "process", counting_clock(), full)
    for number in range(lines):
        audit.note("done", client="ada", n=number)
    audit.close()
    return folder
