from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, RecordingUnreadable, Signal
from beamloop.streaming.files import open_recording, write_signal

FACTS = {"quantity": "current", "units": "nA", "data_type": "SPECTRAL_IMAGE"}


def grid(ny: int = 4, nx: int = 5) -> tuple[Axis, Axis]:
    return (
        Axis(name="y", size=ny, units="m", quantity="length", offset=-3e-9, scale=2e-9),
        Axis(name="x", size=nx, units="m", quantity="length", offset=1e-9, scale=1e-9),
    )


def foreign(path: Path, data: np.ndarray, scales: list[tuple[str, np.ndarray, str, str]], **facts: str) -> Path:
    """Write a dataset as other programs do: axes in any order, named and calibrated by `scales`."""
    with h5py.File(path, "a") as file:
        n = len(file)
        group = file.create_group(f"Channel_{n}/thing_{n}")
        main = group.create_dataset("thing", data=data)
        main.attrs.update(FACTS | facts)
        for i, (name, at, units, kind) in enumerate(scales):
            scale = group.create_dataset(name, data=at)
            scale.attrs.update({"name": name, "units": units, "dimension_type": kind, "quantity": "q"})
            scale.make_scale(name)
            main.dims[i].label = name
            main.dims[i].attach_scale(scale)
    return path


def spatial(name: str, n: int, units: str = "nm", step: float = 2.0) -> tuple[str, np.ndarray, str, str]:
    return name, step * np.arange(n), units, "SPATIAL"


BIAS = ("Bias", np.array([0.0, 1.0, 2.0]), "mV", "SPECTRAL")


@pytest.mark.parametrize(
    ("frame_axes", "kind"),
    [
        ((), "image"),
        ((Axis(name="energy_loss", size=6, units="eV", quantity="energy", offset=100.0, scale=0.25),), "spectrum"),
        (
            tuple(
                Axis(name=n, size=s, units="1/m", quantity="reciprocal length", offset=-2e9, scale=1e9)
                for n, s in (("v", 3), ("u", 4))
            ),
            "frames",
        ),
    ],
)
def test_what_we_wrote_comes_back_with_its_axes_name_and_facts(tmp_path: Path, frame_axes, kind) -> None:
    axes = (*grid(), *frame_axes)
    data = np.random.default_rng(0).integers(0, 999, [a.size for a in axes]).astype("<u2")
    facts = {"simulated": True, "state": {"defocus_m": 1e-9}}
    with h5py.File(tmp_path / "ours.h5", "w") as file:
        write_signal(file, "Channel_000", "my-detector", Signal(data, axes, "intensity", "counts", metadata=facts))
    with open_recording(tmp_path / "ours.h5") as recording:
        detector = recording.detector("my-detector")
        assert (detector.kind, detector.dtype, detector.units) == (kind, "<u2", "counts")
        assert detector.simulated
        assert detector.metadata["state"] == {"defocus_m": 1e-9}
        found = detector.signal()
        np.testing.assert_array_equal(found.data, data)
        for wrote, read in zip(axes, found.axes, strict=True):
            assert (read.name, read.units, read.quantity, read.size) == (
                wrote.name, wrote.units, wrote.quantity, wrote.size,
            )  # fmt: skip
            np.testing.assert_allclose(read.coordinates(), wrote.coordinates(), rtol=1e-14, atol=1e-12 * wrote.scale)
        some = np.array([7, 0, 19, 7])
        np.testing.assert_array_equal(detector.frames(some), data.reshape(20, *found.data.shape[2:])[some])
        assert not recording.notes


