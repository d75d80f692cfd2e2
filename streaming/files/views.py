"""The same data as HyperSpy and py4DSTEM look for them: links and small groups, no copy.

    /Experiments/<name>/          HyperSpy: axis-0.., metadata, and `data`, a soft link to the main dataset
    /<name>_root/<name>/          EMD 1.0 (py4DSTEM), of 4D scans: dim0.., and `data`, the same link
    /<name>_root/metadatabundle/  pixel sizes, without which py4DSTEM reports pixels

The links must be soft: with hard ones HDF5 may reach the data by way of a view first, and NSID readers then
miss their scales. HyperSpy opens the file with `hs.load(file, reader="hspy")`, py4DSTEM with
`py4DSTEM.read(file, datapath="<name>_root")`.

Source: what hyperspy 2.5.0 (file_format_version 3.3) and py4DSTEM 0.14.18 (emdfile 0.0.16) write.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import h5py
import numpy as np

from ...core.signal import Axis
from .units import customary

_PACKAGE, _PACKAGE_VERSION, _FORMAT_VERSION = "hyperspy", "2.5.0", "3.3"
_SCAN = ("y", "x", "z", "index")
_HYPERSPY_NAMES = {"energy_loss": "Energy loss", "energy": "Energy", "u": "kx", "v": "ky"}
_SIGNAL_TYPES = {"energy_loss": "EELS", "energy": "EDS_TEM"}
_EMD_NAMES = ("Rx", "Ry", "Qx", "Qy")
_EMD_UNITS = {"nm": ("nm", 1.0), "1/nm": ("A^-1", 0.1), "mrad": ("mrad", 1.0)}
_NOTHING = "_None_"
"""How HyperSpy spells None."""


def add_views(main: h5py.Dataset, axes: tuple[Axis, ...], facts: Mapping[str, object]) -> None:
    """Add the views that can hold a main dataset.

    Parameters
    ----------
    main
        The main dataset, in its place.
    axes
        Its axes in SI units.
    facts
        Its metadata; the instrument's state is looked for in `state` and `scan/state`.
    """
    written = tuple(customary(axis) for axis in axes)
    if axes:
        _add_hyperspy(main, written, facts)
    if [axis.name for axis in axes[:2]] == ["y", "x"] and len(axes) == 4 and not any(axis.values for axis in axes):
        _add_emd(main, written)


def conditions(facts: Mapping[str, object]) -> dict[str, float]:
    """Return what metadata tell of the instrument's state, SI units."""
    scan = facts.get("scan")
    state = facts.get("state", scan.get("state") if isinstance(scan, Mapping) else None)
    found = dict(state) if isinstance(state, Mapping) else {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, (int, float))}


def _add_hyperspy(main: h5py.Dataset, axes: tuple[Axis, ...], facts: Mapping[str, object]) -> None:
    file, place = main.file, str(main.attrs["main_data_name"])
    file.attrs.update({"file_format": "HyperSpy", "file_format_version": _FORMAT_VERSION})
    view = _free(file.require_group("Experiments"), place)
    view.attrs.update({"package": _PACKAGE, "package_version": _PACKAGE_VERSION})
    view["data"] = h5py.SoftLink(main.name)
    alone = all(axis.name in _SCAN for axis in axes)
    for number, axis in enumerate(axes):
        _write_axis(view.create_group(f"axis-{number}"), axis, navigate=axis.name in _SCAN and not alone)
    view.create_group("metadata/General").attrs["title"] = place
    signal = view.create_group("metadata/Signal")
    signal.attrs.update({"signal_type": _SIGNAL_TYPES.get(axes[-1].name, ""), "quantity": str(main.attrs["quantity"])})
    _write_microscope(view, conditions(facts), facts.get("dwell_s"))
    view.create_group("attributes").attrs.update({"_lazy": False, "ragged": False})
    for empty in ("original_metadata", "learning_results"):
        view.create_group(empty)


