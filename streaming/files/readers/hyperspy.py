"""HyperSpy's .hspy: a group for each signal, with data, a group for each axis, and metadata.

Source: files of HyperSpy 1.5 to 2.5 (`file_format_version` 3.0 to 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from ..facts import plain, tree_of
from ..found import Found
from .terms import in_terms


def hyperspy(file: h5py.File) -> list[Found]:
    """Return the signals of a HyperSpy file, none if it is no such file."""
    experiments = file.get("Experiments")
    return list(_signals(experiments)) if isinstance(experiments, h5py.Group) else []


def _signals(experiments: h5py.Group) -> Iterator[Found]:
    for name, group in experiments.items():
        data = group.get("data") if isinstance(group, h5py.Group) else None
        if isinstance(data, h5py.Dataset) and data.ndim and data.size:
            axes = [_axis(group, i, size) for i, size in enumerate(data.shape)]
            yield in_terms(str(data.name), data, axes, tree_of(group.get("metadata")), name.strip("_"))


def _axis(group: h5py.Group, i: int, size: int) -> dict[str, Any]:
    found = group.get(f"axis-{i}")
    if not isinstance(found, h5py.Group):
        return {"name": "", "size": size}
    axis: dict[str, Any] = {key: plain(value) for key, value in found.attrs.items()} | {"size": size}
    values = found.get("axis")
    if isinstance(values, h5py.Dataset):
        axis["axis"] = values[()]
    # Bools are text in files of some versions.
    return axis | {"navigate": str(axis.get("navigate", False)) == "True"}
