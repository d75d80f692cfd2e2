"""Signals from and to `sidpy.Dataset`, the array with axes of the pycroscopy programs.

sidpy brings more than a hundred packages, so it is not among ours: who has such a dataset has
it installed, and nothing here imports it before it is needed.

Source: sidpy 0.12.9, `sidpy.Dataset` and `sidpy.Dimension`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.errors import NotInstalled
from ...core.signal import Signal
from .found import Found
from .nsid import data_type_of, dimension_type_of
from .placing import lengths_among, placed
from .scales import Scale
from .units import customary


class SidpyDataset(Protocol):
    """What is used of a `sidpy.Dataset`; its axes are its attributes `dim_0`, `dim_1`, ..."""

    title: str
    quantity: str
    units: str
    metadata: Mapping[str, object]

    def __array__(self) -> NDArray:
        """Return the numbers."""
        ...


def from_sidpy(dataset: SidpyDataset) -> Signal:
    """Return a dataset as a signal in SI units, axes `(y, x)` first where it lies on a grid of positions.

    Whatever order it has, y and x ascend and come first, detector axes are `(v, u)`, energy is last.
    """
    numbers = _numbers(dataset)
    scales = tuple(_scale(getattr(dataset, f"dim_{i}")) for i in range(numbers.ndim))
    about, facts = (dataset.quantity, dataset.units), dict(dataset.metadata)
    found = Found(str(dataset.title), numbers, scales, *about, metadata=facts)
    detector = placed(found, Path(), lengths_among([found]))
    if detector is not None and None not in detector.layout.scan:
        return detector.signal()
    return Signal(numbers, tuple(scale.axis() for scale in scales), *about, metadata=facts)


def to_sidpy(signal: Signal, title: str = "signal") -> SidpyDataset:
    """Return a signal as a dataset of sidpy, axes in the same order, in the units that files carry.

    Raises
    ------
    NotInstalled
        If sidpy is not.
    """
    try:
        sidpy = importlib.import_module("sidpy")
    except ModuleNotFoundError:
        raise NotInstalled("a sidpy.Dataset was asked for, but sidpy is not installed: pip install sidpy") from None
    dataset = sidpy.Dataset.from_array(signal.data, title=title)
    dataset.quantity, dataset.units = signal.quantity or "generic", signal.units or "generic"
    dataset.data_type = data_type_of(signal.axes)
    dataset.modality = str(signal.metadata.get("modality", "generic"))
    dataset.source = str(signal.metadata.get("source", "beamloop"))
    dataset.metadata = dict(signal.metadata)
    for i, axis in enumerate(map(customary, signal.axes)):
        about = {"name": axis.name, "units": axis.units or "generic", "quantity": axis.quantity or "generic"}
        kind = dimension_type_of(signal.axes[i])
        dataset.set_dimension(i, sidpy.Dimension(axis.coordinates(), dimension_type=kind, **about))
    return dataset


def _numbers(dataset: SidpyDataset) -> NDArray:
    # A dataset of sidpy is an array of dask, which would leave a pool of threads behind.
    with importlib.import_module("dask").config.set(scheduler="synchronous"):
        return np.asarray(dataset)


def _scale(dimension: NDArray) -> Scale:
    """Return an axis of sidpy, which is an array with a name and units of its own."""
    told = {name: str(getattr(dimension, name, "")) for name in ("name", "quantity", "units")}
    kind = getattr(getattr(dimension, "dimension_type", None), "name", "")
    return Scale(told["name"], told["quantity"], told["units"], kind, np.array(dimension, dtype=np.float64))
