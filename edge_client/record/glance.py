"""What a list of runs says of each, without reading whole journals.

Nothing is checked here: whoever wants to rely on a journal reads it with `journal.read`.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .journal_mark import writing_process
from .journal_rows import is_still, reading
from .run_folder import RunFolder

State = Literal["running", "finished", "stopped", "failed", "interrupted", "unreadable"]

_LAST = "SELECT kind, data FROM events WHERE kind IN ('ended', 'resumed') ORDER BY seq DESC LIMIT 1"
_MEASURED = "SELECT count(*), max(json_extract(data, '$.measurement.value')) FROM events WHERE kind = 'arrived'"
_OPENED = "SELECT data FROM events WHERE kind = 'opened' LIMIT 1"


@dataclass(frozen=True, slots=True)
class Glance:
    """One run at a glance.

    Attributes
    ----------
    folder
        Where it lies.
    state
        `running` (a process works on it), how it ended, or `interrupted`: it was cut off and can be resumed.
    process
        Which process works on it; None if none does, 0 if it cannot be told.
    name, started, instrument
        Of the experiment, ISO 8601, and as asked; empty where the journal does not tell.
    measured, best
        How many values, and the largest; None before there is one.
    wanted
        How many were asked for; None where another rule ends the run.
    reason
        Why it ended, or what cannot be read.
    """

    folder: Path
    state: State
    process: int | None = None
    name: str = ""
    started: str = ""
    instrument: str = ""
    measured: int = 0
    best: float | None = None
    wanted: int | None = None
    reason: str = ""


def runs_below(parent: Path) -> list[Glance]:
    """Return every run below a folder at a glance, the oldest first."""
    return [glance(RunFolder(journal.parent)) for journal in sorted(parent.glob("*/journal.sqlite"))]


def glance(folder: RunFolder) -> Glance:
    """Return one run at a glance."""
    process = writing_process(folder.journal)
    try:
        with reading(folder.journal, is_still(folder.journal)) as rows:
            opened = rows.execute(_OPENED).fetchone()
            measured, best = rows.execute(_MEASURED).fetchone()
            last = rows.execute(_LAST).fetchone()
    except sqlite3.Error as error:
        return Glance(folder.path, "running" if process is not None else "unreadable", process, reason=str(error))
    told = json.loads(opened[0]) if opened else {}
    end = json.loads(last[1]) if last and last[0] == "ended" else {}
    settings = told.get("settings", {})
    return Glance(
        folder.path,
        "running" if process is not None else end.get("outcome", "interrupted"),
        process,
        name=settings.get("name", ""),
        started=told.get("started", ""),
        instrument=told.get("instrument", ""),
        measured=measured,
        best=best,
        wanted=settings.get("stop", {}).get("points"),
        reason=end.get("reason", ""),
    )
