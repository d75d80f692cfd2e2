"""What the detector gave, one row for each measurement: how it lies in a run file, and how it is read.

    measured          the frames
    positions         (y, x) of each, in nm
    measurement_ids   which measurement it is, and
    scan_ids          the scan that gave it
    costs             electrons on the specimen and instrument seconds of that scan
    checksums         CRC-32 of all of these together
    valid             1 where a row was stored

While a run goes on the rows lie plain, each at its place (`growing_rows`); at the end they are written again,
compressed. Names and meaning are the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core import Axis, RecordingUnreadable, Scan
from ...streaming.files.compression import chunk_of_frames, filters
from ...streaming.files.facts import facts_of, part_of
from ...streaming.files.nsid import MEASUREMENT, POSITIONS, VALID, create_main, group_of
from ...streaming.files.readers.nsid import axes_of
from .damage import reading

NAME, CHANNEL = "measured", "Channel_001"
MEASUREMENT_IDS, SCAN_IDS, COSTS, CHECKSUMS = "measurement_ids", "scan_ids", "costs", "checksums"
ID_BYTES = 128
"""Longest id, in UTF-8."""


_COLUMNS: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
    MEASUREMENT_IDS: (h5py.string_dtype("utf-8", ID_BYTES), ()),
    SCAN_IDS: (h5py.string_dtype("utf-8", ID_BYTES), ()),
    COSTS: (np.dtype(np.float64), (2,)),
    CHECKSUMS: (np.dtype(np.uint32), ()),
    VALID: (np.dtype(np.uint8), ()),
}


class StoredRows:
    """The rows of an open run file, for reading.

    Parameters
    ----------
    main
        The dataset of the frames, shape (rows, *frame_shape).
    doubtful
        Whether to count every row that there is space for, stored or not, to see what can be saved of a
        damaged file.

    Attributes
    ----------
    count
        Rows that were stored, one after another from 0.
    valid
        What the mask says of them, shape (count,).
    has_ids
        Whether ids and checksums were kept, as run file format 2 does; else the ids are empty.
    measurement_ids, scan_ids
        Which measurement each row is, and which scan gave it.
    costs
        Electrons and instrument seconds of each, shape (count, 2).

    Raises
    ------
    RecordingUnreadable
        If the mask is damaged, unless `doubtful`.
    """

    def __init__(self, main: h5py.Dataset, doubtful: bool = False) -> None:
        group = group_of(main)
        mask = cast(h5py.Dataset, group[VALID])
        self.main = main
        self.count = len(main) if doubtful else _counted(mask)
        self.valid: NDArray[np.uint8] = mask[: self.count]
        self.has_ids = CHECKSUMS in group
        self.measurement_ids, self.scan_ids = (_texts(group, name, self.count) for name in (MEASUREMENT_IDS, SCAN_IDS))
        self.costs: NDArray[np.float64] = (
            cast(h5py.Dataset, group[COSTS])[: self.count] if self.has_ids else np.zeros((self.count, 2))
        )
        self.checksums: list[int] = cast(h5py.Dataset, group[CHECKSUMS])[: self.count].tolist() if self.has_ids else []
        self._positions = cast(h5py.Dataset, group[POSITIONS])

    @property
    def growing(self) -> bool:
        """Whether rows can be added where they lie."""
        return self.has_ids and self.main.chunks is None

    def header(self) -> Scan:
        """Return the header of the first scan, with all rows as its scan axis."""
        with reading(self.main.file.filename):
            facts = facts_of(group_of(self.main))["scan"]
            axes = (index_of(len(self.main)), *axes_of(self.main)[1:])
            return Scan.model_validate(facts | {"scan_axes": axes[:1], "frame_axes": axes[1:]})

    def read(self, row: int) -> tuple[NDArray[np.float64], NDArray]:
        """Return position `(y, x)` in nm and frame of a row.

        Raises
        ------
        RecordingUnreadable
            If it is not what was written.
        """
        what = f"{self.main.file.filename}: row {row}"
        with reading(what):
            position, frame = self._positions[row], self.main[row]
        frame = np.asarray(frame, self.main.dtype)
        if self.has_ids and self.checksums[row] != checksum(
            self.measurement_ids[row], self.scan_ids[row], self.costs[row], position, frame
        ):
            raise RecordingUnreadable(f"{what} is damaged: it fails its checksum")
        return position, frame

    def damaged(self) -> dict[int, str]:
        """Read every row and return those that are not what was written, with what was found."""
        found = {}
        for row in range(self.count):
            try:
                self.read(row)
            except RecordingUnreadable as error:
                found[row] = str(error)
        return found


def rows_of(file: h5py.File, doubtful: bool = False) -> StoredRows | None:
    """Return the rows that an open run file holds; None before the first measurement. See `StoredRows`.

    Raises
    ------
    RecordingUnreadable
        If they are damaged.
    """
    with reading(file.filename):
        found = part_of(file, f"{MEASUREMENT}/{CHANNEL}/{NAME}/{NAME}")
        return StoredRows(found, doubtful) if isinstance(found, h5py.Dataset) else None


def lay_out(file: h5py.File, scan: Scan, capacity: int) -> list[h5py.Dataset]:
    """Lay out space for rows of such frames, plain and at fixed places, where they can be added one by one.

    Returns the datasets that will grow.
    """
    main = _created(file, scan, capacity, _plain(h5py.h5d.ALLOC_TIME_LATE))
    group = group_of(main)
    for column, (dtype, shape) in _COLUMNS.items():
        group.create_dataset(column, (capacity, *shape), dtype, **_plain(h5py.h5d.ALLOC_TIME_EARLY))
    group.create_dataset(POSITIONS, data=np.full((capacity, 2), np.nan)).attrs["units"] = "nm"
    file.flush()
    # The first write gives the frames their place: the last, so that a file cut short keeps its first rows.
    main[0] = np.zeros(scan.frame_shape, main.dtype)
    return [cast(h5py.Dataset, group[name]) for name in (*_COLUMNS, POSITIONS, NAME)]


def copy_rows(file: h5py.File, rows: StoredRows, told: Callable[[], None]) -> None:
    """Copy all rows of another file into space that was laid out for them; `told` is called after each.

    Raises
    ------
    RecordingUnreadable
        If one of them is damaged.
    """
    group = cast(h5py.Group, file[f"{MEASUREMENT}/{CHANNEL}/{NAME}"])
    main, positions = cast(h5py.Dataset, group[NAME]), cast(h5py.Dataset, group[POSITIONS])
    for row in range(rows.count):
        positions[row], main[row] = rows.read(row)
        told()
    for column, values in _columns(rows, range(rows.count)).items():
        cast(h5py.Dataset, group[column])[: rows.count] = values


def write_finished(
    file: h5py.File, rows: StoredRows, kept: Sequence[int], told: Callable[[], None], header: Scan | None = None
) -> None:
    """Write these rows of another file, compressed and without empty ones; `told` is called after each chunk.

    `header` stands for the file's own where that is damaged.

    Raises
    ------
    RecordingUnreadable
        If one of them is damaged.
    """
    scan = rows.header() if header is None else header
    chunk = chunk_of_frames((len(kept),), scan.frame_shape, np.dtype(scan.dtype))
    main = _created(file, scan, len(kept), filters("bitshuffle", (len(kept), *scan.frame_shape), chunk))
    positions = np.empty((len(kept), 2))
    for start in range(0, len(kept), chunk[0]):
        together = [rows.read(row) for row in kept[start : start + chunk[0]]]
        positions[start : start + len(together)] = [position for position, _ in together]
        main[start : start + len(together)] = np.stack([frame for _, frame in together])
        told()
    group, checked = group_of(main), {"chunks": True, "fletcher32": True}
    group.create_dataset(POSITIONS, data=positions, **checked).attrs["units"] = "nm"
    for column, values in _columns(rows, kept).items():
        group.create_dataset(column, data=values, dtype=_COLUMNS[column][0], **checked)


def index_of(rows: int) -> Axis:
    """Return the axis that counts rows."""
    return Axis(name="index", size=rows)


def checksum(
    measurement_id: str, scan_id: str, cost: NDArray[np.float64], position: NDArray[np.float64], frame: NDArray
) -> int:
    """Return the CRC-32 of one row; `position` is (y, x) in nm, `cost` electrons and instrument seconds."""
    names = f"{measurement_id}|{scan_id}|".encode() + cost.tobytes() + position.tobytes()
    return zlib.crc32(np.ascontiguousarray(frame).tobytes(), zlib.crc32(names))


def _columns(rows: StoredRows, kept: Sequence[int]) -> dict[str, NDArray]:
    """Return what is kept beside frames and positions, for these rows."""
    found: dict[str, Sequence[object] | NDArray] = {VALID: [1] * rows.count}
    if rows.has_ids:
        ids = ([name.encode() for name in names] for names in (rows.measurement_ids, rows.scan_ids))
        found |= {MEASUREMENT_IDS: next(ids), SCAN_IDS: next(ids), COSTS: rows.costs, CHECKSUMS: rows.checksums}
    return {name: np.array([values[row] for row in kept], _COLUMNS[name][0]) for name, values in found.items()}


def _texts(group: h5py.Group, name: str, count: int) -> tuple[str, ...]:
    if name not in group:
        return ("",) * count
    return tuple(value.decode("utf-8", "replace") for value in cast(h5py.Dataset, group[name])[:count].tolist())


def _created(file: h5py.File, scan: Scan, rows: int, storage: dict[str, object]) -> h5py.Dataset:
    axes = (index_of(rows), *scan.frame_axes)
    header = scan.model_dump(exclude={"scan_axes", "frame_axes"}) | {"scan_id": NAME}
    facts = {"simulated": scan.simulated, "dwell_s": scan.dwell_s, "scan": header}
    dtype = np.dtype(scan.dtype)
    return create_main(file, CHANNEL, NAME, axes, dtype, scan.quantity, scan.units, facts, storage)


def _plain(when: int) -> dict[str, object]:
    """Return the storage settings that give every row a fixed place, taking space only once it is written."""
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_alloc_time(when)
    dcpl.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return {"dcpl": dcpl}


def _counted(mask: h5py.Dataset) -> int:
    valid: NDArray[np.uint8] = mask[()]
    count = int((valid == 1).sum())
    if valid.max(initial=0) > 1 or not valid[:count].all():
        raise RecordingUnreadable(
            f"{mask.file.filename}: {mask.name} is damaged: rows are written one after another, and row "
            f"{int(np.argmin(valid == 1))} is missing between others"
        )
    return count
