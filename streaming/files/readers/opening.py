"""Which reader a file is for: by its first bytes where they tell, else by its ending."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 -- registers the decompressor of Bitshuffle with HDF5

from ....core.closing import Closing
from ....core.errors import RecordingUnreadable
from ..found import Found
from .ebsd import ang, edax
from .emd import emd
from .hyperspy import hyperspy
from .nsid import MAIN, nsid
from .raw import npy, npz
from .usid import usid
from .vendor import vendor

_FAMILIES: tuple[Callable[[h5py.File], list[Found]], ...] = (nsid, usid, hyperspy, emd, edax)
"""In this order, so that a file that can be seen in several ways is read in the one that tells most."""

_BY_ENDING: dict[str, Callable[[Path], list[Found]]] = {".npy": npy, ".npz": npz, ".ang": ang}
_VENDORS_HDF5 = (".emd", ".nxs")
"""HDF5 files that rosettasciio knows by their ending: FEI's Velox, NeXus."""

_NO_FAMILY = (
    f"none of its datasets has the NSID attributes {', '.join(MAIN)}, and it is laid out neither as USID, HyperSpy, "
    "EMD nor EDAX files are"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_ENDINGS = (".h5", ".hf5", ".hdf5", ".hspy", ".emd", ".nxs")

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises on files that are cut off or overwritten."""


@dataclass(frozen=True)
class Opened(Closing):
    """What was found in a file, readable until it is closed.

    Attributes
    ----------
    found
        Its datasets, in its order.
    instead
        Why nothing was found, where nothing was.
    """

    found: Sequence[Found]
    instead: str
    _file: h5py.File | None = None

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            self._file.close()


def read(path: Path) -> Opened:
    """Look a file through.

    Raises
    ------
    RecordingUnreadable
        If it is missing, cut off, corrupt, or of a kind that is not read.
    NotInstalled
        If its kind needs a package that is not installed.
    """
    if not path.is_file():
        folder = ", which is a folder; open a file of it" if path.is_dir() else ""
        raise RecordingUnreadable(f"no such recording: {path}{folder}")
    with path.open("rb") as raw:
        start = raw.read(8)
    if start == _HDF5 or path.suffix.lower() in _HDF5_ENDINGS:
        return _read_hdf5(path, start)
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        raise RecordingUnreadable(_archived(path))
    return Opened(_BY_ENDING.get(path.suffix.lower(), vendor)(path), "its reader finds no dataset in it")


def _archived(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{path} is an archive; unpack it and open a file of it: {', '.join(names[:2])}{more}"


def _read_hdf5(path: Path, start: bytes) -> Opened:
    try:
        file = _opened_hdf5(path)
    except OSError as error:
        raise RecordingUnreadable(_why_closed(path, start, error)) from None
    try:
        found = next((found for family in _FAMILIES if (found := family(file))), [])
    except _DAMAGE as error:
        file.close()
        raise RecordingUnreadable(f"{path} is corrupt: HDF5 says {_one_line(error)}") from None
    if not found and path.suffix.lower() in _VENDORS_HDF5:
        file.close()
        return Opened(vendor(path), "its reader finds no dataset in it")
    return Opened(found, _NO_FAMILY, file)


def _opened_hdf5(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        # HDF5's single writer is at work on it, or was killed at it; what it flushed can be read.
        if "already open" not in str(error):
            raise
        return h5py.File(path, "r", swmr=True)


def _why_closed(path: Path, start: bytes, error: OSError) -> str:
    if start != _HDF5:
        return f"{path} is no HDF5 file (it starts with {start!r}), though its name ends in {path.suffix}"
    if "truncated" in str(error):
        return f"{path} is cut off, copy it again: HDF5 says {_one_line(error)}"
    return f"{path} is corrupt: HDF5 says {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