def _write_axis(group: h5py.Group, axis: Axis, navigate: bool) -> None:
    steps = np.diff(axis.values)
    ordered = bool((steps > 0).all() or (steps < 0).all())
    name = _HYPERSPY_NAMES.get(axis.name, axis.name)
    if not ordered:
        # HyperSpy knows no axis that turns back, as a voltage sweep does, so this one counts.
        name, axis = f"index of {name}", Axis(name=axis.name, size=axis.size)
    group.attrs.update({"name": name, "units": axis.units or _NOTHING, "navigate": navigate, "is_binned": False})
    if axis.values:
        group.attrs["_type"] = "DataAxis"
        group.create_dataset("axis", data=axis.coordinates())
    else:
        facts = {"_type": "UniformDataAxis", "scale": axis.scale, "offset": axis.offset, "size": axis.size}
        group.attrs.update(facts)


def _write_microscope(view: h5py.Group, state: Mapping[str, float], dwell_s: object) -> None:
    microscope = view.create_group("metadata/Acquisition_instrument/TEM")
    for name, ours, factor in (
        ("beam_energy", "beam_energy_ev", 1e-3), ("convergence_angle", "semi_angle_rad", 1e3),
        ("beam_current", "beam_current_a", 1e9),
    ):  # fmt: skip
        if ours in state:
            microscope.attrs[name] = state[ours] * factor
    if isinstance(dwell_s, (int, float)):
        microscope.create_group("Detector/EELS").attrs["dwell_time"] = float(dwell_s)


def _add_emd(main: h5py.Dataset, axes: tuple[Axis, ...]) -> None:
    file, place = main.file, str(main.attrs["main_data_name"])
    if "UUID" not in file.attrs:
        file.attrs.update({"emd_group_type": "file", "version_major": 1, "version_minor": 0, "authoring_user": "",
                           "authoring_program": "beamloop", "UUID": str(uuid.uuid4())})  # fmt: skip
    root = _free(file, f"{place}_root")
    root.attrs.update({"emd_group_type": "root", "python_class": "Root"})
    cube = root.create_group(place)
    cube.attrs.update({"emd_group_type": "array", "python_class": "DataCube"})
    cube["data"] = h5py.SoftLink(main.name)
    sizes = []
    for number, (axis, name) in enumerate(zip(axes, _EMD_NAMES, strict=True)):
        units, factor = _EMD_UNITS.get(axis.units, ("pixels", 1.0))
        step = axis.scale * factor if units != "pixels" else 1.0
        sizes.append((step, units))
        dim = cube.create_dataset(f"dim{number}", data=np.array([0.0, step]))
        dim.attrs.update({"name": name, "units": units})
    _write_calibration(root, place, sizes)


def _write_calibration(root: h5py.Group, place: str, sizes: list[tuple[float, str]]) -> None:
    bundle = root.create_group("metadatabundle")
    bundle.attrs["emd_group_type"] = "metadatabundle"
    calibration = bundle.create_group("calibration")
    calibration.attrs.update({"emd_group_type": "metadata", "python_class": "Calibration"})
    (r_size, r_units), (q_size, q_units) = sizes[0], sizes[2]
    for name, value, kind in (
        ("R_pixel_size", r_size, "number"), ("R_pixel_units", r_units, "string"),
        ("Q_pixel_size", q_size, "number"), ("Q_pixel_units", q_units, "string"),
        ("QR_flip", False, "bool"), ("_root_treepath", "", "string"),
    ):  # fmt: skip
        calibration.create_dataset(name, data=value).attrs["type"] = kind
    paths = calibration.create_group("_target_paths")
    paths.attrs.update({"type": "list_of_strings", "length": 1})
    paths.create_dataset("0", data=f"/{place}")


def _free(group: h5py.Group, name: str) -> h5py.Group:
    """Return a new group of this name, or of one with a number where two channels have the same."""
    number, wished = 1, name
    while wished in group:
        number += 1
        wished = f"{name}_{number}"
    return group.create_group(wished)
