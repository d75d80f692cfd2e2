"""What other programs write, opened: rosettasciio's own writers, pyUSID, tifffile, and layouts copied from theirs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from beamloop.core import Axis, NotInstalled, RecordingUnreadable, Signal
from beamloop.streaming.files import open_recording, write_signal
from beamloop.streaming.files.readers import vendor

MADE_BY_OTHERS = Path(__file__).parent / "made_by_others"
LEAVES_ITS_FILE_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""rosettasciio's reader of mrc leaves closing to the garbage collector."""

RANDOM = np.random.default_rng(3)


def axis(name: str, size: int, units: str, scale: float, offset: float = 0.0, navigate: bool = False) -> dict:
    return {
        "_type": "UniformDataAxis", "name": name, "size": size, "units": units, "scale": scale, "offset": offset,
        "navigate": navigate, "is_binned": False,
    }  # fmt: skip


def signal(data: np.ndarray, axes: list[dict], **about: str) -> dict:
    metadata = {"General": {"title": "scan"}, "Signal": {"signal_type": "", **about}}
    rest = {"original_metadata": {}, "learning_results": {}, "models": {}, "tmp_parameters": {}}
    package = {"package": "hyperspy", "package_version": "2.5.0"}
    return {
        "data": data, "axes": axes, "metadata": metadata, "package_info": package,
        "attributes": {"_lazy": False}, **rest,
    }  # fmt: skip


def scan(ny: int = 3, nx: int = 4) -> list[dict]:
    return [axis("y", ny, "µm", 0.25, 1.0, navigate=True), axis("x", nx, "nm", 50.0, navigate=True)]


FOUR_D = signal(
    RANDOM.integers(0, 9, (3, 4, 5, 6)).astype("<u2"),
    [*scan(), axis("ky", 5, "$A^{-1}$", 0.1), axis("kx", 6, "1 / nm", 1.0)],
)
CUBE = signal(
    RANDOM.integers(0, 9, (3, 4, 7)).astype("<i4"), [*scan(), axis("Energy", 7, "keV", 0.01, -0.2)],
    quantity="X-rays (Counts)",
)  # fmt: skip
IMAGE = signal(RANDOM.normal(size=(3, 4)).astype("<f4"), [axis("y", 3, "pm", 20.0), axis("x", 4, "pm", 20.0)])
LINE = signal(RANDOM.normal(size=(4, 7)), [scan()[1], axis("Energy loss", 7, "eV", 0.5)])


def written(plugin: str, path: Path, told: dict) -> Path:
    importlib.import_module(f"rsciio.{plugin}").file_writer(str(path), told)
    return path


@pytest.mark.parametrize(
    ("plugin", "name"), [("hspy", "a.hspy"), ("hspy", "a.h5"), ("nexus", "a.nxs"), ("emd", "a.emd")]
)
def test_a_4d_scan_keeps_shape_units_and_numbers(tmp_path: Path, plugin: str, name: str) -> None:
    with open_recording(written(plugin, tmp_path / name, FOUR_D)) as recording:
        frames = recording.detector("diffraction")
        np.testing.assert_array_equal(frames.signal().data, FOUR_D["data"])
        assert (frames.dtype, frames.calibrated) == ("<u2", True)
        assert (frames.y.offset, frames.y.scale, frames.x.scale) == pytest.approx((1e-6, 0.25e-6, 50e-9))
        assert [(a.name, a.units) for a in frames.frame_axes] == [("v", "1/m"), ("u", "1/m")]
        assert [a.scale for a in frames.frame_axes] == pytest.approx([1e9, 1e9])


@pytest.mark.parametrize(
    ("plugin", "name"), [("hspy", "a.hspy"), ("nexus", "a.nxs"), ("emd", "a.emd"), ("ripple", "a.rpl")]
)
def test_a_spectrum_image_keeps_shape_units_and_numbers(tmp_path: Path, plugin: str, name: str) -> None:
    with open_recording(written(plugin, tmp_path / name, CUBE)) as recording:
        spectra = recording.detector("spectrum")
        np.testing.assert_array_equal(spectra.signal().data, CUBE["data"])
        (energy,) = spectra.frame_axes
        assert (energy.name, energy.units) == ("energy", "eV")
        assert (energy.offset, energy.scale, spectra.x.scale) == pytest.approx((-200.0, 10.0, 50e-9))


