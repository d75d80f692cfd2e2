"""The layout of an NSID file, in plain HDF5: main dataset, axes as dimension scales, facts as attributes.

    /Measurement_000/Channel_000/<name>/<name>     the main dataset
    /Measurement_000/Channel_000/<name>/<axis>     one scale per axis, in customary units
    /Measurement_000/Channel_000/<name>/metadata   nested facts (also original_metadata, provenance)
    /Measurement_000/Channel_000/<name>/_long      facts too long for attributes
    /Measurement_000/Channel_000/<name>/valid      1 where a frame was recorded, if not everywhere

`valid` and `positions` carry no main-dataset attributes, so NSID readers pass them over.

Source: what pyNSID 0.0.7.2 writes and its reader demands; a dataset that lacks one of
quantity, units, data_type, modality, source, main_data_name or pyNSID_version is silently
ignored there, and one without DIMENSION_LABELS raises.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...core.errors import OutputExists, SettingsInvalid
from ...core.signal import Axis, Signal
from .compression import Compression, filters
from .units import customary
from .views import add_views, conditions

MEASUREMENT = "Measurement_000"
VALID = "valid"
POSITIONS = "positions"

ATTRIBUTE_BYTES = 1 << 14
"""Longer lists become datasets, since HDF5 holds at most 64 KiB in an attribute."""

LONG = "_long"
"""Where they are, for sidpy fails on a dataset inside `metadata` and passes over groups that begin with `_`."""

GENERIC = "generic"
"""How NSID spells "nothing" for a quantity and for units."""

SI_OFFSET, SI_SCALE = "si_offset", "si_scale"
"""Where an axis of ours keeps its first coordinate and its step exactly."""

_PYNSID, _SIDPY = "0.0.7.2", "0.12.9"
_DATA_TYPES = {
    ("SPATIAL", "SPATIAL"): "IMAGE",
    ("SPATIAL", "SPATIAL", "SPECTRAL"): "SPECTRAL_IMAGE",
    ("SPATIAL", "SPATIAL", "RECIPROCAL", "RECIPROCAL"): "IMAGE_4D",
    ("RECIPROCAL", "RECIPROCAL"): "IMAGE",
    ("SPECTRAL",): "SPECTRUM",
    ("CHANNEL",): "LINE_PLOT",
    ("CHANNEL", "SPECTRAL"): "LINE_PLOT_FAMILY",
    ("CHANNEL", "RECIPROCAL", "RECIPROCAL"): "IMAGE_STACK",
}


def write_signal(
    target: h5py.Group, channel: str, name: str, signal: Signal, compression: Compression = "gzip"
) -> h5py.Dataset:
    """Write a signal as a main dataset and return it.

    Parameters
    ----------
    target
        An open file, or a group in one.
    channel
        For example `Channel_000`.
    name
        Name of the signal, for example of the detector; a character that NSID does not allow becomes `_`.
    signal
        What to write; its axes, in SI units, are written in customary ones.
    compression
        `none` and `gzip` need no plugin to be read.

    Raises
    ------
    OutputExists
        If the place is taken.
    SettingsInvalid
        If two axes have the same name, or one that the layout needs itself.
    """
    dataset = create_main(
        target, channel, name, signal.axes, signal.data.dtype, signal.quantity, signal.units, signal.metadata,
        filters(compression, signal.data.shape, None),
    )  # fmt: skip
    dataset[...] = signal.data
    if signal.valid is not None:
        group_of(dataset).create_dataset(VALID, data=signal.valid.astype(np.uint8))
    return dataset


def create_main(
    target: h5py.Group,
    channel: str,
    name: str,
    axes: tuple[Axis, ...],
    dtype: np.dtype,
    quantity: str,
    units: str,
    metadata: Mapping[str, object],
    storage: Mapping[str, object],
) -> h5py.Dataset:
    """Create an empty main dataset with scales, labels, attributes and metadata, and return it.

    `storage` goes to HDF5 as it is: chunks, filters, fill value. See `write_signal` for the rest.
    """
    place = re.sub(r"\W", "_", name)
    path = f"{MEASUREMENT}/{channel}/{place}"
    taken = {place, VALID, POSITIONS, LONG, "metadata", "original_metadata", "provenance"}
    names = [axis.name for axis in axes]
    if len({*names, *taken}) < len(names) + len(taken):
        raise SettingsInvalid(f"{name!r} cannot be written: its axes {names} must differ from another and from {taken}")
    if path in target:
        raise OutputExists(f"{target.file.filename} already holds {path}; give the signal another name or channel")
    group = target.create_group(path)
    group.attrs.update(_written_by())
    dataset = group.create_dataset(place, tuple(a.size for a in axes), dtype, **storage)
    kinds = tuple(dimension_type_of(axis) for axis in axes)
    facts = {
        "quantity": quantity or GENERIC, "units": units or GENERIC, "data_type": data_type_of(axes),
        "modality": str(metadata.get("modality", "generic")), "source": str(metadata.get("source", "beamloop")),
        "main_data_name": place, "title": place, "detector": name,
    }  # fmt: skip
    dataset.attrs.update(facts | _written_by())
    for i, (axis, kind) in enumerate(zip(axes, kinds, strict=True)):
        dataset.dims[i].label = axis.name
        dataset.dims[i].attach_scale(_scale(group, axis, kind))
    _write_tree(group, "metadata", _with_experiment(metadata))
    group.create_group("original_metadata")
    group.create_group("provenance").attrs.update({"program": "beamloop", "program_version": __version__})
    add_views(dataset, axes, metadata)
    return dataset


def group_of(dataset: h5py.Dataset) -> h5py.Group:
    """Return the group that holds a dataset, with its axes and mask beside it."""
    return cast(h5py.Group, dataset.parent)


def _with_experiment(metadata: Mapping[str, object]) -> Mapping[str, object]:
    """Return the metadata with what sidpy's users look for: `experiment`, in V and mrad."""
    state = conditions(metadata)
    found = {
        "acceleration_voltage": state.get("beam_energy_ev"),
        "convergence_angle": None if "semi_angle_rad" not in state else state["semi_angle_rad"] * 1e3,
    }
    return metadata if "experiment" in metadata or not state else {**metadata, "experiment": found}


