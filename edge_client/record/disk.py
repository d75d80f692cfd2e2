"""Where a run's HDF5 meets the disk: a file takes its place whole, or nothing has changed.

HDF5 promises nothing about a process that dies while it writes. Tried with HDF5 2.0, by cutting its writes
off one after another: a kill while a picture is added can leave a file in which nothing is found any more, and
after "no space left" a retry succeeds with a frame silently missing, closing fails, and the process ends with
a segmentation fault. So a file is only ever built beside its place and then renamed, which is one
step; what comes row by row is written past HDF5 (`growing_rows`). If the disk fails during the building,
HDF5's descriptor is turned to a scratch file, into which it may write what it likes while it closes.

The layout is that of HDF5 1.8: metadata carry checksums, and no mark "open for writing" makes a file refuse to
open after a kill, as that of 1.10 does.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from ...core import RecordingUnreadable, StorageFailed

LAYOUT = ("v108", "v108")

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@contextmanager
def replaced(path: Path, what: str) -> Iterator[h5py.File]:
    """Give a new HDF5 file that takes the place of `path` when the block ends; else `path` stays as it was.

    Parameters
    ----------
    what
        What is being done to the file, for the error's message: `could not be ...`.

    Raises
    ------
    StorageFailed
        If the disk is full, gone or read-only.
    """
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        file = h5py.File(beside, "w", libver=LAYOUT)
    except OSError as error:
        raise failed(path, what, error) from None
    try:
        yield file
        file.flush()
        file.close()
        _to_disk(beside)
        os.replace(beside, path)
    except BaseException as error:
        let_go(file)
        beside.unlink(missing_ok=True)
        if isinstance(error, (OSError, RuntimeError)):
            raise failed(path, what, error) from None
        raise


def opened(path: Path) -> h5py.File:
    """Return an HDF5 file open for reading, also one that HDF5 refuses because its writer was killed.

    A file that was being written as SWMR is marked so, and is read as such. One whose end never reached the
    disk is extended with zeros, which no checksum takes for data.

    Raises
    ------
    RecordingUnreadable
        If it is missing or no HDF5.
    """
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


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Take whatever h5py raises on damaged bytes for what it is.

    Raises
    ------
    RecordingUnreadable
        If what is read in the block is not what was written.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise RecordingUnreadable(f"{name} is damaged: {first_line(str(error))}") from None


def let_go(file: h5py.File) -> None:
    """Close a file whose disk failed, without another byte reaching that disk."""
    if not file:
        return
    with _scratch() as scratch:
        os.dup2(scratch, file.id.get_vfd_handle())
        file.close()


def failed(path: Path, what: str, error: Exception) -> StorageFailed:
    """Return the error for a disk that did not do what was asked."""
    return StorageFailed(
        f"{path} could not be {what}: {first_line(str(error))}; everything stored before is kept. Make room on the "
        "disk or make it writable again, then go on"
    )


def first_line(text: str) -> str:
    """Return what HDF5 says, without the dump that it adds."""
    return text.split("\n", 1)[0].strip()


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


@contextmanager
def _scratch() -> Iterator[int]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("let go")
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def _to_disk(path: Path) -> None:
    # Else a power cut may leave the new name with nothing behind it.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
