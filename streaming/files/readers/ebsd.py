"""Orientation maps: EDAX's h5 with patterns, and .ang text with one line for each point.

Both list points along the rows of a square grid; a hexagonal one is no grid over y and x, and
is refused. Lengths are in micrometres.

Source: files of EDAX OIM 8 (`Scan 1/EBSD/Header`, `Data`) and of EMsoft (.ang).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from ....core.errors import RecordingUnreadable
from ..facts import text_of
from ..found import Found
from ..scales import Scale, bare_scale, even_scale
from .unrolled import Unrolled

_ANG_COLUMNS = ("phi1", "Phi", "phi2", "x", "y", "image quality", "confidence index", "phase")
_HEXAGONAL = "on a hexagonal grid; resample it to a square one in the program that made it"


def edax(file: h5py.File) -> list[Found]:
    """Return patterns and maps of an EDAX file, none if it is no such file."""
    scans = [g for g in file.values() if isinstance(g, h5py.Group) and "EBSD/Header/nRows" in g and "EBSD/Data" in g]
    return [found for scan in scans for found in _datasets(scan)]


def _datasets(scan: h5py.Group) -> Iterator[Found]:
    header, data = scan["EBSD/Header"], scan["EBSD/Data"]
    assert isinstance(header, h5py.Group)
    assert isinstance(data, h5py.Group)
    told = {key: text_of(item) for key, item in header.items() if isinstance(item, h5py.Dataset) and item.size == 1}
    ny, nx = int(told["nRows"]), int(told["nColumns"])
    scan_axes = (
        even_scale("y", "um", ny, float(told["Step Y"]), kind="SPATIAL"),
        even_scale("x", "um", nx, float(told["Step X"]), kind="SPATIAL"),
    )
    why = "" if told.get("Grid Type", "SqrGrid").startswith("Sqr") else _HEXAGONAL
    for name, item in data.items():
        if not isinstance(item, h5py.Dataset) or item.shape[:1] != (ny * nx,) or name.endswith(" Position"):
            continue
        frame = tuple(bare_scale(axis, size, "RECIPROCAL") for axis, size in zip("vu", item.shape[1:], strict=False))
        order = np.arange(ny * nx).reshape(ny, nx)
        yield Found(str(item.name), Unrolled(item, order), (*scan_axes, *frame), name, metadata=told, why=why)


def ang(path: Path) -> list[Found]:
    """Return the maps of an .ang file.

    Raises
    ------
    RecordingUnreadable
        If it is cut off or not laid out as such files are, or its grid is hexagonal.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    told = {m[1]: m[2] for line in lines if (m := re.match(r"#\s*(\w+)[:\s]+(.*\S)", line))}
    if told.get("GRID", "").startswith("Hex"):
        raise RecordingUnreadable(f"{path} is {_HEXAGONAL}")
    try:
        ny, nx = int(told["NROWS"]), int(told["NCOLS_ODD"])
        steps = float(told["YSTEP"]), float(told["XSTEP"])
        table = np.loadtxt((line for line in lines if line and not line.startswith("#")), ndmin=2)
    except (KeyError, ValueError) as error:
        raise RecordingUnreadable(f"{path} is no .ang file of a square grid: {error}") from None
    if len(table) != ny * nx:
        raise RecordingUnreadable(f"{path} has {len(table)} points, its header says {ny} x {nx}; it may be cut off")
    axes = tuple(even_scale(n, "um", s, step, kind="SPATIAL") for n, s, step in zip("yx", (ny, nx), steps, strict=True))
    facts = {key: told[key] for key in ("GRID", "OPERATOR", "SAMPLEID", "SCANID") if key in told}
    names = [*_ANG_COLUMNS, *(f"column {i + 1}" for i in range(len(_ANG_COLUMNS), table.shape[1]))]
    return [
        _ang_map(name, table[:, i].reshape(ny, nx), axes, facts) for i, name in enumerate(names) if name not in "xy"
    ]


def _ang_map(name: str, values: np.ndarray, axes: tuple[Scale, ...], facts: dict[str, str]) -> Found:
    return Found(name, values, axes, name, "rad" if name.lower().startswith("phi") else "", metadata=facts)
