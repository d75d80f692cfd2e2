"""Every file of the recorded data opens as another reader reads it, or says why not."""
# ruff: noqa: E501 -- a table

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from rsciio.bruker import file_reader as read_bcf
from rsciio.digitalmicrograph import file_reader as read_dm
from rsciio.hspy import file_reader as read_hspy
from rsciio.quantumdetector import file_reader as read_mib
from rsciio.tia import file_reader as read_ser

from beamloop.core import RecordingUnreadable
from beamloop.streaming.files import open_recording

NM, UM, PM = 1e-9, 1e-6, 1e-12
Raw = Callable[[Path], NDArray]


@dataclass(frozen=True)
class Case:
    """What one detector of a file must be; `raw` reads it some other way, axes (y, x, frame)."""

    file: str
    detector: str
    shape: tuple[int, ...]
    dtype: str
    step_m: float
    raw: Raw
    axis: tuple[str, str, float, float] | None = None
    calibrated: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.detector}"


def told(reader: Callable, which: int = 0) -> Raw:
    return lambda path: reader(str(path))[which]["data"]


def h5(place: str, turn: Callable[[NDArray], NDArray] = np.asarray) -> Raw:
    def read(path: Path) -> NDArray:
        with h5py.File(path) as file:
            return turn(file[place][()])

    return read


def blo_pattern(path: Path) -> NDArray:
    """The six patterns by the layout of the format: 6 bytes before each, the first at the offset in the header."""
    raw = np.fromfile(path, np.uint8)
    start = int(raw[12:16].view("<u4")[0])
    blocks = raw[start : start + 6 * (144 * 144 + 6)].reshape(6, 144 * 144 + 6)
    return blocks[:, 6:].reshape(3, 2, 144, 144)


def ang_column(column: int) -> Raw:
    return lambda path: np.genfromtxt(path, comments="#", encoding="utf-8")[:, column].reshape(100, 117)


