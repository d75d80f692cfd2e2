"""The run file: one HDF5 with everything that was seen and found, NSID throughout.

    /Measurement_000/Channel_000/overview/    the first picture
    /Measurement_000/Channel_001/measured/    what the detector gave, one row per measurement, with `positions`
    /Measurement_000/Channel_00N/<name>/      values, their errors, predicted map, uncertainty, truth
    /run/                                     the journal as tables

While the run goes on it holds the picture and the rows, each of them stored when `add` returns; whatever
happens then, the file opens with all of them, and a run can go on in it. At close everything is written
once more, compressed and with what was found, and takes the file's place in one step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from ...core import FrameBatch, Measurement, OutputExists, RecordingUnreadable, Scan, ScanEnd, Signal, StorageFailed
from ...core.closing import Closing
from . import disk
from .growing_rows import GrowingRows
from .growing_rows import StoredRow as StoredRow
from .journal import Entry
from .rows import StoredRows, copy_rows, lay_out, rows_of, write_finished
from .run_contents import Contents, contents_of, with_values, write_contents
from .story import Story

AHEAD_BYTES = 1 << 32
"""Space laid out for frames at once; a longer run lays out again."""


class RunFile(Closing):
    """The file of one run, open for writing. One thread at a time may call it.

    After a `StorageFailed` it goes on when the disk does: what failed is simply done again.

    Parameters
    ----------
    path
        New file.
    capacity
        Most measurements that the run can make.
    swmr
        Mark the file as HDF5's single writer does while rows are added, for readers that open with `swmr=True`
        and refresh. Without it any reader can open the file at any time; with it only those can, and after
        a kill only `reopened` and `beamloop recover` take the mark off.
    durable
        Whether rows survive a power cut and not only a kill.

    Raises
    ------
    OutputExists
        If the file is already there.
    StorageFailed
        If the folder cannot be written.
    """

    def __init__(self, path: Path, capacity: int, swmr: bool = False, durable: bool = False) -> None:
        if path.exists():
            raise OutputExists(f"{path} already exists; a run file is written once, choose another folder")
        self._become(path, capacity, swmr, durable, Contents())
        with disk.replaced(path, "made") as new:
            write_contents(new.file, self._contents)

    @classmethod
    def reopened(cls, path: Path, capacity: int, swmr: bool = False, durable: bool = False) -> Self:
        """Open the file that a killed run left, to go on in it after the rows that it holds.

        Every row is read once and compared with its checksum.

        Parameters
        ----------
        path
            Existing file.
        capacity
            Most measurements that the run can make, those it holds included.
        swmr, durable
            As for a new file.

        Raises
        ------
        RecordingUnreadable
            If it is missing, damaged, or of a format in which a run cannot go on.
        StorageFailed
            If it may not be written.
        """
        again = cls.__new__(cls)
        with disk.opened(path) as file:
            again._become(path, capacity, swmr, durable, contents_of(file))
            rows = rows_of(file)
            # A mark that a kill left goes when the file is built again.
            growing = not swmr and not file.swmr_mode and (rows is None or rows.growing)
            if rows is not None:
                _check(rows)
        if growing:
            again._open_rows()
        else:
            again._build("laid out for frames")
        return again

    def _become(self, path: Path, capacity: int, swmr: bool, durable: bool, contents: Contents) -> None:
        self._path, self._capacity, self._contents = path, capacity, contents
        self._swmr, self._durable = swmr, durable
        self._rows: GrowingRows | None = None
        self._mark: h5py.File | None = None
        self._closed = False

    def put_overview(self, signal: Signal) -> None:
        """Write the first picture; it is stored when this returns.

        Raises
        ------
        StorageFailed
            If the disk is full, gone or read-only.
        """
        self._contents = replace(self._contents, overview=signal)
        self._build("given the overview")

    def overview(self) -> Signal | None:
        """Return the first picture; None if there is none."""
        return self._contents.overview

    def add(self, scan: Scan, batches: Iterable[FrameBatch], end: ScanEnd | None = None) -> int:
        """Write the frame of one measurement and return its row; it is stored when this returns.

        `end` tells what it cost.

        Raises
        ------
        FrameShapeWrong
            If the frame is not what its header or the first measurement announced.
        StorageFailed
            If the disk is full, gone or read-only; the measurement has no row then and may be added again.
        """
        if self._closed:
            raise StorageFailed(f"{self._path} is closed; the frame of {scan.measurement_id} cannot be stored in it")
        if self._rows is None or self._rows.count == self._rows.capacity:
            self._build("laid out for frames", scan)
        assert self._rows is not None
        return self._rows.add(scan, list(batches)[-1], end)

    def stored(self, measurement_id: str) -> StoredRow | None:
        """Return what is kept of a measurement; None if it has no row.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged there.
        """
        row = self.rows().get(measurement_id)
        return None if self._rows is None or row is None else self._rows.stored(row)

    def rows(self) -> dict[str, int]:
        """Return the row of each measurement, by its id; of one that came twice, the last."""
        ids = () if self._rows is None else self._rows.measurement_ids
        return {measurement_id: row for row, measurement_id in enumerate(ids)}

    def scan_id(self, row: int) -> str:
        """Return which scan gave a row that is there."""
        return "" if self._rows is None else self._rows.scan_ids[row]

    def frame(self, row: int) -> Signal | None:
        """Return what the detector gave in this row; None if there is no such row.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged there.
        """
        return None if self._rows is None or row >= self._rows.count else self._rows.frame(row)

    def put_map(self, name: str, signal: Signal) -> None:
        """Take something that was found, for a channel of its own; it is written at close."""
        self._contents = replace(self._contents, maps={**self._contents.maps, name: signal})

    def put_values(self, measured: Sequence[Measurement], name: str, units: str) -> None:
        """Take the values of all measurements and their standard errors (nan where not known)."""
        self._contents = with_values(self._contents, measured, name, units)

    def put_journal(self, story: Story | None, entries: Sequence[Entry]) -> None:
        """Take the journal, for `/run`; without a story (nothing was set up) only its events."""
        self._contents = replace(self._contents, story=story, entries=tuple(entries))

    def close(self) -> None:
        """Write everything once more, whole and compressed.

        Raises
        ------
        StorageFailed
            If the disk is full, gone or read-only; the rows are kept, and closing may be tried again.
        RecordingUnreadable
            If a row was damaged meanwhile; the file stays as it is.
        """
        if self._closed:
            return
        self._build("finished", finished=True)
        self._closed = True

    def _build(self, what: str, scan: Scan | None = None, finished: bool = False) -> None:
        """Write everything once more, with the rows laid out for growing or compressed, in place of the file."""
        swmr = self._swmr and not finished
        if self._mark is not None:
            self._mark.close()
        with disk.replaced(self._path, what, swmr) as new, disk.opened(self._path) as old:
            write_contents(new.file, self._contents)
            rows = rows_of(old)
            if finished and rows is not None and rows.count:
                write_finished(new.file, rows, range(rows.count), new.check)
            elif not finished and (rows is not None or scan is not None):
                self._lay_out(new, rows, scan)
        self._close_rows()
        if not finished:
            self._open_rows()

    def _lay_out(self, new: disk.Replacement, rows: StoredRows | None, scan: Scan | None) -> None:
        header = scan if rows is None else rows.header()
        assert header is not None
        count = 0 if rows is None else rows.count
        frame_bytes = math.prod(header.frame_shape) * np.dtype(header.dtype).itemsize
        # Twice as many each time that the run holds more than was foreseen.
        wanted = max(self._capacity, 2 * count, 1)
        new.growing.extend(lay_out(new.file, header, min(wanted, count + max(1, AHEAD_BYTES // max(1, frame_bytes)))))
        if rows is not None:
            copy_rows(new.file, rows, new.check)

    def _open_rows(self) -> None:
        with disk.opened(self._path) as file:
            rows = rows_of(file)
            self._rows = None if rows is None else GrowingRows(self._path, rows, self._durable)
        if self._swmr and self._rows is not None:
            self._mark = disk.marked(self._path)

    def _close_rows(self) -> None:
        if self._rows is not None:
            self._rows.close()
        self._rows = None


def _check(rows: StoredRows) -> None:
    path, damaged = rows.main.file.filename, rows.damaged()
    if damaged:
        raise RecordingUnreadable(
            f"{next(iter(damaged.values()))}; {len(damaged)} of {rows.count} rows are damaged, beamloop recover keeps "
            "the others"
        )
    if not rows.has_ids and rows.count:
        raise RecordingUnreadable(
            f"{path} does not tell which measurement its rows are, for it was written before run file format 2: it can "
            "be read and reported, but a run cannot go on in it"
        )
