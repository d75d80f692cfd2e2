"""Making the run file of any run whole again: `beamloop recover`.

Frames and pictures are taken from the file, as far as their checksums vouch for them; values, decisions
and events from the journal, which is the truth and is only read. A file that held something which could not
be saved is kept beside the new one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import h5py

from ...core import OutputExists, RecordingUnreadable, Scan, UnknownName
from ...streaming.files.facts import part_of
from . import disk
from .damage import reading
from .events import Arrived, Ended
from .journal import Entry, read
from .journal_mark import writing_process
from .rescue import Rescued, rescued
from .rows import NAME, StoredRows, index_of, write_finished
from .run_contents import with_values, write_contents
from .run_folder import RunFolder
from .story import Story, story_of


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found of a run, and what became of it.

    Attributes
    ----------
    run_file
        The file, which opens now.
    found
        In which state it was: `missing`, `whole`, `unfinished`, `marked as being written`, `damaged` or
        `unreadable`.
    changed
        Whether it was written again.
    rows
        Frames that it holds.
    lost
        What could not be saved, each with its reason.
    lacking
        Measurements that arrived by the journal and of which the file holds no frame.
    events
        Events of the journal.
    outcome
        How the run ended, by its journal; `interrupted` if it never did.
    aside
        Where the damaged file is kept; None if nothing was lost.
    duration_s
        Wall seconds.
    """

    run_file: Path
    found: str
    changed: bool
    rows: int
    lost: tuple[str, ...]
    lacking: tuple[str, ...]
    events: int
    outcome: str
    aside: Path | None
    duration_s: float


def recover(path: Path, clock: Callable[[], float] = time.perf_counter) -> Recovered:
    """Make the run file in a run folder open again, with everything stored in it, and return what was done.

    Doing it twice changes nothing the second time.

    Raises
    ------
    OutputExists
        If a process works on the run; its file is whole as soon as that ends.
    UnknownName
        If there is no such folder.
    RecordingUnreadable
        If the folder holds neither run file nor journal.
    StorageFailed
        If the disk is full, gone or read-only; everything is as it was.
    """
    start, folder = clock(), RunFolder(path)
    if not path.is_dir():
        raise UnknownName(f"no run folder at {path}")
    process = writing_process(folder.journal)
    if process is not None:
        raise OutputExists(
            f"process {process} works on {path}; there is nothing to recover while it does. Look on with "
            f"`beamloop attach {path}`"
        )
    journal = _journal(folder)
    if journal.problem and not folder.run_file.exists():
        raise RecordingUnreadable(f"{path} holds no run file, and {journal.problem}; there is nothing to recover")
    saved = rescued(folder.run_file)
    with saved.file or nullcontext():
        changed = not _is_whole(saved, journal)
        aside = _kept_aside(folder.run_file) if saved.lost and changed and saved.found != "missing" else None
        if changed:
            _write(folder.run_file, saved, journal)
        ids = {saved.rows.measurement_ids[row] for row in saved.kept} if saved.rows is not None else set()
    return Recovered(
        run_file=folder.run_file, found=saved.found if changed else "whole", changed=changed, rows=len(saved.kept),
        lost=(*saved.lost, *([journal.problem] if journal.problem else [])),
        lacking=tuple(name for name in journal.arrived if name not in ids) if ids != {""} else (),
        events=len(journal.entries), outcome=journal.outcome, aside=aside, duration_s=clock() - start,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Journal:
    """What the journal tells; `problem` if it cannot be read."""

    entries: Sequence[Entry] = ()
    story: Story | None = None
    problem: str = ""

    @property
    def arrived(self) -> tuple[str, ...]:
        """The measurements that gave a value."""
        return tuple(e.event.measurement.measurement_id for e in self.entries if isinstance(e.event, Arrived))

    @property
    def outcome(self) -> str:
        """How the run ended."""
        ends = [e.event.outcome for e in self.entries if isinstance(e.event, Ended)]
        return ends[-1] if ends else "unknown" if self.problem else "interrupted"


def _journal(folder: RunFolder) -> _Journal:
    try:
        entries = read(folder.journal)
    except RecordingUnreadable as error:
        return _Journal(problem=str(error))
    try:
        return _Journal(entries, story_of(entries))
    except RecordingUnreadable:
        # It ended before its loop was set up: there are events and no story.
        return _Journal(entries)


def _is_whole(saved: Rescued, journal: _Journal) -> bool:
    if saved.file is None or saved.lost or saved.file.swmr_mode:
        return False
    if saved.rows is not None and (saved.rows.growing or len(saved.kept) < saved.rows.count):
        return False
    try:
        with reading(str(saved.file.filename)):
            seq = part_of(saved.file, "run/events/seq")
            return bool(journal.problem) or (isinstance(seq, h5py.Dataset) and len(seq) == len(journal.entries))
    except RecordingUnreadable:
        return False


def _write(path: Path, saved: Rescued, journal: _Journal) -> None:
    contents = replace(saved.contents, entries=journal.entries, story=journal.story)
    if journal.story is not None:
        target = journal.story.experiment.target
        contents = with_values(contents, journal.story.measurements, target.name, target.units)
    with disk.replaced(path, "recovered") as new:
        write_contents(new.file, contents)
        if saved.rows is not None and saved.kept:
            write_finished(new.file, saved.rows, saved.kept, new.check, _header(saved.rows, journal))
        if journal.problem and saved.file is not None and "run" in saved.file:
            saved.file.copy("run", new.file)


def _header(rows: StoredRows, journal: _Journal) -> Scan | None:
    """Return the header that the journal tells, if that of the file is damaged; None if the file's own will do.

    Raises
    ------
    RecordingUnreadable
        If neither can be read.
    """
    try:
        rows.header()
    except RecordingUnreadable:
        if journal.story is None:
            raise
        experiment = journal.story.experiment
        detector = journal.story.described.info.detector(experiment.measure.detector)
        return Scan(
            scan_id=NAME, measurement_id=NAME, receiver="", detector=detector.name, scan_axes=(index_of(rows.count),),
            frame_axes=detector.frame_axes, dtype=rows.main.dtype.str, dwell_s=experiment.measure.dwell_s,
            quantity=detector.quantity, units=detector.units, simulated=journal.story.described.info.simulated,
        )  # fmt: skip
    return None


def _kept_aside(path: Path) -> Path:
    """Give a damaged file a second name, under which it stays when a new one takes its place."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    aside = next(name for name in names if not name.exists())
    try:
        os.link(path, aside)
    except OSError:
        # Some file systems know no second names.
        shutil.copyfile(path, aside)
    return aside