def test_quantity_and_units_are_taken_apart(tmp_path: Path) -> None:
    with open_recording(written("hspy", tmp_path / "a.hspy", CUBE)) as recording:
        assert (recording.main.quantity, recording.main.units) == ("X-rays", "counts")
        assert recording.main.metadata["General"] == {"title": "scan"}


@pytest.mark.parametrize(("plugin", "name"), [("hspy", "a.hspy"), ("emd", "a.emd"), ("tiff", "a.tif")])
def test_an_image_keeps_shape_units_and_numbers(tmp_path: Path, plugin: str, name: str) -> None:
    with open_recording(written(plugin, tmp_path / name, IMAGE)) as recording:
        (image,) = recording.detectors
        np.testing.assert_allclose(image.signal().data, IMAGE["data"], rtol=1e-6)
        assert (image.kind, image.y.scale, image.x.scale) == ("image", pytest.approx(20e-12), pytest.approx(20e-12))


def test_a_line_of_spectra_is_a_grid_of_one_row(tmp_path: Path) -> None:
    with open_recording(written("hspy", tmp_path / "a.hspy", LINE)) as recording:
        line = recording.detector("spectrum")
        assert (line.shape, line.x.scale) == ((1, 4), pytest.approx(50e-9))
        np.testing.assert_array_equal(line.signal().data[0], LINE["data"])
        np.testing.assert_array_equal(line.frames(np.array([2, 0])), LINE["data"][[2, 0]])
        assert "axis y of" in line.place
        assert "one position of 1 nm" in line.place


def test_a_spectrum_image_with_energy_first_is_turned(tmp_path: Path) -> None:
    first = signal(np.moveaxis(CUBE["data"], 2, 0), [CUBE["axes"][2] | {"navigate": True}, *CUBE["axes"][:2]])
    first["axes"] = [first["axes"][0], *({**a, "navigate": False} for a in first["axes"][1:])]
    with open_recording(written("hspy", tmp_path / "a.hspy", first)) as recording:
        np.testing.assert_array_equal(recording.detector("spectrum").signal().data, CUBE["data"])


def test_uneven_axes_keep_their_coordinates(tmp_path: Path) -> None:
    with h5py.File(written("hspy", tmp_path / "a.hspy", CUBE), "a") as file:
        group = next(iter(file["Experiments"].values()))["axis-2"]
        group["axis"] = np.array([0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.1])
    with open_recording(tmp_path / "a.hspy") as recording:
        assert recording.main.frame_axes[0].values == pytest.approx((0, 100, 300, 600, 1000, 1500, 2100))


def test_a_plain_tif_has_no_lengths(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(12, dtype="<u2").reshape(3, 4))
    with open_recording(tmp_path / "a.tif") as recording:
        assert (recording.main.kind, recording.main.shape, recording.main.calibrated) == ("image", (3, 4), False)


def mrc(path: Path, data: np.ndarray, pixel_angstrom: float) -> Path:
    """Write what the MRC 2014 format says: 256 words of header, then 16-bit numbers, x fastest."""
    nz, ny, nx = data.shape
    header = np.zeros(256, "<i4")
    header[[0, 1, 2, 3, 7, 8, 9, 16, 17, 18]] = nx, ny, nz, 1, nx, ny, nz, 1, 2, 3
    header.view("<f4")[10:16] = *(n * pixel_angstrom for n in (nx, ny, nz)), 90, 90, 90
    header[52:54] = int.from_bytes(b"MAP ", "little"), 0x4444
    path.write_bytes(header.tobytes() + data.astype("<i2").tobytes())
    return path


@LEAVES_ITS_FILE_OPEN
def test_an_mrc_image_is_one(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 99, (1, 3, 4))
    with open_recording(mrc(tmp_path / "a.mrc", data, 2.0)) as recording:
        np.testing.assert_array_equal(recording.main.signal().data, data[0])
        assert (recording.main.kind, recording.main.y.scale) == ("image", pytest.approx(2e-10))


