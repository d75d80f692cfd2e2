"""Every attribute that a reader demands is in what we write; looked at in plain HDF5, with the readers' own rules.

Source: pyNSID 0.0.7.2 and SciFiReaders 0.12.7 (a main dataset that lacks one of `NSID_MAIN` is passed over in
silence, one without DIMENSION_LABELS raises), hyperspy 2.5.0 (file_format_version 3.3), py4DSTEM 0.14.18
(emdfile 0.0.16): each was taken off in turn from a file that the program had written itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from .written import ENERGY, U, V, write_run, write_scans

NSID_MAIN = ("quantity", "units", "data_type", "modality", "source", "main_data_name", "pyNSID_version")
NSID_AXIS = ("name", "quantity", "units", "dimension_type")
NSID_TYPES = {
    "SPECTRUM", "LINE_PLOT", "LINE_PLOT_FAMILY", "IMAGE", "IMAGE_MAP", "IMAGE_STACK", "SPECTRAL_IMAGE", "IMAGE_4D",
    "POINT_CLOUD",
}  # fmt: skip
NSID_DIMENSIONS = {"SPATIAL", "RECIPROCAL", "SPECTRAL", "TEMPORAL", "CHANNEL"}


@pytest.fixture(params=["scans", "spectra", "patterns"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[h5py.File]:
    path = tmp_path / "file.h5"
    if request.param == "scans":
        write_scans(path, "gzip")
    else:
        write_run(path, (ENERGY,) if request.param == "spectra" else (V, U))
    with h5py.File(path) as opened:
        yield opened


def mains(file: h5py.File) -> Iterator[h5py.Dataset]:
    for channel in file["Measurement_000"].values():
        for name, group in channel.items():
            yield group[name]


def test_nsid(file: h5py.File) -> None:
    assert len(list(mains(file))) >= 3
    for main in mains(file):
        for name in NSID_MAIN:
            assert isinstance(main.attrs[name], str), (main.name, name)
            assert main.attrs[name], (main.name, name)
        assert main.attrs["main_data_name"] == main.name.rsplit("/", 1)[-1] == main.parent.name.rsplit("/", 1)[-1]
        assert main.attrs["data_type"] in NSID_TYPES
        assert len(main.attrs["DIMENSION_LABELS"]) == main.ndim
        assert {"machine_id", "platform"}.isdisjoint(main.attrs), "files are published"
        for number, dimension in enumerate(main.dims):
            (scale,) = dimension.values()
            assert scale.is_scale
            assert scale.shape == (main.shape[number],)
            for name in NSID_AXIS:
                assert scale.attrs[name], (scale.name, name)
            assert scale.attrs["dimension_type"] in NSID_DIMENSIONS
            assert scale.parent == main.parent
            assert scale.name.rsplit("/", 1)[-1] == scale.attrs["name"] == dimension.label
        for group in ("metadata", "original_metadata", "provenance"):
            assert isinstance(main.parent[group], h5py.Group)
        assert main.parent["provenance"].attrs["program"] == "beamloop"


def test_hyperspy(file: h5py.File) -> None:
    assert (file.attrs["file_format"], file.attrs["file_format_version"]) == ("HyperSpy", "3.3")
    views = file["Experiments"]
    mains_by_name = {str(main.attrs["main_data_name"]): main for main in mains(file)}
    assert set(views) == set(mains_by_name)
    for name, view in views.items():
        link = view.get("data", getlink=True)
        assert isinstance(link, h5py.SoftLink), "a hard link hides the dataset from NSID readers"
        data = view["data"]
        assert link.path == mains_by_name[name].name
        assert {"package", "package_version"} <= set(view.attrs)
        assert {"metadata", "original_metadata", "learning_results", "attributes"} <= set(view)
        assert view["metadata/General"].attrs["title"] == name
        assert "signal_type" in view["metadata/Signal"].attrs
        for number in range(data.ndim):
            axis = view[f"axis-{number}"].attrs
            assert axis["_type"] == "UniformDataAxis"
            assert axis["size"] == data.shape[number]
            assert {"name", "units", "scale", "offset"} <= set(axis)
            assert all(np.asarray(axis[flag]).dtype == np.bool_ for flag in ("navigate", "is_binned"))
        assert f"axis-{data.ndim}" not in view


def test_emd(file: h5py.File) -> None:
    cubes = [main for main in mains(file) if main.attrs["data_type"] == "IMAGE_4D"]
    roots = [name for name in file if name.endswith("_root")]
    assert len(roots) == len(cubes)
    if not cubes:
        return
    assert (file.attrs["emd_group_type"], file.attrs["version_major"], file.attrs["version_minor"]) == ("file", 1, 0)
    assert {"authoring_program", "authoring_user", "UUID"} <= set(file.attrs)
    root = file["camera_root"]
    assert (root.attrs["emd_group_type"], root.attrs["python_class"]) == ("root", "Root")
    cube = root["camera"]
    assert (cube.attrs["emd_group_type"], cube.attrs["python_class"]) == ("array", "DataCube")
    assert isinstance(cube.get("data", getlink=True), h5py.SoftLink)
    assert cube["data"].attrs["units"] == "counts"
    for number, name in enumerate(("Rx", "Ry", "Qx", "Qy")):
        dim = cube[f"dim{number}"]
        assert dim.shape == (2,)
        assert (dim.attrs["name"], dim.attrs["units"]) == (name, "nm" if number < 2 else "A^-1")
    calibration = root["metadatabundle/calibration"]
    assert root["metadatabundle"].attrs["emd_group_type"] == "metadatabundle"
    assert (calibration.attrs["emd_group_type"], calibration.attrs["python_class"]) == ("metadata", "Calibration")
    for name in ("R_pixel_size", "R_pixel_units", "Q_pixel_size", "Q_pixel_units", "QR_flip"):
        assert "type" in calibration[name].attrs
    assert calibration["R_pixel_size"][()] == pytest.approx(0.5)
    # 1e8 1/m is 0.1 1/nm is 0.01 1/Å.
    assert calibration["Q_pixel_size"][()] == pytest.approx(0.01)


def test_a_run_says_what_wrote_it_and_in_which_format(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", (ENERGY,))
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["run_file_format"] == 2
        assert file.attrs["program"] == "beamloop"
        assert file.attrs["program_version"]
