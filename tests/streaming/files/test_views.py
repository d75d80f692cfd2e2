"""The views of a main dataset; that other programs open them is tested in `tests/conformance`."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, Signal
from beamloop.streaming.files import write_signal

Y, X = (Axis(name=name, size=2, units="m", scale=2e-10) for name in "yx")
V, U = (Axis(name=name, size=3, units="rad", scale=1e-3) for name in "vu")


def written(file: h5py.File, *axes: Axis, channel: str = "Channel_000", **facts: object) -> None:
    write_signal(file, channel, "d", Signal(np.zeros([a.size for a in axes]), axes, "i", "counts", metadata=facts))


@pytest.fixture
def file(tmp_path: Path):
    with h5py.File(tmp_path / "f.h5", "w") as opened:
        yield opened


def test_an_uneven_axis_lists_its_coordinates_and_keeps_the_scan_out_of_emd(file: h5py.File) -> None:
    uneven = Axis(name="u", size=3, units="rad", values=(0.0, 1e-3, 5e-3))
    written(file, Y, X, V, uneven)
    axis = file["Experiments/d/axis-3"]
    assert axis.attrs["_type"] == "DataAxis"
    assert axis["axis"][()].tolist() == [0.0, 1.0, 5.0]
    assert "d_root" not in file


def test_angles_stay_angles_and_what_py4dstem_does_not_know_becomes_pixels(file: h5py.File) -> None:
    written(file, Y, X, V, U)
    calibration = file["d_root/metadatabundle/calibration"]
    assert calibration["Q_pixel_units"].asstr()[()] == "mrad"
    assert calibration["Q_pixel_size"][()] == pytest.approx(1.0)
    assert calibration["R_pixel_size"][()] == pytest.approx(0.2)
    volts = Axis(name="v", size=3, units="V", scale=0.5)
    written(file, Y, X, volts, U, channel="Channel_001")
    second = file["d_root_2/d/dim2"]
    assert (second.attrs["units"], second[()].tolist()) == ("pixels", [0.0, 1.0])


def test_two_channels_of_the_same_name_have_two_views(file: h5py.File) -> None:
    written(file, Y, X)
    written(file, Y, X, channel="Channel_001")
    links = [file[f"Experiments/{name}"].get("data", getlink=True).path for name in ("d", "d_2")]
    assert links == [f"/Measurement_000/Channel_00{n}/d/d" for n in (0, 1)]


def test_the_microscope_is_told_in_the_units_of_each_program(file: h5py.File) -> None:
    written(file, Y, X, state={"beam_energy_ev": 80e3, "semi_angle_rad": 0.03}, dwell_s=0.5)
    microscope = file["Experiments/d/metadata/Acquisition_instrument/TEM"]
    assert microscope.attrs["beam_energy"] == pytest.approx(80.0)
    assert microscope.attrs["convergence_angle"] == pytest.approx(30.0)
    assert microscope["Detector/EELS"].attrs["dwell_time"] == 0.5
    assert file["Measurement_000/Channel_000/d/metadata/experiment"].attrs["acceleration_voltage"] == 80e3


def test_a_view_in_a_file_without_state_names_no_microscope(file: h5py.File) -> None:
    written(file, Y, X)
    assert "experiment" not in file["Measurement_000/Channel_000/d/metadata"]
    assert not file["Experiments/d/metadata/Acquisition_instrument/TEM"].attrs