@LEAVES_ITS_FILE_OPEN
def test_a_stack_of_images_is_what_each_pixel_saw_and_a_note_says_so(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 99, (2, 3, 4))
    with open_recording(mrc(tmp_path / "a.mrc", data, 2.0)) as recording:
        np.testing.assert_array_equal(recording.main.signal().data, np.moveaxis(data, 0, -1))
        assert "is a stack of 2 images" in recording.notes[0]


def test_colours_are_no_plain_numbers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 3), "u1"), photometric="rgb")
    with open_recording(tmp_path / "a.tif") as recording, pytest.raises(RecordingUnreadable, match="no array of plain"):
        _ = recording.main


def test_a_usid_table_is_seen_as_a_grid_again() -> None:
    # Made with pyUSID from default_rng(3): 3 x 4 places, 2 cycles of 5 bias steps; then a map of heights.
    random = np.random.default_rng(3)
    cube, height = random.normal(size=(3, 4, 2, 5)).astype("<f4"), random.integers(0, 9, (3, 4)).astype("<f4")
    with open_recording(MADE_BY_OTHERS / "pyusid_0_0_12.h5") as recording:
        curves, image = recording.detector("spectrum"), recording.detector("height")
        np.testing.assert_array_equal(curves.signal().data, cube)
        np.testing.assert_array_equal(curves.frames(np.array([7, 0, 11])), cube.reshape(12, 2, 5)[[7, 0, 11]])
        np.testing.assert_array_equal(image.signal().data, height)
        assert [(a.name, a.units) for a in curves.frame_axes] == [("cycle", ""), ("bias", "V")]
        assert (curves.y.offset, curves.y.scale, curves.x.scale) == pytest.approx((1e-6, 0.25e-6, 0.5e-6))
        assert (curves.units, image.units, image.kind) == ("nA", "nm", "image")
        assert not recording.notes


