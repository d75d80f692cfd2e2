"""The formats of microscope makers, through rosettasciio: dm3, dm4, bcf, ser, mib, blo, mrc, tif and more.

rosettasciio gives an array, a list of axes and a tree of facts for each dataset of a file.
It is under the GPL and brings dask, so it is optional, and asked for only when such a file is
opened.

Source: the file specification of rosettasciio 0.15.0 (`axes`: name, units, scale, offset,
size, navigate; `metadata`: General, Signal, Acquisition_instrument).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import NotInstalled, RecordingUnreadable
from ..found import Found, Numbers
from ..scales import Scale, even_scale
from ..units import si_units

LAZY_BYTES = 1 << 28
"""Files from this size on stay on disk, where their reader can leave them there."""

_PREFERRED = {"tif": "TIFF", "tiff": "TIFF", "emd": "EMD", "hdf5": "HSPY"}
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
    lazy = path.stat().st_size >= LAZY_BYTES and plugin["name"] not in _NEVER_LAZY
    try:
        datasets = importlib.import_module(plugin["api"]).file_reader(str(path), lazy=lazy)
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
    return [_found(path, i, each) for i, each in enumerate(datasets)]


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
    metadata = _plain(told.get("metadata", {}))
    signal = metadata.get("Signal", {})
    general = metadata.get("General", {})
    quantity, units = _quantity(str(signal.get("quantity", "")))
    title = str(general.get("title", ""))
    return Found(
        path=f"{path.name}: {title}" if title else f"{path.name}: {i}",
        data=_numbers(told["data"]),
        scales=_scales(told["axes"], str(signal.get("signal_type", ""))),
        quantity=quantity,
        units=units,
        title=title,
        metadata=metadata,
    )


def _numbers(data: Any) -> Numbers:
    return data if isinstance(data, np.ndarray) else OnDisk(data)


def _scales(axes: Sequence[Mapping[str, Any]], signal_type: str) -> tuple[Scale, ...]:
    """Return the axes in the array's order, with kinds where what they stand for is told."""
    moved = [axis for axis in axes if axis.get("navigate")]
    in_frame = [axis for axis in axes if not axis.get("navigate")]
    reciprocal = any(si_units(str(axis.get("units") or ""))[0] in ("1/m", "rad") for axis in in_frame)
    is_camera = len(in_frame) == 2 and (signal_type == "electron_diffraction" or len(moved) == 2 or reciprocal)

    def kind(axis: Mapping[str, Any]) -> str:
        if axis.get("navigate"):
            return "SPATIAL" if is_camera or len(moved) == 2 else ""
        if is_camera:
            return "RECIPROCAL"
        return "SPATIAL" if len(in_frame) == 2 and not axis.get("name") else ""

    return tuple(_scale(axis, kind(axis)) for axis in axes)


def _scale(axis: Mapping[str, Any], kind: str) -> Scale:
    name, units = (str(axis.get(key) or "") for key in ("name", "units"))
    name = "" if name == "<undefined>" else name
    if not kind and si_units(units)[0] == "eV":
        kind = "SPECTRAL"
    if "axis" in axis and np.ndim(axis["axis"]) == 1:
        return Scale(name, "", units, kind, np.asarray(axis["axis"], dtype=np.float64))
    return even_scale(name, units, int(axis["size"]), float(axis["scale"]), float(axis["offset"]), kind)


def _quantity(text: str) -> tuple[str, str]:
    """Return what is measured and in which units.

    >>> _quantity("X-rays (Counts)"), _quantity("Intensity")
    (('X-rays', 'Counts'), ('Intensity', ''))
    """
    both = re.fullmatch(r"(.*?)\s*\((.*)\)", text)
    return (both[1], both[2]) if both else (text, "")


def _plain(value: Any) -> Any:
    """Return a tree of facts in Python's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
