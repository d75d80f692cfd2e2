"""What can be saved of a run file that a kill, a bad disk or an older program left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from ...core import RecordingUnreadable
from . import disk
from .rows import StoredRows, rows_of
from .run_contents import Contents, contents_of


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a run file still tells, as long as it is open.

    Attributes
    ----------
    found
        Its state: `missing`, `unreadable`, `damaged`, `marked as being written` or `unfinished`.
    file
        The open file; None if there is none.
    contents
        Pictures and maps.
    rows, kept
        All rows, and which of them are as they were written.
    lost
        What is damaged, each with what was found.
    """

    found: str
    file: h5py.File | None = None
    contents: Contents = field(default_factory=Contents)
    rows: StoredRows | None = None
    kept: Sequence[int] = ()
    lost: Sequence[str] = ()


def rescued(path: Path) -> Rescued:
    """Open a run file, if it can be, and tell what of it is as it was written; the caller closes `file`."""
    if not path.exists():
        return Rescued("missing")
    try:
        file = disk.opened(path)
    except RecordingUnreadable as error:
        return Rescued("unreadable", lost=[str(error)])
    lost: list[str] = []
    contents, rows, kept = Contents(), None, []
    try:
        contents = contents_of(file, lost)
        rows = rows_of(file, doubtful=True)
        kept = _kept(rows, lost) if rows is not None else []
    except RecordingUnreadable as error:
        lost.append(str(error))
    state = "damaged" if lost else "marked as being written" if file.swmr_mode else "unfinished"
    return Rescued(state, file, contents, rows, kept, lost)


def _kept(rows: StoredRows, lost: list[str]) -> list[int]:
    """Return the rows that are as they were written; one that lacks only its mark may be told stored or not."""
    kept = []
    for row in range(rows.count):
        if not rows.valid[row] and not rows.measurement_ids[row]:
            continue
        try:
            rows.read(row)
        except RecordingUnreadable as error:
            if rows.valid[row]:
                lost.append(str(error))
        else:
            kept.append(row)
    return kept
