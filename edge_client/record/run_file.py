"""The run file: one HDF5 with everything that was seen and found, NSID throughout.

    /Measurement_000/Channel_000/overview/    the first picture
    /Measurement_000/Channel_001/measured/    what the detector gave, one row per measurement, with `positions`
    /Measurement_000/Channel_00N/<name>/      values, their errors, predicted map, uncertainty, truth
    /run/                                     the journal as tables, written at close

Space for the measured frames is laid out before the first one and a mask tells which are
real, so a file that was cut off opens; the rows that stayed empty are taken off at close.
Every row is flushed before its sender is told that it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from ...core import Axis, FrameBatch, Measurement, OutputExists, Scan, Signal
from ...streaming.files import GrowingSignal, create_signal, write_signal
from ...streaming.files.nsid import MEASUREMENT, POSITIONS
from .journal import Entry
from .run_tables import write_tables
from .story import Story

MEASURED, CUT_OFF = "Channel_001", "Channel_001_growing"


class RunFile:
    """The file of one run, open for writing. One thread at a time may call it.

    Parameters
    ----------
    path
        New file.
    capacity
        Most measurements that the run can make.

    Raises
    ------
    OutputExists
        If the file is already there.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        try:
            self._file = h5py.File(path, "x")
        except FileExistsError:
            raise OutputExists(f"{path} already exists; a run file is written once, choose another folder") from None
        self._capacity = capacity
        self._measured: GrowingSignal | None = None
        self._rows = 0
        self._maps = 2

    def put_overview(self, signal: Signal) -> None:
        """Write the first picture."""
        write_signal(self._file, "Channel_000", "overview", signal)
        self._file.flush()

    def add(self, scan: Scan, batches: Iterable[FrameBatch]) -> int:
        """Write the frame of one measurement, flush, and return its row."""
        if self._measured is None:
            self._measured = create_signal(self._file, MEASURED, "measured", _in_rows(scan, self._capacity))
        row = self._rows
        for batch in batches:
            here = FrameBatch("measured", np.full(1, row, np.int64), batch.positions[-1:], batch.frames[-1:])
            self._measured.write_batch(here)
        self._rows += 1
        self._measured.flush()
        return row

    def frame(self, row: int) -> Signal | None:
        """Return what the detector gave in this row; None if there is no such row."""
        measured = self._measured
        if measured is None or row >= self._rows:
            return None
        return Signal(measured.dataset[row], measured.scan.frame_axes, measured.scan.quantity, measured.scan.units)

    def put_map(self, name: str, signal: Signal) -> None:
        """Write something that was found, in a channel of its own."""
        write_signal(self._file, f"Channel_{self._maps:03d}", name, signal)
        self._maps += 1
        self._file.flush()

    def put_values(self, measured: Sequence[Measurement], name: str, units: str) -> None:
        """Write the values of all measurements and their standard errors (nan where not known)."""
        if not measured:
            return
        index = (Axis(name="index", size=len(measured)),)
        places = {"y_m": [m.position[0] for m in measured], "x_m": [m.position[1] for m in measured]}
        errors = np.array([np.nan if m.std is None else m.std for m in measured])
        self.put_map("values", Signal(np.array([m.value for m in measured]), index, name, units, metadata=places))
        self.put_map("standard_errors", Signal(errors, index, f"standard error of {name}", units, metadata=places))

    def put_journal(self, story: Story | None, entries: Sequence[Entry]) -> None:
        """Write the journal as `/run`; without a story (nothing was set up) only its events."""
        write_tables(self._file, story, entries)
        self._file.flush()

    def close(self) -> None:
        """Take off the rows that stayed empty and close the file."""
        if not self._file:
            return
        if self._measured is not None and self._rows < self._capacity:
            self._shorten(self._measured)
        self._file.close()

    def _shorten(self, measured: GrowingSignal) -> None:
        # The long one is removed only when the short one is on the disk.
        parent = MEASUREMENT
        self._file.move(f"{parent}/{MEASURED}", f"{parent}/{CUT_OFF}")
        long, positions = (self._file[f"{parent}/{CUT_OFF}/measured/{name}"] for name in ("measured", POSITIONS))
        assert isinstance(long, h5py.Dataset)
        assert isinstance(positions, h5py.Dataset)
        short = create_signal(self._file, MEASURED, "measured", _in_rows(measured.scan, self._rows))
        for row in range(self._rows):
            place = positions[row : row + 1] * 1e-9
            short.write_batch(FrameBatch("measured", np.full(1, row, np.int64), place, long[row : row + 1]))
        short.flush()
        del self._file[f"{parent}/{CUT_OFF}"]


def _in_rows(scan: Scan, rows: int) -> Scan:
    return scan.model_copy(update={"scan_id": "measured", "scan_axes": (Axis(name="index", size=rows),)})