def test_the_step_of_a_single_coordinate_comes_back(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        write_signal(file, "Channel_000", "d", Signal(np.zeros((1, 1)), grid(1, 1)))
    with open_recording(tmp_path / "one.h5") as recording:
        d = recording.main
        assert (d.y.scale, d.x.scale, d.y.offset) == pytest.approx((2e-9, 1e-9, -3e-9))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("case", ["{}", "upper"])
def test_any_order_of_axes_is_turned_to_y_x_and_spectrum(tmp_path: Path, order, case: str) -> None:
    wanted = np.random.default_rng(1).normal(size=(4, 5, 3))
    names = "YX" if case == "upper" else "yx"
    scales = [spatial(names[0], 4), spatial(names[1], 5, "pm"), BIAS]
    path = foreign(tmp_path / "f.h5", wanted.transpose(order), [scales[i] for i in order])
    with open_recording(path) as recording:
        d = recording.detector("spectrum")
        found = d.signal()
        np.testing.assert_array_equal(found.data, wanted)
        assert [(a.name, a.units) for a in found.axes] == [("y", "m"), ("x", "m"), ("bias", "V")]
        assert (d.y.scale, d.x.scale, d.frame_axes[0].scale) == pytest.approx((2e-9, 2e-12, 1e-3))
        np.testing.assert_array_equal(d.frames(np.arange(20)), wanted.reshape(20, 3))
        # Numbers are not converted, so neither are their units.
        assert d.units == "nA"


def test_axes_that_count_downwards_are_turned_round(tmp_path: Path) -> None:
    wanted = np.random.default_rng(1).normal(size=(4, 5, 3))
    name, at, units, kind = spatial("y", 4)
    path = foreign(tmp_path / "f.h5", wanted[::-1], [(name, at[::-1], units, kind), spatial("x", 5), BIAS])
    with open_recording(path) as recording:
        d = recording.main
        assert (d.y.offset, d.y.scale) == pytest.approx((0.0, 2e-9))
        np.testing.assert_array_equal(d.signal().data, wanted)
        np.testing.assert_array_equal(d.frames(np.array([3, 16, 8])), wanted.reshape(20, 3)[[3, 16, 8]])


def test_a_detector_stored_u_before_v_is_turned_to_v_u(tmp_path: Path) -> None:
    wanted = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    kx, ky = (("kx", np.arange(5.0), "1/nm", "RECIPROCAL"), ("ky", np.arange(4.0), "$A^{-1}$", "RECIPROCAL"))
    path = foreign(tmp_path / "f.h5", wanted.transpose(1, 0, 3, 2), [spatial("x", 3), spatial("y", 2), kx, ky])
    with open_recording(path) as recording:
        d = recording.detector("diffraction")
        np.testing.assert_array_equal(d.signal().data, wanted)
        assert [(a.name, a.units) for a in d.frame_axes] == [("v", "1/m"), ("u", "1/m")]
        assert [a.scale for a in d.frame_axes] == pytest.approx([1e10, 1e9])


def test_a_length_without_units_is_taken_from_a_twin_axis(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.h5", np.zeros((4, 5)), [spatial("x", 4), spatial("y", 5)], quantity="Height")
    foreign(path, np.ones((4, 5)), [spatial("x", 4, "deg"), spatial("y", 5, "deg")], quantity="PhaseRetrace")
    with open_recording(path) as recording:
        assert [d.name for d in recording.detectors] == ["height", "phase_retrace"]
        phase = recording.detector("phase_retrace")
        assert (phase.shape, phase.x.scale, phase.x.units) == ((5, 4), pytest.approx(2e-9), "m")
        assert len(recording.notes) == 1
        assert "axes y and x of /Channel_1/thing_1/thing: units 'deg'; nm taken from its twin" in recording.notes[0]


@pytest.mark.parametrize("units", ["", "px", "V"])
def test_without_any_length_a_pixel_counts_as_a_nanometre_and_a_note_says_so(tmp_path: Path, units: str) -> None:
    path = foreign(tmp_path / "f.h5", np.zeros((4, 5)), [spatial("x", 4, units), spatial("y", 5, units)])
    with open_recording(path) as recording:
        assert (recording.main.x.offset, recording.main.x.scale) == (0.0, 1e-9)
        assert "no length; 1 nm taken for each pixel" in recording.notes[0]


def test_an_uneven_length_axis_is_evened_out_and_a_note_says_by_how_much(tmp_path: Path) -> None:
    uneven = ("y", np.array([0.0, 1.1, 2.0, 3.0]), "nm", "SPATIAL")
    path = foreign(tmp_path / "f.h5", np.zeros((4, 5)), [uneven, spatial("x", 5)])
    with open_recording(path) as recording:
        assert recording.main.y.scale == pytest.approx(1e-9)
        assert "uneven by up to 0.1 of a step" in recording.notes[0]


def test_an_uneven_spectral_axis_keeps_every_coordinate(tmp_path: Path) -> None:
    sweep = ("Voltage", np.array([0.0, 1.0, 2.0, 1.0, 0.0]), "V", "SPECTRAL")
    path = foreign(tmp_path / "f.h5", np.zeros((2, 2, 5)), [spatial("y", 2), spatial("x", 2), sweep])
    with open_recording(path) as recording:
        assert recording.main.frame_axes[0].values == (0.0, 1.0, 2.0, 1.0, 0.0)


def test_coordinates_that_are_no_numbers_become_a_bare_index(tmp_path: Path) -> None:
    broken = ("Voltage", np.array([0.0, np.nan, 2.0]), "V", "SPECTRAL")
    path = foreign(tmp_path / "f.h5", np.zeros((2, 2, 3)), [spatial("y", 2), spatial("x", 2), broken])
    with open_recording(path) as recording:
        axis = recording.main.frame_axes[0]
        assert (axis.coordinates().tolist(), axis.units) == ([0.0, 1.0, 2.0], "")


def test_the_largest_spectral_grid_is_the_main_one_and_an_image_over_it_the_overview(tmp_path: Path) -> None:
    path = tmp_path / "ours.h5"
    fine = tuple(Axis(name=n, size=40, units="m", offset=o, scale=2e-10) for n, o in (("y", -3.9e-9), ("x", 0.6e-9)))
    energy = Axis(name="energy_loss", size=3, units="eV")
    with h5py.File(path, "w") as file:
        write_signal(file, "Channel_000", "haadf", Signal(np.zeros((40, 40)), fine))
        write_signal(file, "Channel_001", "eels", Signal(np.zeros((4, 5, 3)), (*grid(), energy)))
        write_signal(file, "Channel_002", "coarse", Signal(np.zeros((2, 2, 3)), (*grid(2, 2), energy)))
    with open_recording(path) as recording:
        assert recording.main.name == "eels"
        assert recording.overview is not None
        assert recording.overview.name == "haadf"


def test_an_image_of_a_part_is_no_overview(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.h5", np.zeros((4, 5, 3)), [spatial("y", 4), spatial("x", 5), BIAS])
    foreign(path, np.zeros((4, 2)), [spatial("y", 4), spatial("x", 2)], quantity="Height")
    with open_recording(path) as recording:
        assert [d.name for d in recording.detectors] == ["spectrum", "height"]
        assert recording.overview is None


def test_several_spectral_grids_are_named_after_their_groups(tmp_path: Path) -> None:
    path = foreign(tmp_path / "f.h5", np.zeros((4, 5, 3)), [spatial("y", 4), spatial("x", 5), BIAS])
    foreign(path, np.zeros((4, 5, 3)), [spatial("y", 4), spatial("x", 5), BIAS])
    with open_recording(path) as recording:
        assert [d.name for d in recording.detectors] == ["thing_0", "thing_1"]
        with pytest.raises(RecordingUnreadable, match="did you mean 'thing_1'"):
            recording.detector("think_1")


# What cannot be read.


@pytest.fixture
def good(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).normal(size=(4, 5, 64, 64))
    axes = (*grid(), *(Axis(name=n, size=64, units="1/m", scale=1e8) for n in "vu"))
    with h5py.File(tmp_path / "good.h5", "w") as file:
        write_signal(file, "Channel_000", "camera", Signal(data, axes))
    return tmp_path / "good.h5"


def assert_one_clear_line(error: RecordingUnreadable, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 0.02, 600, 100, 8, 1, 0])
def test_a_file_cut_off_anywhere_is_refused(good: Path, kept: float) -> None:
    whole = good.read_bytes()
    good.write_bytes(whole[: int(kept * len(whole)) if kept < 1 and kept > 0 else int(kept)])
    with pytest.raises(RecordingUnreadable, match=r"cut off|corrupt|no HDF5 file") as caught:
        open_recording(good)
    assert_one_clear_line(caught.value, good)


def test_damaged_frames_are_refused_when_they_are_read(good: Path) -> None:
    with h5py.File(good, "r") as file:
        chunk = file["Measurement_000/Channel_000/camera/camera"].id.get_chunk_info(0)
    raw = bytearray(good.read_bytes())
    raw[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    good.write_bytes(raw)
    damaged = r"is damaged in .*camera near row 0"
    with open_recording(good) as recording, pytest.raises(RecordingUnreadable, match=damaged) as caught:
        recording.main.signal()
    assert_one_clear_line(caught.value, good)


def test_a_damaged_directory_is_refused(good: Path) -> None:
    raw = good.read_bytes()
    assert raw.count(b"HEAP") > 1
    good.write_bytes(raw.replace(b"HEAP", b"HELP"))
    with pytest.raises(RecordingUnreadable, match="corrupt") as caught:
        open_recording(good)
    assert_one_clear_line(caught.value, good)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(RecordingUnreadable, match="no such recording") as caught:
            open_recording(path)
        assert_one_clear_line(caught.value, path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.h5"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(RecordingUnreadable, match=r"is no HDF5 file \(it starts with b'\\x89PNG"):
        open_recording(path)


def test_an_hdf5_file_without_a_main_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["data"] = np.zeros((4, 4))
    with pytest.raises(RecordingUnreadable, match="none of its datasets has the NSID attributes quantity, units"):
        open_recording(tmp_path / "f.h5")


def test_a_file_of_lists_only_opens_but_has_no_grid_to_play_and_names_them(tmp_path: Path) -> None:
    index = Axis(name="index", size=4)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        write_signal(file, "Channel_000", "points", Signal(np.zeros((4, 3)), (index, Axis(name="energy_loss", size=3))))
    with open_recording(tmp_path / "f.h5") as recording:
        assert [found.path for found in recording.beside] == ["/Measurement_000/Channel_000/points/points"]
        with pytest.raises(RecordingUnreadable, match=r"points/points \(index, energy_loss; float64\) is no grid"):
            _ = recording.main


# Files that others made.


def test_the_bias_loops_of_pto_read_as_the_file_holds_them(recorded: Path) -> None:
    path = recorded / "afm-spectral-grids" / "BEPS_PTO_50x50.h5"
    with h5py.File(path) as file, open_recording(path) as recording:
        raw = file["Channel_000/generic/generic"][()]
        d = recording.detector("spectrum")
        assert [str(label) for label in file["Channel_000/generic/generic"].attrs["DIMENSION_LABELS"]][:2] == ["X", "Y"]
        np.testing.assert_array_equal(d.signal().data, raw.swapaxes(0, 1))
        np.testing.assert_array_equal(d.frames(np.array([3 * 50 + 7]))[0], raw[7, 3])
        assert (d.y.offset, d.y.scale) == (0.0, pytest.approx(2e-6 / 49))
        (bias,) = d.frame_axes
        assert (bias.units, bias.size, max(bias.values), min(bias.values)) == ("V", 64, 8.5, -8.5)
        assert recording.overview is None
        assert not d.simulated


def test_the_current_curves_of_bfo_have_an_uneven_root_of_field_axis(recorded: Path) -> None:
    path = recorded / "afm-spectral-grids" / "bfo_iv_final.hf5"
    with h5py.File(path) as file, open_recording(path) as recording:
        raw = file["Measurement_000/Channel_000/IV_BFO/IV_BFO"][()]
        d = recording.detector("spectrum")
        np.testing.assert_array_equal(d.signal().data.sum(axis=2), raw.sum(axis=2).T)
        (root,) = d.frame_axes
        assert (root.name, root.units, d.units) == ("sqrt_e", "(V/m)^0.5", "A/m^2")
        # The field itself is even, to the digits it was rounded to.
        fields = np.square(root.values)
        np.testing.assert_allclose(np.diff(fields), (fields[-1] - fields[0]) / 52, rtol=1e-3)


def test_the_four_images_of_pto_share_one_field_of_view(recorded: Path) -> None:
    with open_recording(recorded / "afm-spectral-grids" / "PTO_Funakubo0001.h5") as recording:
        names = ["height_retrace", "amplitude_retrace", "deflection_retrace", "phase_retrace"]
        assert [d.name for d in recording.detectors] == names
        assert {(d.shape, d.y.scale, d.x.units) for d in recording.detectors} == {((256, 256), 1e-6 / 255, "m")}
        assert recording.main.name == "height_retrace"
        assert len(recording.notes) == 1


def test_the_lattice_image_of_strontium_titanate_is_an_image_in_metres(recorded: Path) -> None:
    with open_recording(recorded / "atomic-images" / "STO_test_image_nsid.hf5") as recording:
        assert (recording.main.name, recording.main.shape) == ("image", (470, 453))
        image = recording.main.signal()
    power = np.abs(np.fft.fft2(image.data - image.data.mean()))
    at = np.unravel_index(power.argmax(), power.shape)
    y, x = (np.fft.fftfreq(a.size, a.scale)[i] for a, i in zip(image.axes, at, strict=True))
    # Its strongest planes are {110} of the cubic lattice, whose constant is 0.3905 nm.
    assert 1 / np.hypot(y, x) == pytest.approx(0.3905e-9 / np.sqrt(2), rel=0.02)
