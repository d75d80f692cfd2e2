"""NSID: what beamloop, pyNSID and DTMicroscope write. See `files.nsid` for the layout."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ....core.signal import Axis, Signal
from ..facts import attribute, facts_of, part_of, text_of, told
from ..found import Found
from ..nsid import POSITIONS, SI_OFFSET, SI_SCALE, VALID, group_of
from ..scales import Scale, bare_scale

MAIN = ("quantity", "units", "data_type")
"""Attributes by which a main dataset is known."""


def nsid(file: h5py.File) -> list[Found]:
    """Return the main datasets of an NSID file, none if it is no such file."""
    return [_found(dataset) for dataset in _main_datasets(file)]


def _main_datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []

    def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim and item.size and all(key in item.attrs for key in MAIN):
            found.append(item)

    # Soft links, by which other programs see the same data, are not followed.
    file.visititems(keep)
    return found


def _found(dataset: h5py.Dataset) -> Found:
    group = group_of(dataset)
    return Found(
        path=text_of(dataset.name),
        data=dataset,
        scales=scales_of(dataset),
        quantity=told(attribute(dataset, "quantity")),
        units=told(attribute(dataset, "units")),
        detector=attribute(dataset, "detector"),
        metadata=facts_of(group),
        valid=_valid(group),
        positions=_positions(group),
    )


def stored_signal(dataset: h5py.Dataset) -> Signal:
    """Return a main dataset whole, with axes in SI units and its metadata.

    Raises
    ------
    OSError
        If the file is damaged there.
    """
    group = group_of(dataset)
    axes = axes_of(dataset)
    quantity, units = (told(attribute(dataset, key)) for key in ("quantity", "units"))
    return Signal(dataset[()], axes, quantity, units, _valid(group), facts_of(group))


def axes_of(dataset: h5py.Dataset) -> tuple[Axis, ...]:
    """Return the axes of a dataset that this program has written, in SI units, to the last digit."""
    found = zip((scale.axis() for scale in scales_of(dataset)), dataset.dims, strict=True)
    return tuple(axis.model_copy(update=_exact(dimension)) for axis, dimension in found)


def scales_of(dataset: h5py.Dataset) -> tuple[Scale, ...]:
    """Return the axes of a main dataset as its file tells them, one for each dimension."""
    return tuple(_scale(dataset, i) for i in range(dataset.ndim))


def _scale(dataset: h5py.Dataset, i: int) -> Scale:
    dimension, size = dataset.dims[i], dataset.shape[i]
    label = text_of(dimension.label)
    found = dimension[0] if len(dimension) else group_of(dataset).get(label)
    if not isinstance(found, h5py.Dataset) or found.shape != (size,) or found.dtype.kind not in "iuf":
        return bare_scale(label or f"dimension_{i}", size)
    at = found[()].astype(np.float64)
    if not np.isfinite(at).all():
        # Coordinates that are no numbers tell nothing, and neither do their units.
        return bare_scale(label, size)
    step = found.attrs.get("step")
    return Scale(
        label or str(found.name).rsplit("/", 1)[-1],
        told(attribute(found, "quantity")),
        told(attribute(found, "units")),
        attribute(found, "dimension_type").rsplit(".", 1)[-1].upper(),
        at,
        None if step is None else float(step),
    )


def _exact(dimension: Any) -> dict[str, object]:
    """Return offset and step of an axis of ours as they were, not as customary units have rounded them."""
    kept = dimension[0].attrs if len(dimension) else {}
    if SI_OFFSET not in kept or SI_SCALE not in kept:
        return {}
    return {"offset": float(kept[SI_OFFSET]), "scale": float(kept[SI_SCALE]), "values": ()}


def _valid(group: h5py.Group) -> NDArray[np.bool_] | None:
    found = part_of(group, VALID)
    return found[()].astype(np.bool_) if isinstance(found, h5py.Dataset) else None


def _positions(group: h5py.Group) -> NDArray[np.float64] | None:
    found = part_of(group, POSITIONS)
    # Written in nm.
    return found[()] * 1e-9 if isinstance(found, h5py.Dataset) else None
