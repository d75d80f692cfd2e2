"""EMD: the Berkeley format 0.2 (also fpd's Medipix files) and EMD 1.0 of py4DSTEM.

A group says by its attribute `emd_group_type` that it holds an array: `data` and one vector
for each axis, `dim1`... in 0.2, `dim0`... in 1.0, where a vector of two tells offset and step.
py4DSTEM calls the first axis of an array x; here it is y, for it is the slow one of a scan.
FEI's Velox also calls its files .emd, but they have another layout: see `vendor`.

Source: emdatasets.com/format (0.2) and files of emdfile 0.0.16 (1.0).
"""

from __future__ import annotations

import h5py
import numpy as np

from ..facts import attribute, tree_of
from ..found import Found, Numbers
from ..scales import Scale, bare_scale
from .unrolled import WithoutAxes

_ARRAYS = ("1", "array")
_PEAKS = ("3", "pointlistarray", "pointlist", "2")
_PY4DSTEM = {"Rx": "y", "Ry": "x", "Qx": "v", "Qy": "u"}

_NOT_ARRAYS = (
    "a py4DSTEM list of points for each position and no grid of numbers; make a map or the patterns of it in "
    "py4DSTEM and save that"
)


def emd(file: h5py.File) -> list[Found]:
    """Return the arrays of an EMD file, none if it is no such file."""
    groups: list[h5py.Group] = []

    def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and attribute(item, "emd_group_type").lower() in _ARRAYS + _PEAKS:
            groups.append(item)

    file.visititems(keep)
    facts = {key: tree_of(file[key]) for key in ("microscope", "sample", "stage", "user") if key in file}
    return [_found(group, data, facts) for group in groups if (data := _data(group)) is not None]


def _data(group: h5py.Group) -> h5py.Dataset | None:
    data = group.get("data")
    return data if isinstance(data, h5py.Dataset) and data.ndim and data.size else None


def _found(group: h5py.Group, data: h5py.Dataset, facts: dict) -> Found:
    first = 0 if "dim0" in group else 1
    scales = [_scale(group.get(f"dim{i + first}"), size) for i, size in enumerate(data.shape)]
    # Axes of one element, such as fpd's colour, would only make frames of more dimensions than they have.
    alone = tuple(i for i, scale in enumerate(scales) if len(scale.at) == 1 and not scale.on_specimen)
    numbers: Numbers = WithoutAxes(data, alone) if alone and len(alone) < len(scales) else data
    kept = [scale for i, scale in enumerate(scales) if numbers is data or i not in alone]
    is_list = attribute(group, "emd_group_type").lower() in _PEAKS
    name = attribute(data, "name")
    return Found(
        path=str(data.name),
        data=numbers,
        scales=tuple(kept),
        quantity=name if name.lower() != "data" else "",
        units=attribute(data, "units"),
        title=_title(group),
        metadata=facts,
        why=_NOT_ARRAYS if is_list else "",
    )


def _title(group: h5py.Group) -> str:
    """Return the name of the group where others stand beside it, for it may say as little as `data`."""
    beside = group.parent
    return str(group.name).rsplit("/", 1)[-1] if isinstance(beside, h5py.Group) and len(beside) > 1 else ""


def _scale(vector: object, size: int) -> Scale:
    if not isinstance(vector, h5py.Dataset):
        return bare_scale("", size)
    name = attribute(vector, "name")
    name, units = _PY4DSTEM.get(name, name), attribute(vector, "units")
    if vector.dtype.kind not in "iuf" or vector.shape not in ((size,), (2,)):
        return bare_scale(name, size)
    at = vector[()].astype(np.float64)
    if len(at) != size:
        at = at[0] + (at[1] - at[0]) * np.arange(size)
    return Scale(name, "", units, "", at) if np.isfinite(at).all() else bare_scale(name, size)