def _scale(group: h5py.Group, axis: Axis, kind: str) -> h5py.Dataset:
    written = customary(axis)
    scale = group.create_dataset(axis.name, data=written.coordinates())
    scale.make_scale(axis.name)
    # sidpy takes no empty text and would pass over the axis.
    quantity, units = axis.quantity or GENERIC, written.units or GENERIC
    scale.attrs.update({"name": axis.name, "quantity": quantity, "units": units, "dimension_type": kind})
    if not axis.values:
        # One coordinate alone does not tell the step, and customary units round the numbers.
        scale.attrs.update({"step": written.scale, SI_OFFSET: axis.offset, SI_SCALE: axis.scale})
    return scale


def data_type_of(axes: tuple[Axis, ...]) -> str:
    """Return what sidpy calls data with these axes: `IMAGE_4D`, `SPECTRAL_IMAGE`, ..."""
    return _DATA_TYPES.get(tuple(dimension_type_of(axis) for axis in axes), "UNKNOWN")


def dimension_type_of(axis: Axis) -> str:
    """Return NSID's kind of an axis: `SPATIAL`, `RECIPROCAL`, `SPECTRAL`, `TEMPORAL` or `CHANNEL`."""
    if axis.name in ("y", "x", "z"):
        return "SPATIAL"
    if axis.name in ("v", "u", "ky", "kx"):
        return "RECIPROCAL"
    if axis.name == "index":
        return "CHANNEL"
    return "TEMPORAL" if axis.units == "s" else "SPECTRAL"


def _written_by() -> dict[str, str]:
    # NSID allows the computer's name too; files are published, so it is left out.
    return {
        "pyNSID_version": _PYNSID,
        "sidpy_version": _SIDPY,
        "timestamp": time.strftime("%Y_%m_%d-%H_%M_%S"),
    }


def _write_tree(group: h5py.Group, tree: str, facts: Mapping[str, object]) -> None:
    """Write nested mappings as groups and everything else as attributes, if small; None is left out."""
    here = group.require_group(tree)
    for key, value in facts.items():
        if isinstance(value, Mapping):
            _write_tree(group, f"{tree}/{key}", value)
        elif value is not None:
            fact = _attribute(value)
            if isinstance(fact, np.ndarray) and fact.nbytes > ATTRIBUTE_BYTES:
                group.create_dataset(f"{LONG}/{tree}/{key}", data=fact)
            else:
                here.attrs[str(key)] = fact


def _attribute(value: object) -> str | bool | int | float | NDArray:
    if isinstance(value, (str, bool, int, float)):
        return value
    array = np.asarray(value)
    # Lists of mixed or nested things have no HDF5 type of their own.
    return array if array.dtype.kind in "biuf" else str(value)
