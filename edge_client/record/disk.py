"""Where a run's HDF5 meets the disk: a file takes its place whole, or nothing has changed.

HDF5 promises nothing about a process that dies while it writes. Tried with HDF5 2.0, by cutting its writes
off one after another: a kill while a picture is added can leave a file in which nothing is found any more, and
after "no space left" a retry succeeds with a frame silently missing, closing fails, and the process ends with
a segmentation fault. So a file is only ever built beside its place and then renamed, which is one
step; HDF5 is not told when the disk fails meanwhile (`patient_file`). What comes row by row is written past
HDF5 (`growing_rows`).

The layout is that of HDF5 1.8: metadata carry checksums, and no mark "open for writing" makes a file refuse to
open after a kill, as that of 1.10 does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py

from ...core import RecordingUnreadable, StorageFailed
from .damage import first_line, reading
from .patient_file import PatientFile
from .seal import check_seal, make_room, place_of, seal

LAYOUT, SWMR_LAYOUT = ("v108", "v108"), ("v110", "v110")

FORMAT = 2
"""Version of what is in a run file, in its attribute `run_file_format`; files of version 1 have none."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Replacement:
    """A file that is being built.

    Attributes
    ----------
    file
        The file.
    check
        Raises once the disk has failed under it.
    growing
        Takes the datasets whose bytes will change later, which the file's seal leaves out.
    """

    file: h5py.File
    check: Callable[[], None]
    growing: list[h5py.Dataset]


@contextmanager
def replaced(path: Path, what: str, swmr: bool = False) -> Iterator[Replacement]:
    """Give a new HDF5 file that takes the place of `path` when the block ends; else `path` stays as it was.

    Parameters
    ----------
    what
        What is being done to the file, for the error's message: `could not be ...`.
    swmr
        Lay it out so that it can be marked as being written (`marked`).

    Raises
    ------
    StorageFailed
        If the disk is full, gone or read-only.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with PatientFile(beside) as bytes_of:
            with h5py.File(bytes_of, "w", libver=SWMR_LAYOUT if swmr else LAYOUT) as file:
                room, growing = make_room(file), []
                yield Replacement(file, bytes_of.check, growing)
                places = [place_of(dataset) for dataset in growing]
            seal(bytes_of, room, places)
            bytes_of.check()
            # Else a power cut may leave the new name with nothing behind it.
            os.fsync(bytes_of.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise failed(path, what, error) from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def marked(path: Path) -> h5py.File:
    """Return a file open as SWMR's one writer; others can open it with `swmr=True` until it is closed.

    Raises
    ------
    StorageFailed
        If the file may not be written.
    """
    try:
        file = h5py.File(path, "r+", libver=SWMR_LAYOUT)
        file.swmr_mode = True
    except OSError as error:
        raise failed(path, "opened for writing", error) from None
    return file


def opened(path: Path, doubtful: bool = False) -> h5py.File:
    """Return an HDF5 file open for reading, also one that HDF5 refuses because its writer was killed.

    A file that was being written as SWMR is marked so, and is read as such. One whose end never reached the
    disk is extended with zeros, which no checksum takes for data.

    Parameters
    ----------
    doubtful
        Whether to open it although it is not as it was written.

    Raises
    ------
    RecordingUnreadable
        If it is missing, no HDF5, of a newer format, or its seal is broken.
    """
    file = _opened(path)
    try:
        if not doubtful:
            if is_newer(file):
                raise too_new(file)
            check_seal(file, path)
    except BaseException:
        file.close()
        raise
    return file


def is_newer(file: h5py.File) -> bool:
    """Tell whether an open run file is of a format that this program does not know.

    Raises
    ------
    RecordingUnreadable
        If that cannot be read.
    """
    with reading(file.filename):
        return int(file.attrs.get("run_file_format", 1)) > FORMAT


def too_new(file: h5py.File) -> RecordingUnreadable:
    """Return the error for a file of a newer format."""
    found = file.attrs["run_file_format"]
    return RecordingUnreadable(
        f"{file.filename} has run file format {found}; this version of beamloop reads up to {FORMAT}"
    )


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise RecordingUnreadable(f"no run file at {path}")
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        refusal = str(error)
    try:
        if "already open" in refusal:
            return h5py.File(path, "r", swmr=True)
        if "truncated file" in refusal and _extended(path):
            return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        refusal = str(error)
    raise RecordingUnreadable(f"{path} is no readable HDF5 file: {first_line(refusal)}")


def failed(path: Path, what: str, error: Exception) -> StorageFailed:
    """Return the error for a disk that did not do what was asked."""
    return StorageFailed(
        f"{path} could not be {what}: {first_line(str(error))}; everything stored before is kept. Make room on the "
        "disk or make it writable again, then go on"
    )


def stored_end(path: Path) -> int | None:
    """Return where an HDF5 file says it ends; None if its first bytes are none of HDF5's.

    Source: HDF5 File Format Specification 3.0, II.A (superblock).
    """
    with path.open("rb") as raw:
        head = raw.read(64)
    if len(head) < 64 or not head.startswith(_SIGNATURE):
        return None
    version = head[8]
    if version not in (0, 2, 3) or head[13 if version == 0 else 9] != 8:
        return None
    return int(struct.unpack_from("<Q", head, 40 if version == 0 else 28)[0])


def _extended(path: Path) -> bool:
    # HDF5 has read the end from a superblock whose checksum it tested, so it can be believed.
    end = stored_end(path)
    if end is None or end <= path.stat().st_size:
        return False
    os.truncate(path, end)
    return True
