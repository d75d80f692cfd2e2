"""Signals from and to sidpy; skipped, loudly, where sidpy is not installed, as it is not for the other tests.

To run it: make an environment with sidpy, h5py, hdf5plugin, pydantic, numpy and pytest, add this package without its
dependencies (`pip install --no-deps -e .`), and call pytest on this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, NotInstalled, Signal
from beamloop.streaming.files import from_sidpy, to_sidpy, write_signal

Y, X = (Axis(name=n, size=s, units="m", quantity="length", scale=2e-9, offset=1e-9) for n, s in (("y", 3), ("x", 4)))
ENERGY = Axis(name="energy_loss", size=5, units="eV", quantity="energy", offset=100.0, scale=0.5)
CAMERA = tuple(Axis(name=n, size=6, units="1/m", quantity="reciprocal length", offset=-3e8, scale=1e8) for n in "vu")
FACTS = {"dwell_s": 1e-3, "state": {"defocus_m": 1e-9}}


@pytest.fixture
def sidpy():
    return pytest.importorskip("sidpy", reason="sidpy is not installed: signals from and to it are not tested here")


def signal(*frame: Axis) -> Signal:
    axes = (Y, X, *frame)
    data = np.random.default_rng(0).integers(0, 99, [a.size for a in axes]).astype("<u2")
    return Signal(data, axes, "intensity", "counts", metadata=dict(FACTS))


@pytest.mark.parametrize("frame", [(), (ENERGY,), CAMERA], ids=["image", "spectra", "frames"])
def test_a_signal_comes_back_from_sidpy_as_it_went(sidpy, frame: tuple[Axis, ...]) -> None:
    went = signal(*frame)
    dataset = to_sidpy(went, "scan")
    assert isinstance(dataset, sidpy.Dataset)
    came = from_sidpy(dataset)
    np.testing.assert_array_equal(came.data, went.data)
    assert (came.quantity, came.units, came.metadata) == (went.quantity, went.units, went.metadata)
    for ours, theirs in zip(went.axes, came.axes, strict=True):
        assert (ours.name, ours.units, ours.quantity) == (theirs.name, theirs.units, theirs.quantity)
        np.testing.assert_allclose(theirs.coordinates(), ours.coordinates(), rtol=1e-12, atol=1e-12 * abs(ours.scale))


def test_the_dataset_has_the_types_and_customary_units_that_sidpy_draws_by(sidpy) -> None:
    dataset = to_sidpy(signal(ENERGY))
    assert dataset.data_type == sidpy.DataType.SPECTRAL_IMAGE
    assert [dataset.dim_0.units, dataset.dim_2.units] == ["nm", "eV"]
    assert [d.dimension_type.name for d in (dataset.dim_0, dataset.dim_2)] == ["SPATIAL", "SPECTRAL"]
    np.testing.assert_allclose(np.array(dataset.dim_0), [1.0, 3.0, 5.0])


def test_a_dataset_with_x_before_y_is_turned(sidpy) -> None:
    data = np.random.default_rng(1).normal(size=(4, 3, 5))
    dataset = sidpy.Dataset.from_array(data, title="afm")
    dataset.quantity, dataset.units, dataset.data_type = "current", "nA", "spectral_image"
    axes = [("x", "um", "spatial", 4), ("y", "um", "spatial", 3), ("Bias", "V", "spectral", 5)]
    for i, (name, units, kind, n) in enumerate(axes):
        dataset.set_dimension(i, sidpy.Dimension(0.5 * np.arange(n), name, units=units, dimension_type=kind))
    found = from_sidpy(dataset)
    np.testing.assert_array_equal(found.data, data.swapaxes(0, 1))
    assert [(a.name, a.units, a.scale) for a in found.axes] == [
        ("y", "m", pytest.approx(5e-7)), ("x", "m", pytest.approx(5e-7)), ("bias", "V", 0.5),
    ]  # fmt: skip


def test_a_single_spectrum_keeps_its_only_axis(sidpy) -> None:
    one = Signal(np.arange(5.0), (ENERGY,), "intensity", "counts")
    found = from_sidpy(to_sidpy(one))
    np.testing.assert_array_equal(found.data, one.data)
    assert [(a.name, a.units, a.offset, a.scale) for a in found.axes] == [("energy_loss", "eV", 100.0, 0.5)]


def test_what_pynsid_writes_of_it_is_what_we_write(sidpy, tmp_path: Path) -> None:
    hdf = pytest.importorskip("pyNSID.io.hdf_io", reason="pyNSID is not installed")
    went = signal(ENERGY)
    dask = pytest.importorskip("dask")
    with h5py.File(tmp_path / "theirs.h5", "w") as file, dask.config.set(scheduler="synchronous"):
        channel = file.create_group("Measurement_000/Channel_000")
        hdf.write_nsid_dataset(to_sidpy(went, "scan"), channel, main_data_name="scan")
    with h5py.File(tmp_path / "ours.h5", "w") as file:
        write_signal(file, "Channel_000", "scan", went)
    with h5py.File(tmp_path / "theirs.h5") as theirs, h5py.File(tmp_path / "ours.h5") as ours:
        a, b = (file["Measurement_000/Channel_000/scan/scan"] for file in (theirs, ours))
        np.testing.assert_array_equal(a[()], b[()])
        for key in ("quantity", "units", "data_type", "modality"):
            assert a.attrs[key] == b.attrs[key], key


def test_without_sidpy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sidpy", None)
    with pytest.raises(NotInstalled, match="pip install sidpy"):
        to_sidpy(signal())
