"""A new journal appears whole or not at all, so that nobody ever reads half of one.

It is made under a name of its own and then renamed. A kill or a failing disk meanwhile leaves at
most that other name, which the next attempt clears away.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from ...core import OutputExists
from ...core.storage import Connect, make_durable, sync_folder
from .journal_mark import Claim, Mark, mark_file
from .journal_rows import make_table


def make_journal(file: Path, connect: Connect) -> Claim:
    """Make an empty journal that a power cut does not take away again, and return the claim on it.

    Raises
    ------
    OutputExists
        If there is a journal of this name, or what SQLite would take for a part of it.
    sqlite3.Error, OSError
        If folder or disk do not take it; nothing is left behind.
    """
    _refuse_to_replace(file)
    claim = Claim(file)
    try:
        claim.put(Mark(0, 0))
        _make(file, file.with_name(f"{file.name}-new"), connect)
    except BaseException:
        if not file.exists():
            _remove(mark_file(file))
        claim.close()
        raise
    return claim


def _make(file: Path, new: Path, connect: Connect) -> None:
    _remove(new, *_beside(new))
    try:
        new.touch()
        with closing(connect(new)) as rows:
            # Whatever is promised of its events: that there is a journal, every disk shall know.
            make_durable(rows, new, "power")
            make_table(rows)
        _refuse_to_replace(file)
        new.rename(file)
    except BaseException:
        _remove(new, *_beside(new))
        raise
    try:
        # Run folder and the folder of all runs may be new as well.
        for folder in file.resolve().parents[:3]:
            sync_folder(folder)
    except BaseException:
        _remove(file)
        raise


def _refuse_to_replace(file: Path) -> None:
    there = next((part for part in (file, *_beside(file)) if part.exists()), None)
    if there is not None:
        raise OutputExists(f"{there} already exists; a journal is written once, choose another run folder")


def _beside(file: Path) -> list[Path]:
    """Return what SQLite puts beside a file, and takes in when it finds it there."""
    return [file.with_name(f"{file.name}-{part}") for part in ("wal", "shm", "journal")]


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
