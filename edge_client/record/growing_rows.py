"""Adding rows to a run file while the run goes on: bytes at known places, past HDF5.

The file was laid out whole, so a row only needs its bytes put where HDF5 will look for them. Nothing
that the file needs to be found is touched, so a kill between any two bytes leaves a file that opens with
every row stored before, a full disk leaves it as it was, and any HDF5 reader may open it meanwhile. The mask
comes last: a row that claims to be there is there.

Source: HDF5 Reference Manual, H5Dget_offset: the raw data of a contiguous dataset begin at this address.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core import FrameBatch, FrameShapeWrong, RecordingUnreadable, Scan, ScanEnd, SettingsInvalid, Signal
from ...core.closing import Closing
from ...streaming.files.nsid import POSITIONS, VALID, group_of
from .disk import failed
from .rows import CHECKSUMS, COSTS, ID_BYTES, MEASUREMENT_IDS, SCAN_IDS, StoredRows, checksum, index_of
from .seal import place_of


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values of one dataset lie in the file, one after another."""

    start: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return int(self.dtype.itemsize * np.prod(self.shape, dtype=np.int64))

    def place(self, row: int) -> int:
        """Return where a row begins."""
        return self.start + row * self.nbytes


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as the scan that gave it: its header, its frame and how it ended."""

    row: int
    scan: Scan
    batch: FrameBatch
    end: ScanEnd


class GrowingRows(Closing):
    """The rows of a run file that is being written; for one thread.

    Parameters
    ----------
    path
        The file.
    stored
        Its rows as they were found, laid out for growing.
    durable
        Whether a row that counts survives a power cut: the disk has it before the mask says so, and the mask before
        `add` returns.

    Raises
    ------
    StorageFailed
        If the file may not be written.
    """

    def __init__(self, path: Path, stored: StoredRows, durable: bool = False) -> None:
        group, self._path, self._durable = group_of(stored.main), path, durable
        self.scan, self.capacity = stored.header(), len(stored.main)
        self.measurement_ids, self.scan_ids = list(stored.measurement_ids), list(stored.scan_ids)
        self._frames = _column(stored.main)
        self._columns = {
            name: _column(cast(h5py.Dataset, group[name]))
            for name in (POSITIONS, MEASUREMENT_IDS, SCAN_IDS, COSTS, CHECKSUMS, VALID)
        }
        try:
            self._raw = _opened(path)
        except OSError as error:
            raise failed(path, "opened for writing", error) from None

    @property
    def count(self) -> int:
        """Rows stored."""
        return len(self.measurement_ids)

    def add(self, scan: Scan, batch: FrameBatch, end: ScanEnd | None) -> int:
        """Write the last frame of a batch into the next row and return its number; it counts when this returns.

        Raises
        ------
        FrameShapeWrong
            If the frame is not what its header or the first row announced.
        SettingsInvalid
            If an id is longer than `ID_BYTES`.
        StorageFailed
            If the disk fails; the row is not counted and may be written again.
        """
        batch.check(scan)
        self._check(scan)
        row, position, frame = self.count, batch.positions[-1] * 1e9, np.ascontiguousarray(batch.frames[-1])
        cost = np.zeros(2) if end is None else np.array([end.electrons, end.duration_s])
        values = {
            POSITIONS: position.tobytes(),
            MEASUREMENT_IDS: scan.measurement_id.encode().ljust(ID_BYTES, b"\0"),
            SCAN_IDS: scan.scan_id.encode().ljust(ID_BYTES, b"\0"),
            COSTS: cost.tobytes(),
            CHECKSUMS: np.uint32(checksum(scan.measurement_id, scan.scan_id, cost, position, frame)).tobytes(),
        }
        try:
            self._put(self._frames.place(row), frame.tobytes())
            for name, value in values.items():
                self._put(self._columns[name].place(row), value)
            self._sync()
            self._put(self._columns[VALID].place(row), b"\1")
            self._sync()
        except OSError as error:
            # A disk that was away and comes back does not know this descriptor any more.
            with suppress(OSError):
                self._raw.close()
            raise failed(self._path, "given a frame", error) from None
        self.measurement_ids.append(scan.measurement_id)
        self.scan_ids.append(scan.scan_id)
        return row

    def frame(self, row: int) -> Signal:
        """Return the frame of a row that is there.

        Raises
        ------
        RecordingUnreadable
            If it is not what was written.
        """
        frame = self.stored(row).batch.frames[0]
        return Signal(frame, self.scan.frame_axes, self.scan.quantity, self.scan.units)

    def stored(self, row: int) -> StoredRow:
        """Return everything about a row that is there.

        Raises
        ------
        RecordingUnreadable
            If it is not what was written.
        """
        position, cost = self._get(self._columns[POSITIONS], row), self._get(self._columns[COSTS], row)
        frame, written = self._get(self._frames, row), self._get(self._columns[CHECKSUMS], row)
        names = self.measurement_ids[row], self.scan_ids[row]
        if checksum(*names, cost, position, frame) != written:
            raise RecordingUnreadable(f"{self._path}: row {row} is damaged: it fails its checksum")
        one = {"measurement_id": names[0], "scan_id": names[1], "scan_axes": (index_of(1),)}
        end = ScanEnd(
            scan_id=names[1], status="complete", n_frames=1, electrons=float(cost[0]), duration_s=float(cost[1])
        )
        batch = FrameBatch(names[1], np.zeros(1, np.int64), position[None] * 1e-9, frame[None])
        return StoredRow(row, self.scan.model_copy(update=one), batch, end)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _put(self, place: int, value: bytes) -> None:
        if self._raw.closed:
            self._raw = _opened(self._path)
        self._raw.seek(place)
        left = memoryview(value)
        while left:
            # A disk that becomes full takes a part first and says so at the next.
            left = left[self._raw.write(left) :]

    def _sync(self) -> None:
        if self._durable:
            os.fsync(self._raw.fileno())

    def _get(self, column: Column, row: int) -> NDArray:
        try:
            if self._raw.closed:
                self._raw = _opened(self._path)
            self._raw.seek(column.place(row))
            value = self._raw.read(column.nbytes)
        except OSError as error:
            raise RecordingUnreadable(f"{self._path}: row {row} cannot be read: {error}") from None
        return np.frombuffer(value, column.dtype).reshape(column.shape)

    def _check(self, scan: Scan) -> None:
        if (scan.frame_shape, scan.dtype) != (self._frames.shape, self._frames.dtype.str):
            raise FrameShapeWrong(
                f"measurement {scan.measurement_id} gave {scan.dtype} frames of shape {scan.frame_shape}; the run file "
                f"holds {self._frames.dtype.str} frames of shape {self._frames.shape}"
            )
        for name in (scan.measurement_id, scan.scan_id):
            if len(name.encode()) > ID_BYTES:
                raise SettingsInvalid(f"the id {name!r} has more than {ID_BYTES} bytes; a run file cannot keep it")


def _opened(path: Path) -> FileIO:
    return FileIO(path, "r+b")


def _column(dataset: h5py.Dataset) -> Column:
    return Column(place_of(dataset)[0], dataset.dtype, dataset.shape[1:])
