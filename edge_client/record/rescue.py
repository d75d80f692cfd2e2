"""What can be saved of a run file that a kill, a bad disk or an older program left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from ...core import RecordingUnreadable
from . import disk
from .rows import StoredRows, rows_of
from .run_contents import Contents, contents_of
from .seal import check_seal

LONGEST_S = 120.0
"""After which examining a damaged file is given up."""

_EXAMINE = (
    "import sys, pathlib; from beamloop.edge_client.record.rescue import examined; examined(pathlib.Path(sys.argv[1]))"
)


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
    """Open a run file, if it can be, and tell what of it is as it was written; the caller closes `file`.

    Raises
    ------
    RecordingUnreadable
        If it is of a newer format, which this program cannot judge.
    """
    if not path.exists():
        return Rescued("missing")
    try:
        disk.opened(path).close()
    except RecordingUnreadable as error:
        if _is_newer(path):
            raise
        if not _survived(path):
            return Rescued("unreadable", lost=[f"{error}; HDF5 crashes on it, so nothing can be taken from it"])
    return examined(path)


def examined(path: Path) -> Rescued:
    """Do what `rescued` does on a file of which HDF5 has survived the damage."""
    try:
        file = disk.opened(path, doubtful=True)
    except RecordingUnreadable as error:
        return Rescued("unreadable", lost=[str(error)])
    lost: list[str] = []
    contents, rows, kept = Contents(), None, []
    with _noting(lost):
        check_seal(file, path)
    with _noting(lost):
        contents = contents_of(file, lost)
    with _noting(lost):
        rows = rows_of(file, doubtful=True)
        kept = _kept(rows, lost) if rows is not None else []
    state = "damaged" if lost else "marked as being written" if file.swmr_mode else "unfinished"
    return Rescued(state, file, contents, rows, kept, lost)


def _is_newer(path: Path) -> bool:
    try:
        with disk.opened(path, doubtful=True) as file:
            return disk.is_newer(file)
    except RecordingUnreadable:
        return False


@contextmanager
def _noting(lost: list[str]) -> Iterator[None]:
    try:
        yield
    except RecordingUnreadable as error:
        lost.append(str(error))


def _survived(path: Path) -> bool:
    """Examine a damaged file in a process of its own, which HDF5 may take down."""
    try:
        child = subprocess.run([sys.executable, "-c", _EXAMINE, str(path)], capture_output=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return False
    return child.returncode == 0


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
