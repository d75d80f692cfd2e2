"""Look on at a run of another process, through its journal; it does not notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core import Suggestion
from .progress import Onlooker
from .record.events import Acquired, Arrived, Asked, Commanded, Declined, Ended, Event, Interrupted, Intervened, Noted
from .record.journal import Entry, read
from .record.journal_mark import writing_process

LOOK_S = 0.25


def new_entries(journal: Path, pause: Callable[[float], None] = time.sleep) -> Iterator[Entry]:
    """Yield what a journal holds and what is added to it, until nobody writes it any more.

    Raises
    ------
    RecordingUnreadable
        As `journal.read`.
    """
    told, before = 0, None
    while True:
        # Asked first, so that what it writes last is still read.
        is_written = writing_process(journal) is not None
        now = _changed(journal)
        if now != before:
            entries, before = read(journal), now
            yield from entries[told:]
            told = len(entries)
        if not is_written:
            return
        pause(LOOK_S)


def follow(entries: Iterator[Entry], onlooker: Onlooker) -> Ended | None:
    """Tell an onlooker what happens in a run; return how it ended, None if it was cut off."""
    asked: dict[str, Suggestion] = {}
    ended: Ended | None = None
    for entry in entries:
        event = entry.event
        ended = event if isinstance(event, Ended) else ended
        _tell(event, asked, onlooker)
    return ended


def _tell(event: Event, asked: dict[str, Suggestion], onlooker: Onlooker) -> None:
    match event:
        case Commanded():
            asked[event.measurement_id] = event.suggestion
        case Arrived(measurement=measurement):
            onlooker.arrived(asked[measurement.measurement_id], measurement)
        case Declined():
            onlooker.declined(event.outcome, f"{event.error}: {event.message}")
        case Interrupted():
            onlooker.declined("interrupted", event.reason)
        case Intervened():
            onlooker.note(f"{event.word}: {event.reason}")
        case Asked(name=name):
            onlooker.note(f"taking the {name}")
        case Acquired(name=name):
            onlooker.note(f"the {name} has come")
        case Noted(text=text):
            onlooker.note(text)
        case _:
            return


def _changed(journal: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes whenever something is written to a journal."""
    files = (journal, journal.with_name(f"{journal.name}-wal"))
    return tuple((f.stat().st_mtime_ns, f.stat().st_size) if f.exists() else (0, 0) for f in files)