def test_py4dstem_counts_x_down_the_rows_and_its_scan_keeps_the_order_of_the_array(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 9, (3, 4, 5, 6)).astype("<u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("datacube_root/datacube")
        group.attrs["emd_group_type"] = "array"
        group["data"] = data
        group["data"].attrs["units"] = "counts"
        for i, (name, step, units) in enumerate(
            [("Rx", 2.0, "nm"), ("Ry", 3.0, "nm"), ("Qx", 0.1, "A^-1"), ("Qy", 0.1, "A^-1")]
        ):
            group[f"dim{i}"] = np.array([0.0, step])
            group[f"dim{i}"].attrs.update({"name": name, "units": units})
    with open_recording(tmp_path / "a.h5") as recording:
        frames = recording.detector("diffraction")
        np.testing.assert_array_equal(frames.signal().data, data)
        assert (frames.y.scale, frames.x.scale, frames.units) == (pytest.approx(2e-9), pytest.approx(3e-9), "counts")
        assert [(a.name, a.units, a.scale) for a in frames.frame_axes] == [
            ("v", "1/m", pytest.approx(1e9)), ("u", "1/m", pytest.approx(1e9)),
        ]  # fmt: skip


def test_a_velox_file_is_read_by_rosettasciio(tmp_path: Path) -> None:
    told = {
        "Core": {}, "Instrument": {"InstrumentModel": "Titan"}, "Acquisition": {"SourceType": "XFEG"},
        "Optics": {"AccelerationVoltage": "300000", "CameraLength": "0.1"},
        "Stage": {"Position": {"x": "0", "y": "0", "z": "0"}, "AlphaTilt": "0", "BetaTilt": "0"},
        "Scan": {"FrameTime": "1.0", "DwellTime": "1e-06"}, "CustomProperties": {},
        "Detectors": {"Detector-0": {"DetectorName": "HAADF", "DetectorType": "ScanningDetector"}},
        "BinaryResult": {
            "DetectorIndex": "0", "Detector": "HAADF", "PixelUnitX": "m", "PixelUnitY": "m",
            "PixelSize": {"width": "5e-11", "height": "5e-11"}, "Offset": {"x": "-1e-09", "y": "-2e-09"},
        },
    }  # fmt: skip
    with h5py.File(tmp_path / "a.emd", "w") as file:
        text = h5py.string_dtype()
        file["Version"] = np.array([json.dumps({"format": "Velox", "version": "1.2"})], dtype=text)
        file["Data/Image/one/Data"] = np.arange(12, dtype="<u2").reshape(3, 4, 1)
        file["Data/Image/one/Metadata"] = np.frombuffer(json.dumps(told).encode() + bytes(9), np.uint8)[:, None]
        file.create_group("Operations")
    with open_recording(tmp_path / "a.emd") as recording:
        (image,) = recording.detectors
        np.testing.assert_array_equal(image.signal().data, np.arange(12).reshape(3, 4))
        assert (image.y.scale, image.y.offset, image.x.offset) == pytest.approx((5e-11, -2e-9, -1e-9))
        assert image.metadata["Acquisition_instrument"]["TEM"]["beam_energy"] == 300.0  # pyright: ignore


def test_a_hexagonal_orientation_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ang").write_text("# GRID: HexGrid\n0 0 0 0 0 1 1 1\n")
    with pytest.raises(RecordingUnreadable, match="on a hexagonal grid; resample it"):
        open_recording(tmp_path / "a.ang")


def test_a_large_file_stays_on_disk_and_reads_the_same(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded / "eels-si-interface" / "SI-EELS.dm3"
    with open_recording(path) as whole:
        wanted = whole.main.signal().data
    monkeypatch.setattr(vendor, "LAZY_BYTES", 0)
    with open_recording(path) as lazy:
        assert isinstance(lazy.main.dataset, vendor.OnDisk)
        np.testing.assert_array_equal(lazy.main.signal().data, wanted)
        np.testing.assert_array_equal(lazy.main.frames(np.array([293, 5])), wanted.reshape(294, -1)[[293, 5]])


@pytest.mark.parametrize("name", ["a.dm3", "a.ser", "a.mib", "a.bcf", "a.tif"])
def test_a_damaged_file_of_a_maker_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\x01 no such file " * 40)
    with pytest.raises(RecordingUnreadable, match=r"cannot be read as") as caught:
        open_recording(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_cut_array_file_is_refused(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        (np.save if name == "a.npy" else np.savez)(file, np.zeros((9, 9)))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    with pytest.raises(RecordingUnreadable, match="cut off or corrupt"):
        open_recording(tmp_path / name)


def test_an_nsid_file_with_views_for_other_programs_is_read_once(tmp_path: Path) -> None:
    path = written("hspy", tmp_path / "a.h5", CUBE)
    with h5py.File(path, "a") as file:
        (experiment,) = file["Experiments"].values()
        step = Axis(name="x", size=4, units="m", scale=5e-8)
        axes = (step.model_copy(update={"name": "y", "size": 3}), step, Axis(name="energy", size=7, units="eV"))
        write_signal(file, "Channel_000", "eds", Signal(CUBE["data"], axes))
        del experiment["data"]
        experiment["data"] = h5py.SoftLink("/Measurement_000/Channel_000/eds/eds")
    with open_recording(path) as recording:
        assert [d.path for d in recording.detectors] == ["/Measurement_000/Channel_000/eds/eds"]


def test_our_own_files_open_without_loading_rosettasciio(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        axes = tuple(Axis(name=name, size=3, units="m", scale=1e-9) for name in "yx")
        write_signal(file, "Channel_000", "haadf", Signal(np.zeros((3, 3)), axes))
    look = (
        "import sys; from beamloop.streaming.files import open_recording\n"
        f"open_recording({str(tmp_path / 'a.h5')!r}).close()\n"
        "print([m for m in ('rsciio', 'dask', 'skimage', 'sidpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_without_rosettasciio_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dm3").write_bytes(bytes(9))
    monkeypatch.setitem(sys.modules, "rsciio", None)
    with pytest.raises(NotInstalled, match=r"a\.dm3: files ending in \.dm3 .* pip install 'beamloop\[files\]'"):
        open_recording(tmp_path / "a.dm3")


def test_without_what_one_format_needs_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.blo").write_bytes(bytes(9))
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.delitem(sys.modules, "rsciio.blockfile._api", raising=False)
    monkeypatch.delitem(sys.modules, "rsciio.blockfile", raising=False)
    with pytest.raises(NotInstalled, match=r"needs the package skimage, which rosettasciio uses for Blockfile files"):
        open_recording(tmp_path / "a.blo")
