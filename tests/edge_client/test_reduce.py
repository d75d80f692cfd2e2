"""`beamloop reduce` as a person meets it: numbers as plain numpy gives them, outputs whole or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.core import (
    Axis,
    OutputExists,
    RecordingUnreadable,
    SettingsInvalid,
    Signal,
    StorageFailed,
    UnknownName,
)
from beamloop.edge_client.commands import reduce as command
from beamloop.edge_client.commands.reduce import reduce
from beamloop.streaming.files import open_recording, write_signal

EXAMPLE = Path(__file__).parents[2] / "examples" / "recording.h5"
STEP = 0.16


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamloop.edge_client.file_reductions.picture.DOTS_PER_INCH", 30)


@pytest.fixture
def patterns() -> np.ndarray:
    return np.random.default_rng(0).poisson(3.0, (6, 5, 32, 24)).astype("<u2")


@pytest.fixture
def scan(tmp_path: Path, patterns: np.ndarray) -> Path:
    y, x = (Axis(name=n, size=s, units="m", scale=1e-9) for n, s in (("y", 6), ("x", 5)))
    v, u = (
        Axis(name=n, size=s, units="1/m", scale=STEP * 1e9, offset=-STEP * 1e9 * s / 2)
        for n, s in (("v", 32), ("u", 24))
    )
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        write_signal(file, "Channel_000", "camera", Signal(patterns, (y, x, v, u), "intensity", "counts"))
        write_signal(file, "Channel_001", "haadf", Signal(patterns[:, :, 0, 0], (y, x), "intensity", "counts"))
    return tmp_path / "scan.h5"


def call(*words: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("reduce")(reduce)
    return CliRunner().invoke(app, ["reduce", *map(str, words)])


def results_in(path: Path) -> dict[str, Signal]:
    """Return the maps in a file of results, as our own reader gives them."""
    with open_recording(path) as opened:
        return {detector.name: detector.signal() for detector in opened.detectors}


def test_results_are_those_of_plain_numpy(scan: Path, patterns: np.ndarray) -> None:
    result = call(
        scan, "--virtual-detector", "bf=disk:1/nm", "--virtual-detector", "ring:4,9px@15.5,11.5", "--com", "--sum",
        "--moments",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    frames = patterns.astype(np.float64)
    v, u = np.meshgrid(STEP * (np.arange(32) - 16), STEP * (np.arange(24) - 12), indexing="ij")
    rows, columns = np.indices((32, 24))
    away = np.hypot(rows - 15.5, columns - 11.5)
    total = frames.sum((2, 3))
    found = results_in(scan.with_name("scan.reduced.h5"))
    expected = {
        "bf": frames[..., np.hypot(v, u) < 1].sum(-1),
        "ring": frames[..., (away >= 4) & (away < 9)].sum(-1),
        "com_v": (frames * v).sum((2, 3)) / total,
        "com_u": (frames * u).sum((2, 3)) / total,
        "sum": total,
        "sum_std": np.sqrt(total),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].data, values, rtol=1e-12, atol=1e-14, err_msg=name)
    assert (found["bf"].units, found["com_v"].units) == ("counts", "1/nm")
    assert found["bf"].axes[0].coordinates().tolist() == pytest.approx((1e-9 * np.arange(6)).tolist())
    with h5py.File(scan.with_name("scan.reduced.h5")) as file:
        names = {name: channel for channel, group in file["Measurement_000"].items() for name in group}
        mean = file["Measurement_000"][names["moments_mean"]]["moments_mean"]["moments_mean"]
        np.testing.assert_allclose(mean[()], frames.mean((0, 1)), rtol=1e-12)
        assert (mean.attrs["units"], [mean.dims[i].label for i in (0, 1)]) == ("counts", ["v", "u"])
    assert scan.with_name("scan.reduced.png").read_bytes().startswith(b"\x89PNG")


def test_a_recorded_spectrum_image_gives_its_window_ratio(tmp_path: Path) -> None:
    output = tmp_path / "iron.h5"
    assert call(EXAMPLE, "--spectrum-window", "iron=705,735,640,700:ratio", "-o", output).exit_code == 0
    with open_recording(EXAMPLE) as opened:
        eels = opened.detector("eels").signal()
    energy, counts = eels.axes[-1].coordinates(), eels.data.astype(np.float64)
    s, b = (counts[..., (energy >= lo) & (energy <= hi)].sum(-1) for lo, hi in ((705, 735), (640, 700)))
    found = results_in(output)
    np.testing.assert_allclose(found["iron"].data, s / b, rtol=1e-12)
    np.testing.assert_allclose(found["iron_std"].data, s / b * np.sqrt(1 / s + 1 / b), rtol=1e-12)


def test_each_result_says_from_which_file_and_how_it_was_made(scan: Path) -> None:
    assert call(scan, "--reduction", "virtual-detector region={kind='disk',radius=1e9}").exit_code == 0
    (first, *_) = results_in(scan.with_name("scan.reduced.h5")).values()
    told = first.metadata["reduced_by"]
    assert told["source_file"] == "scan.h5"
    assert told["source_sha256"] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert told["reduction"] == "virtual-detector"
    assert json.loads(told["settings"]) == {"region": {"kind": "disk", "radius": 1e9}}
    assert "region={kind='disk',radius=1e9}" in told["asked"]


def test_facts_as_json(scan: Path) -> None:
    told = json.loads(call(scan, "--sum", "--json").output)
    assert (told["detector"], told["frames"], told["frame_shape"]) == ("camera", 30, [32, 24])
    assert told["results"]["sum"]["axes"] == ["y", "x"]
    assert told["output"] == str(scan.with_name("scan.reduced.h5"))


def test_nothing_is_written_over(scan: Path) -> None:
    assert call(scan, "--sum").exit_code == 0
    before = {path: path.read_bytes() for path in scan.parent.iterdir()}
    for words in ((), ("-o", scan), ("-o", scan.with_name("new.h5"), "--plot", scan.with_name("scan.reduced.png"))):
        assert isinstance(call(scan, "--com", *words).exception, OutputExists)
    assert {path: path.read_bytes() for path in scan.parent.iterdir()} == before


@pytest.mark.parametrize("stage", ["batches", "write_results", "save"])
def test_ctrl_c_leaves_no_half_file(scan: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    target = {
        "batches": (command, "batches"),
        "write_results": ("beamloop.edge_client.file_reductions.output.write_signal", None),
        "save": ("matplotlib.figure.Figure.savefig", None),
    }[stage]
    if target[1] is None:
        monkeypatch.setattr(str(target[0]), interrupted)
    else:
        monkeypatch.setattr(target[0], target[1], interrupted)
    assert call(scan, "--sum").exit_code != 0
    left = sorted(path.name for path in scan.parent.iterdir())
    # The results are whole before the picture is begun.
    assert left == (["scan.h5", "scan.reduced.h5"] if stage == "save" else ["scan.h5"])


def test_a_place_that_cannot_be_written_is_told(scan: Path) -> None:
    error = call(scan, "--sum", "-o", scan.parent / "missing" / "out.h5").exception
    assert isinstance(error, StorageFailed)
    assert "choose another place with -o" in str(error)


def test_wrong_use_is_told_with_what_the_file_holds(scan: Path) -> None:
    error = call(scan).exception
    assert isinstance(error, SettingsInvalid)
    for part in ("camera (6 x 5 positions of 32 v from -2.56 to 2.4 1/nm", "haadf", "reductions: centre-of-mass"):
        assert part in str(error)
    assert isinstance(call(scan, "--sum", "--detector", "camra").exception, RecordingUnreadable)
    assert isinstance(call(scan, "--reduction", "smu").exception, UnknownName)
    assert "Example: beamloop reduce" in call("--help").output


@pytest.mark.parametrize(
    ("file", "words", "slice_"),
    [("bfo_iv_final.hf5", "0,9ch", slice(0, 10)), ("BEPS_PTO_50x50.h5", "14,18ch", slice(14, 19))],
)
def test_recorded_spectroscopy_is_reduced(recorded: Path, tmp_path: Path, file: str, words: str, slice_: slice) -> None:
    source = recorded / "afm-spectral-grids" / file
    assert call(source, "--spectrum-window", words, "-o", tmp_path / "out.h5").exit_code == 0
    with open_recording(source) as opened:
        data = opened.main.signal().data
    window = results_in(tmp_path / "out.h5")["window"].data
    np.testing.assert_allclose(window, data[..., slice_].sum(-1), rtol=1e-9, atol=1e-12 * np.abs(data).max())


def test_a_camera_s_own_sums_are_found_again(recorded: Path, tmp_path: Path) -> None:
    # The program that recorded this file (fpd) stored its own sums beside the frames.
    source = recorded / "diffraction-small" / "fpd_medipix_2x2.hdf5"
    assert call(source, "--sum", "-o", tmp_path / "out.h5").exit_code == 0
    with h5py.File(source) as theirs, h5py.File(tmp_path / "out.h5") as ours:
        found = {name: group[name][name][()] for group in ours["Measurement_000"].values() for name in group}
        np.testing.assert_array_equal(found["sum"], theirs["fpd_expt/fpd_sum_im/data"][()].reshape(2, 2))
        np.testing.assert_array_equal(found["sum_frame"], theirs["fpd_expt/fpd_sum_dif/data"][()].reshape(256, 256))


@pytest.mark.parametrize(
    ("file", "words", "low", "high"),
    [
        ("stem-eds-sio2/SiO2_EDS.hspy", "1.65,1.83keV", 1650.0, 1830.0),
        ("stem-eds-idp/tilt_0.bcf", "6.3,6.5keV", 6300.0, 6500.0),
        ("eels-si-interface/SI-EELS.dm3", "532,562", 532.0, 562.0),
    ],
)
def test_spectrum_images_of_microscope_makers_are_reduced(
    recorded: Path, tmp_path: Path, file: str, words: str, low: float, high: float
) -> None:
    assert call(recorded / file, "--spectrum-window", words, "-o", tmp_path / "out.h5").exit_code == 0
    with open_recording(recorded / file) as opened:
        spectra = opened.main.signal()
    energy = spectra.axes[-1].coordinates()
    expected = spectra.data[..., (energy >= low) & (energy <= high)].astype(np.float64).sum(-1)
    np.testing.assert_allclose(results_in(tmp_path / "out.h5")["window"].data, expected, rtol=1e-6)
