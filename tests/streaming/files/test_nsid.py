"""What is written has every attribute that NSID readers demand; see the module for which."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, OutputExists, SettingsInvalid, Signal
from beamloop.streaming.files import open_recording, write_signal


def axis(name: str, size: int, units: str, scale: float) -> Axis:
    return Axis(name=name, size=size, units=units, scale=scale, offset=2 * scale, quantity=f"{name} quantity")


Y, X = axis("y", 3, "m", 1e-9), axis("x", 4, "m", 2e-9)
V, U = axis("v", 5, "1/m", 1e8), axis("u", 6, "1/m", 1e8)
ENERGY = Axis(name="energy_loss", size=3, units="eV", quantity="energy", values=(1.0, 2.0, 4.0))
INDEX = Axis(name="index", size=7)


def signal_over(*axes: Axis, dtype: str = "<u2") -> Signal:
    data = np.arange(np.prod([a.size for a in axes])).reshape([a.size for a in axes]).astype(dtype)
    facts = {"dwell_s": 1e-3, "nothing": None, "state": {"defocus_m": -1e-8}, "names": ["a", "b"], "shape": [3, 4]}
    return Signal(data, axes, "intensity", "counts", metadata=facts)


@pytest.fixture
def file(tmp_path: Path):
    with h5py.File(tmp_path / "out.h5", "w") as opened:
        yield opened


@pytest.mark.parametrize(
    ("axes", "data_type", "dimension_types"),
    [
        ((Y, X), "IMAGE", ["SPATIAL"] * 2),
        ((Y, X, ENERGY), "SPECTRAL_IMAGE", ["SPATIAL", "SPATIAL", "SPECTRAL"]),
        ((Y, X, V, U), "IMAGE_4D", ["SPATIAL", "SPATIAL", "RECIPROCAL", "RECIPROCAL"]),
        ((ENERGY,), "SPECTRUM", ["SPECTRAL"]),
        ((INDEX, ENERGY), "LINE_PLOT_FAMILY", ["CHANNEL", "SPECTRAL"]),
        ((INDEX, V, U), "IMAGE_STACK", ["CHANNEL", "RECIPROCAL", "RECIPROCAL"]),
    ],
)
def test_a_main_dataset_has_all_that_its_readers_demand(file: h5py.File, axes, data_type, dimension_types) -> None:
    signal = signal_over(*axes)
    write_signal(file, "Channel_003", "eels", signal)
    main = file["Measurement_000/Channel_003/eels/eels"]
    np.testing.assert_array_equal(main[()], signal.data)
    demanded = ("quantity", "units", "data_type", "modality", "source", "main_data_name", "pyNSID_version")
    assert all(isinstance(main.attrs[key], str) for key in demanded)
    assert (main.attrs["quantity"], main.attrs["units"], main.attrs["data_type"]) == ("intensity", "counts", data_type)
    assert "pyNSID_version" in main.parent.attrs
    assert list(main.attrs["DIMENSION_LABELS"]) == [a.name for a in axes]
    for i, (written, kind) in enumerate(zip(axes, dimension_types, strict=True)):
        scale = main.parent[written.name]
        assert scale.is_scale
        assert main.dims[i][0] == scale
        assert (scale.attrs["name"], scale.attrs["dimension_type"]) == (written.name, kind)
        assert scale.attrs["quantity"] == (written.quantity or "generic")
        assert scale.shape == (written.size,)
    assert {"metadata", "original_metadata", "provenance"} <= set(main.parent)


def test_lengths_are_in_nm_and_their_inverses_in_1_per_nm(file: h5py.File) -> None:
    group = write_signal(file, "Channel_000", "d", signal_over(Y, X, V, U)).parent
    assert group["x"].attrs["units"] == "nm"
    np.testing.assert_allclose(group["x"][()], [4, 6, 8, 10], rtol=1e-15)
    assert group["u"].attrs["units"] == "1/nm"
    np.testing.assert_allclose(group["u"][()], [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], rtol=1e-14)


def test_metadata_are_nested_groups_and_attributes(file: h5py.File) -> None:
    metadata = write_signal(file, "Channel_000", "d", signal_over(Y, X)).parent["metadata"]
    assert metadata.attrs["dwell_s"] == 1e-3
    assert metadata["state"].attrs["defocus_m"] == -1e-8
    assert metadata.attrs["shape"].tolist() == [3, 4]
    assert metadata.attrs["names"] == "['a', 'b']"
    assert "nothing" not in metadata.attrs


def test_facts_too_long_for_an_attribute_come_back_and_leave_no_dataset_in_metadata(tmp_path: Path) -> None:
    facts = {"run": {"places": np.arange(20_000.0).tolist(), "n": 3}}
    with h5py.File(tmp_path / "long.h5", "w") as file:
        group = write_signal(file, "Channel_000", "d", Signal(np.zeros((3, 4)), (Y, X), metadata=facts)).parent
        # sidpy raises on a dataset there.
        group["metadata"].visititems(lambda _, item: pytest.fail(str(item)) if isinstance(item, h5py.Dataset) else None)
    with open_recording(tmp_path / "long.h5") as recording:
        assert recording.main.metadata == facts


@pytest.mark.parametrize("compression", ["bitshuffle", "gzip", "none"])
@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", "<i4", "<f4", "<f8"])
def test_every_dtype_and_compression_comes_back_as_it_was(file: h5py.File, compression, dtype) -> None:
    signal = signal_over(Y, X, V, U, dtype=dtype)
    main = write_signal(file, "Channel_000", "d", signal, compression)
    assert main.dtype.str == dtype
    np.testing.assert_array_equal(main[()], signal.data)
    assert main.chunks is not None, "HyperSpy opens nothing else lazily"
    assert main.fletcher32


def test_a_name_becomes_what_nsid_allows_and_is_kept_as_it_was(file: h5py.File) -> None:
    main = write_signal(file, "Channel_000", "bright-field 2", signal_over(Y, X))
    assert main.name == "/Measurement_000/Channel_000/bright_field_2/bright_field_2"
    assert main.attrs["detector"] == "bright-field 2"


def test_an_occupied_place_is_refused(file: h5py.File) -> None:
    write_signal(file, "Channel_000", "d", signal_over(Y, X))
    with pytest.raises(OutputExists, match="Channel_000/d"):
        write_signal(file, "Channel_000", "d", signal_over(Y, X))


@pytest.mark.parametrize(("name", "axes"), [("x", (Y, X)), ("d", (Y, Y)), ("d", (Y, axis("valid", 2, "", 1.0)))])
def test_names_that_would_collide_in_the_file_are_refused(file: h5py.File, name, axes) -> None:
    with pytest.raises(SettingsInvalid, match="must differ"):
        write_signal(file, "Channel_000", name, signal_over(*axes))


def test_a_mask_is_written_where_not_everything_is_valid(file: h5py.File) -> None:
    valid = np.zeros((3, 4), bool)
    valid[1, 2] = True
    signal = Signal(np.zeros((3, 4)), (Y, X), valid=valid)
    np.testing.assert_array_equal(write_signal(file, "Channel_000", "d", signal).parent["valid"][()], valid)