AFM, ATOMS, SMALL, EELS = "afm-spectral-grids", "atomic-images", "diffraction-small", "eels-si-interface"
STO = "Measurement_000/Channel_000/STO_test_image/STO_test_image"
ENERGY = ("energy", "eV", -470.891225, 10.003)
CASES = [
    Case(f"{AFM}/BEPS_PTO_50x50.h5", "spectrum", (50, 50, 64), "<f8", 2 * UM / 49, h5("Channel_000/generic/generic", lambda a: a.swapaxes(0, 1))),
    Case(f"{AFM}/bfo_iv_final.hf5", "spectrum", (50, 50, 53), "<f8", 5 * NM / 49, h5("Measurement_000/Channel_000/IV_BFO/IV_BFO", lambda a: a.swapaxes(0, 1))),
    Case(f"{AFM}/PTO_Funakubo0001.h5", "phase_retrace", (256, 256), "<f4", UM / 255, h5("Measurement_000/Channel_3/Channel_3/Channel_3", np.transpose)),
    Case(f"{AFM}/bepfm_32x32x102.npy", "spectrum", (32, 32, 102), "<f8", NM, np.load, ("channel", "", 0, 1), calibrated=False),
    Case(f"{AFM}/cKPFM_10x10.npz", "bias_vec_r", (64, 5), "<f4", NM, lambda path: np.load(path)["bias_vec_r"], calibrated=False),
    Case(f"{AFM}/cKPFM_10x10.npz", "nd_mat_amp", (10, 10, 2, 64, 5), "<f4", NM, lambda path: np.load(path)["Nd_mat_amp"], ("axis_0", "", 0, 1), calibrated=False),
    Case(f"{ATOMS}/Acquisition_18.emd", "image", (1024, 1024), "<u2", 12.246525 * PM, h5("data/single/data")),
    Case(f"{ATOMS}/MoS2_000-2.npy", "image", (512, 512), "<f8", NM, np.load, calibrated=False),
    Case(f"{ATOMS}/MoS2_001-5.npy", "image", (512, 512), "<f8", NM, np.load, calibrated=False),
    Case(f"{ATOMS}/PTO-SRO.hspy", "haadf", (224, 1312), "<f8", 14.996803 * PM, told(read_hspy)),
    Case(f"{ATOMS}/STO_HAADF_1.ser", "image", (1024, 1024), "<u2", 10.012704 * PM, told(read_ser)),
    Case(f"{ATOMS}/STO_test_image_nsid.hf5", "image", (470, 453), "<f8", 14.558915 * PM, h5(STO)),
    Case(f"{SMALL}/nanomegas_3x2.blo", "diffraction", (3, 2, 144, 144), "|u1", 12.8 * NM, blo_pattern, ("v", "m", 0, 1.6061677e-4)),
    Case(f"{SMALL}/edax_ni_3x3.h5", "diffraction", (3, 3, 60, 60), "|u1", 1.5 * UM, h5("Scan 1/EBSD/Data/Pattern", lambda a: a.reshape(3, 3, 60, 60)), ("v", "", 0, 1)),
    Case(f"{SMALL}/edax_ni_3x3.h5", "iq", (3, 3), "<f4", 1.5 * UM, h5("Scan 1/EBSD/Data/IQ", lambda a: a.reshape(3, 3))),
    Case(f"{SMALL}/fpd_medipix_2x2.hdf5", "fpd_data", (2, 2, 256, 256), ">u2", NM, h5("fpd_expt/fpd_data/data", lambda a: a[:, :, 0]), ("v", "", 0, 1), calibrated=False),
    Case(f"{EELS}/SI-EELS.dm3", "spectrum", (49, 6, 1024), "<f4", NM, lambda path: np.moveaxis(told(read_dm)(path), 0, -1), ("energy_loss", "eV", 350, 0.5), calibrated=False),
    Case(f"{EELS}/SI-HAADF.dm3", "haadf", (1568, 192), "<f4", NM, told(read_dm), calibrated=False),
    Case(f"{EELS}/SI-Survey.dm3", "si_survey", (512, 512), "<u4", NM, told(read_dm), calibrated=False),
    Case("orientation-phase-maps/sdss_ferrite_austenite.ang", "image_quality", (100, 117), "<f8", 1.5 * UM, ang_column(5)),
    Case("orientation-phase-maps/sdss_ferrite_austenite.ang", "phi2", (100, 117), "<f8", 1.5 * UM, ang_column(2)),
    Case("stem-eds-idp/tilt_0.bcf", "spectrum", (256, 256, 2048), "|u1", 13.081445 * NM, told(read_bcf, 1), ENERGY),
    Case("stem-eds-idp/tilt_0.bcf", "haadf", (256, 256), "<u2", 13.081445 * NM, told(read_bcf)),
    Case("stem-eds-idp/tilt_10.bcf", "spectrum", (256, 256, 2048), "|u1", 13.081445 * NM, told(read_bcf, 1), ENERGY),
    Case("stem-eds-sio2/SiO2_EDS.hspy", "spectrum", (128, 128, 2048), "<u4", 8.552446 * NM, told(read_hspy), ("energy", "eV", 0, 10.0)),
    Case("stem-eds-sio2/SiO2_HAADF.hspy", "haadf", (128, 128), "<f4", 8.552446 * NM, told(read_hspy)),
]  # fmt: skip
REFUSED = {
    f"{SMALL}/Merlin_Single_Quad.zip": r"is an archive; unpack it and open a file of it: Quad_1_Frame.* and 38 more",
    "stem-eds-idp/about_dataset.txt": r"no reader is known for files ending in \.txt; save it as HDF5",
}
LISTS_ONLY = {
    "orientation-phase-maps/braggpeaks_80x58.h5": r"is a py4DSTEM list of points for each position.*; make a map",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_opens_with_its_shape_units_and_numbers(recorded: Path, case: Case) -> None:
    with open_recording(recorded / case.file) as recording:
        found = recording.detector(case.detector)
        signal = found.signal()
        assert (*found.shape, *found.frame_shape) == case.shape
        assert signal.data.dtype.str == found.dtype == case.dtype
        assert [(axis.name, axis.units) for axis in signal.axes[:2]] == [("y", "m"), ("x", "m")]
        assert (found.y.scale, found.x.scale) == pytest.approx((case.step_m, case.step_m), rel=1e-6)
        assert found.calibrated == case.calibrated
        assert case.calibrated or "1 nm taken for each pixel" in found.place
        if case.axis is not None:
            axis = found.frame_axes[0]
            assert (axis.name, axis.units) == case.axis[:2]
            assert (axis.offset, axis.scale) == pytest.approx(case.axis[2:], rel=1e-7)
        wanted = case.raw(recorded / case.file)
        np.testing.assert_array_equal(signal.data, wanted)
        some = np.array([0, found.valid.size - 1, found.shape[1] - 1])
        np.testing.assert_array_equal(found.frames(some), wanted.reshape(-1, *found.frame_shape)[some])


@pytest.mark.parametrize("file", REFUSED)
def test_a_file_that_is_not_read_says_why_and_what_to_do_in_one_line(recorded: Path, file: str) -> None:
    with pytest.raises(RecordingUnreadable, match=REFUSED[file]) as caught:
        open_recording(recorded / file)
    assert "\n" not in str(caught.value)
    assert str(recorded / file) in str(caught.value)


@pytest.mark.parametrize("file", LISTS_ONLY)
def test_a_file_without_a_grid_opens_but_does_not_play(recorded: Path, file: str) -> None:
    with open_recording(recorded / file) as recording, pytest.raises(RecordingUnreadable, match=LISTS_ONLY[file]):
        _ = recording.main


def test_no_file_of_the_recorded_data_is_missing_and_any_other_opens_or_is_refused_in_one_line(recorded: Path) -> None:
    files = {str(f.relative_to(recorded)) for f in recorded.rglob("*") if f.is_file() and f.name != "README.md"}
    known = {case.file for case in CASES} | set(REFUSED) | set(LISTS_ONLY)
    assert known <= files
    for file in files - known:
        try:
            open_recording(recorded / file).close()
        except RecordingUnreadable as refusal:
            told = str(refusal)
            assert file.rpartition("/")[2] in told
            assert "\n" not in told


def test_each_merlin_file_of_the_archive_opens_as_frames_or_says_that_raw_is_not_read(
    recorded: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(recorded / SMALL / "Merlin_Single_Quad.zip") as archive:
        archive.extractall(tmp_path)
    files = sorted(tmp_path.glob("*.mib"))
    assert len(files) == 20
    for file in files:
        if file.stem.endswith("RAW"):
            with pytest.raises(RecordingUnreadable, match="RAW MIB data not supported"):
                open_recording(file)
            continue
        pixels = 512 if file.name.startswith("Quad") else 256
        with open_recording(file) as recording:
            (frames,) = recording.detectors
            assert (frames.kind, frames.frame_shape) == ("frames", (pixels, pixels))
            assert frames.valid.size == (9 if "_9_Frame" in file.name else 1)
            with dask.config.set(scheduler="synchronous"):
                wanted = told(read_mib)(file)
            np.testing.assert_array_equal(frames.signal().data.reshape(wanted.shape), wanted)


def test_pickled_members_of_an_archive_are_named_and_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "mixed.npz", objects=np.array([Trap()], dtype=object), image=np.eye(3))
    np.save(tmp_path / "objects.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with open_recording(tmp_path / "mixed.npz") as recording:
        np.testing.assert_array_equal(recording.detector("image").signal().data, np.eye(3))
        assert "which are pickled; unpickling can run code" in recording.notes[0]
    with open_recording(tmp_path / "objects.npy") as recording, pytest.raises(RecordingUnreadable, match="pickled"):
        _ = recording.main
    assert not (tmp_path / "sprung").exists()
