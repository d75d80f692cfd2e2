"""USID, the older format of the pycroscopy group: every dataset a table of positions by spectral steps.

Beside a main dataset lie four tables, referred to by its attributes: the index and the value
of each position, and of each spectral step, along every dimension. From the indices the table
is seen as a grid again.

Source: the USID file specification and files of pyUSID 0.0.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ..facts import attribute, text_of, tree_of
from ..found import Found
from ..scales import Scale, bare_scale
from .unrolled import Unrolled

_TABLES = ("Position_Indices", "Position_Values", "Spectroscopic_Indices", "Spectroscopic_Values")


def usid(file: h5py.File) -> list[Found]:
    """Return the main datasets of a USID file, none if it is no such file."""
    found: list[h5py.Dataset] = []

    def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.size and all(t in item.attrs for t in _TABLES):
            found.append(item)

    file.visititems(keep)
    return [_found(dataset) for dataset in found]


@dataclass(frozen=True)
class _Table:
    """Dimensions of positions or of spectral steps, slowest first, and which row lies where on their grid."""

    scales: tuple[Scale, ...]
    order: NDArray[np.intp] | None


def _found(dataset: h5py.Dataset) -> Found:
    index, value, step, at = (cast(h5py.Dataset, dataset.file[dataset.attrs[name]]) for name in _TABLES)
    positions = _table(index, value, index[()], value[()], "SPATIAL")
    spectrum = _table(step, at, step[()].T, at[()].T, "SPECTRAL")
    facts = tree_of(dataset.parent) | tree_of(dataset.parent.parent)
    known = {
        "path": str(dataset.name),
        "quantity": attribute(dataset, "quantity"),
        "units": attribute(dataset, "units"),
        "metadata": {key: fact for key, fact in facts.items() if not isinstance(fact, dict)},
    }
    order, columns = positions.order, spectrum.order
    if order is None or order.ndim > 2:
        why = f"a table of {dataset.shape[0]} positions that make no grid over y and x"
        return Found(
            data=dataset,
            scales=(bare_scale("position", dataset.shape[0]), bare_scale("step", dataset.shape[1])),
            why=why,
            **known,
        )
    scan = positions.scales
    if order.ndim < 2:
        order, scan = order.reshape(1, -1), (bare_scale("y", 1, "SPATIAL"), *scan)
    frame = spectrum.scales
    if columns is None:
        columns, frame = np.arange(dataset.shape[1]), (bare_scale("step", dataset.shape[1]),)
    # A single step is a number, whatever its dimension is called.
    kept = tuple(i for i, size in enumerate(columns.shape) if size > 1)
    columns = columns.reshape([columns.shape[i] for i in kept])
    return Found(data=Unrolled(dataset, order, columns), scales=(*scan, *(frame[i] for i in kept)), **known)


def _table(indices: h5py.Dataset, values: h5py.Dataset, index: NDArray, value: NDArray, kind: str) -> _Table:
    """Return the dimensions of rows `index`, shape (n, dimensions), fastest first as USID has them."""
    labels = [text_of(label) for label in np.atleast_1d(indices.attrs.get("labels", []))]
    units = [text_of(unit) for unit in np.atleast_1d(values.attrs.get("units", []))]
    index = index.astype(np.intp)
    # The dimension that changes least often is the slowest.
    dimensions = sorted(range(index.shape[1]), key=lambda d: int(np.count_nonzero(np.diff(index[:, d]))))
    scales, shape = [], []
    for d in dimensions:
        places, first = np.unique(index[:, d], return_index=True)
        label, unit = (told[d] if d < len(told) else "" for told in (labels, units))
        scales.append(Scale(label, "", unit, kind, value[first, d].astype(np.float64)))
        shape.append(len(places))
    flat = np.ravel_multi_index([np.unique(index[:, d], return_inverse=True)[1] for d in dimensions], shape)
    order = np.full(int(np.prod(shape)), -1, np.intp)
    order[flat] = np.arange(len(index))
    whole = len(index) == len(order) and bool((order >= 0).all())
    return _Table(tuple(scales), order.reshape(shape) if whole else None)
