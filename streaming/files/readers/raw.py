"""Bare arrays, .npy and .npz: numbers without a word about their axes, so their order is a convention.

    (y, x)          an image
    (y, x, n)       a grid of spectra
    (y, x, v, u)    a grid of frames
    (y, x, ...)     a grid of whatever

Arrays of Python objects are pickled, and unpickling runs whatever the file says; they are
never loaded.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ....core.errors import RecordingUnreadable
from ..found import Found
from ..scales import Scale, bare_scale

_PICKLED = (
    "an array of Python objects, which are pickled; unpickling can run code that a file brings, so it is never done "
    "here. Where you trust the file, load it with numpy and save its numbers with np.save"
)
_SCAN = (("y", "SPATIAL"), ("x", "SPATIAL"))
_FRAME = {0: (), 1: (("channel", "SPECTRAL"),), 2: (("v", "RECIPROCAL"), ("u", "RECIPROCAL"))}


class Unloaded:
    """The shape and type of an array that is never loaded."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray:
        raise ValueError(f"these are {_PICKLED}")


def npy(path: Path) -> list[Found]:
    """Return the array of a .npy file, which stays on disk.

    Raises
    ------
    RecordingUnreadable
        If it is cut off or corrupt.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
        data = Unloaded(shape, dtype) if dtype.hasobject else np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise RecordingUnreadable(f"{path} is cut off or corrupt: {error}") from None
    return [_found(path.name, "", data)]


def npz(path: Path) -> list[Found]:
    """Return the arrays of an .npz file.

    Raises
    ------
    RecordingUnreadable
        If it is cut off or corrupt.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_members(archive))
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise RecordingUnreadable(f"{path} is cut off or corrupt: {error}") from None


def _members(archive: zipfile.ZipFile) -> Iterator[Found]:
    for member in archive.namelist():
        name = member.removesuffix(".npy")
        with archive.open(member) as file:
            shape, dtype = _header(file)
        if dtype.hasobject:
            yield _found(name, name, Unloaded(shape, dtype))
        else:
            with archive.open(member) as file:
                yield _found(name, name, np.lib.format.read_array(file, allow_pickle=False))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _found(path: str, title: str, data: NDArray | Unloaded) -> Found:
    scales = _scales(data.shape)
    order = ", ".join(scale.name for scale in scales)
    guess = (f"{path} tells nothing about its axes; ({order}) is taken from its shape {data.shape}",)
    pickled = _PICKLED if data.dtype.hasobject else ""
    return Found(path, data, scales, title=title, notes=guess if len(data.shape) > 1 else (), why=pickled)


def _scales(shape: tuple[int, ...]) -> tuple[Scale, ...]:
    if len(shape) < 2:
        return tuple(bare_scale("index", size) for size in shape)
    further = len(shape) - len(_SCAN)
    known = _SCAN + _FRAME.get(further, tuple((f"axis_{i}", "SPECTRAL") for i in range(further)))
    return tuple(bare_scale(name, size, kind) for size, (name, kind) in zip(shape, known, strict=True))
