"""Which reader a file is for: by its first bytes where they tell, else by its ending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 -- registers the decompressor of Bitshuffle with HDF5

from ....core.closing import Closing
from ....core.errors import RecordingUnreadable
from ..found import Found
from .nsid import MAIN, nsid
from .vendor import vendor

_FAMILIES: tuple[Callable[[h5py.File], list[Found]], ...] = (nsid,)
"""In this order, so that a file that can be seen in several ways is read in the one that tells most."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_ENDINGS = (".h5", ".hf5", ".hdf5", ".hspy", ".nxs")

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
        raise RecordingUnreadable(f"no such recording: {path}")
    with path.open("rb") as raw:
        start = raw.read(8)
    if start == _HDF5 or path.suffix.lower() in _HDF5_ENDINGS:
        return _read_hdf5(path, start)
    return Opened(vendor(path), f"{path.suffix} holds no dataset")


def _read_hdf5(path: Path, start: bytes) -> Opened:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RecordingUnreadable(_why_closed(path, start, error)) from None
    try:
        found = next((found for family in _FAMILIES if (found := family(file))), [])
    except _DAMAGE as error:
        file.close()
        raise RecordingUnreadable(f"{path} is corrupt: HDF5 says {_one_line(error)}") from None
    return Opened(found, f"none of its datasets has the NSID attributes {', '.join(MAIN)}", file)


def _why_closed(path: Path, start: bytes, error: OSError) -> str:
    if start != _HDF5:
        return f"{path} is no HDF5 file (it starts with {start!r}), though its name ends in {path.suffix}"
    if "truncated" in str(error):
        return f"{path} is cut off, copy it again: HDF5 says {_one_line(error)}"
    return f"{path} is corrupt: HDF5 says {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
