"""The formats of microscope makers, through rosettasciio: dm3, dm4, bcf, ser, mib, blo, mrc, tif and more.

rosettasciio gives an array, a list of axes and a tree of facts for each dataset of a file.
It is under the GPL and brings dask, so it is optional, and asked for only when such a file is
opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import NotInstalled, RecordingUnreadable
from ..facts import plain
from ..found import Found, Numbers
from .terms import in_terms, title_in

LAZY_BYTES = 1 << 28
"""Files from this size on stay on disk, where their reader can leave them there."""

_PREFERRED = {"tif": "TIFF", "tiff": "TIFF", "emd": "EMD", "mrc": "MRC", "img": "JEOL"}
"""Readers of endings that several of them claim."""

_NEVER_LAZY = ("Bruker",)
"""Readers that would unpack the whole file again for every slice."""


def vendor(path: Path) -> list[Found]:
    """Return the datasets of a file by its ending.

    Raises
    ------
    NotInstalled
        If rosettasciio, or what it needs for this format, is not installed.
    RecordingUnreadable
        If no reader is known for the ending, or it cannot read the file.
    """
    plugin = _plugin(path)
    # rosettasciio needs it, and some of its readers would leave a pool of threads behind.
    from dask import config

    lazy = path.stat().st_size >= LAZY_BYTES and plugin["name"] not in _NEVER_LAZY
    try:
        with config.set(scheduler="synchronous"):
            told = importlib.import_module(plugin["api"]).file_reader(str(path), lazy=lazy)
            return [_found(path, i, each) for i, each in enumerate(told)]
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"{path} needs the package {error.name}, which rosettasciio uses for {plugin['name']} files: "
            "pip install 'beamloop[files]'"
        ) from None
    except Exception as error:
        # Foreign code, which raises whatever its parsers met; nothing of it goes further than this line.
        raise RecordingUnreadable(
            f"{path} cannot be read as {plugin['name']}: {type(error).__name__}: {_one_line(error)}"
        ) from None


class OnDisk:
    """A dask array that is computed in this thread, where it is sliced."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype = array.dtype

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray:
        return np.asarray(self._array[place].compute(scheduler="synchronous"))


def _plugin(path: Path) -> Mapping[str, Any]:
    ending = path.suffix[1:].lower()
    try:
        from rsciio import IO_PLUGINS
    except ModuleNotFoundError:
        raise NotInstalled(
            f"{path}: files ending in .{ending} are read by rosettasciio, which is not installed: "
            "pip install 'beamloop[files]'"
        ) from None
    fitting = [p for p in IO_PLUGINS if ending in (e.lower() for e in p["file_extensions"])]
    if not fitting:
        raise RecordingUnreadable(
            f"{path}: no reader is known for files ending in {path.suffix or 'nothing'}; save it as HDF5 (NSID, "
            "HyperSpy, EMD), as .npy, or in a format that rosettasciio reads"
        )
    return next((p for p in fitting if p["name"] == _PREFERRED.get(ending)), fitting[0])


def _found(path: Path, i: int, told: Mapping[str, Any]) -> Found:
    metadata = plain(_mapped(told))
    which = title_in(metadata) or (str(i) if i else "")
    where = f"{path.name}: {which}" if which else path.name
    return in_terms(where, _numbers(told["data"]), told["axes"], metadata)


def _mapped(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with what the reader says can be taken over from the file's own facts.

    Its mapping has entries `own.path: (path, change)`, where `change` may be None.
    """
    metadata = dict(told.get("metadata", {}))
    for source, (target, change) in told.get("mapping", {}).items():
        value = reduce(_below, source.split("."), told.get("original_metadata", {}))
        value = change(value) if value is not None and change is not None else value
        if value is not None:
            *branches, leaf = target.split(".")
            reduce(lambda branch, name: branch.setdefault(name, {}), branches, metadata)[leaf] = value
    return metadata


def _below(tree: Any, name: str) -> Any:
    return tree.get(name) if isinstance(tree, Mapping) else None


def _numbers(data: Any) -> Numbers:
    return data if isinstance(data, np.ndarray) else OnDisk(data)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
