"""`beamloop open` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from beamloop.core import Axis, OutputExists, RecordingUnreadable, Signal
from beamloop.edge_client.commands.open import open_files
from beamloop.edge_client.reporting.highlights import highlights
from beamloop.edge_client.reporting.recording_figure import recording_figure
from beamloop.streaming.files import open_recording, write_signal

Y, X = (Axis(name=n, size=s, units="m", scale=2e-9) for n, s in (("y", 4), ("x", 5)))
ENERGY = Axis(name="energy_loss", size=6, units="eV", offset=100.0, scale=0.5)
CAMERA = tuple(Axis(name=n, size=8, units="1/m", scale=1e8) for n in "vu")
INDEX = Axis(name="index", size=7)


def call(*words: str):
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command("open")(open_files)
    return CliRunner().invoke(app, list(words), prog_name="beamloop open")


@pytest.fixture
def session(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    valid = np.ones((4, 5), bool)
    valid[3, 2:] = False
    about = {"simulated": True, "dwell_s": 1e-3}
    with h5py.File(tmp_path / "session.h5", "w") as file:
        image = Signal(random.normal(size=(4, 5)), (Y, X), "intensity", "a.u.")
        spectra = Signal(
            random.poisson(9.0, (4, 5, 6)).astype("<u2"), (Y, X, ENERGY), "intensity", "counts", valid, about
        )
        frames = Signal(random.poisson(9.0, (4, 5, 8, 8)).astype("<u2"), (Y, X, *CAMERA))
        for i, (name, each) in enumerate({"haadf": image, "eels": spectra, "camera": frames}.items()):
            write_signal(file, f"Channel_{i:03d}", name, each)
        write_signal(file, "Channel_003", "values", Signal(np.arange(7.0), (INDEX,), "edge", "counts"))
    return tmp_path / "session.h5"


def test_it_tells_shape_axes_units_type_and_what_was_recorded(session: Path) -> None:
    result = call(str(session))
    assert result.exit_code == 0
    for part in (
        "haadf (overview): image, 4 x 5 positions (y, x)",
        "eels: spectra of 6, 4 x 5 positions",
        "camera (main): frames of 8 x 8",
        "y: 4, 0 .. 6 nm, in steps of 2 nm",
        "energy_loss: 6, 100 .. 102.5 eV, in steps of 0.5 eV",
        "intensity (counts), <u2, 17 of 20 recorded; from a SIMULATOR",
        "dwell 0.001 s",
        "beside, 7: /Measurement_000/Channel_003/values/values (index; float64) is no grid",
    ):
        assert part in result.output, part


def test_as_json_it_tells_the_same_facts(session: Path) -> None:
    told = json.loads(call(str(session), "--json").output)
    eels = told["detectors"][1]
    assert (told["main"], told["overview"]) == ("camera", "haadf")
    assert (eels["name"], eels["kind"], eels["shape"], eels["recorded"]) == ("eels", "spectrum", [4, 5], 17)
    assert eels["axes"][2]["offset"] == 100.0
    assert eels["metadata"]["simulated"] is True
    assert [beside["shape"] for beside in told["beside"]] == [[7]]


def test_it_draws_each_detector_and_each_list(session: Path, tmp_path: Path) -> None:
    assert call(str(session), "--plot", str(tmp_path / "picture.png")).exit_code == 0
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300
    ticks: list[int] = []
    with open_recording(session) as recording:
        figure = recording_figure(recording, ticks.append)
        spectra = recording.detector("eels").signal().data
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [
        "haadf, 4 x 5", "eels: mean of each, 4 x 5", "eels: mean of all", "camera: mean of each, 4 x 5",
        "camera: mean of all, 8 x 8", "values: list of 7",
    ]  # fmt: skip
    assert sum(ticks) == 60
    by_title = {axes.get_title(): axes for axes in figure.axes}
    # Only what was recorded counts: the last three of the last row were not.
    (line,) = by_title["eels: mean of all"].lines
    np.testing.assert_allclose(line.get_ydata(), spectra.reshape(20, 6)[:17].mean(axis=0))
    (drawn,) = by_title["eels: mean of each, 4 x 5"].images
    np.testing.assert_allclose(drawn.get_array().filled(np.nan).ravel()[:17], spectra.mean(axis=2).ravel()[:17])
    assert drawn.get_array().mask.ravel()[17:].all()


def test_a_picture_that_is_there_is_not_overwritten(session: Path, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("mine")
    result = call(str(session), "--plot", str(tmp_path / "p.png"))
    assert isinstance(result.exception, OutputExists)
    assert (tmp_path / "p.png").read_text() == "mine"


def test_a_file_with_nothing_to_draw_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", objects=np.array([{}], dtype=object))
    result = call(str(tmp_path / "a.npz"), "--plot", str(tmp_path / "p.png"))
    assert isinstance(result.exception, RecordingUnreadable)
    assert "nothing in" in str(result.exception)
    assert "pickled" in result.output
    assert not (tmp_path / "p.png").exists()


def test_help_has_examples() -> None:
    assert "Example: beamloop open SI-EELS.dm3" in call("--help").output


def test_highlights_carry_units_and_leave_out_what_is_not_told() -> None:
    told = {"TEM": {"beam_energy": 300.0, "Stage": {"tilt_alpha": -1.5}}, "General": {"title": ""}, "other": 3}
    assert highlights(told) == {"beam energy": "300 keV", "tilt alpha": "-1.5 degrees"}


FOLDERS = {
    "afm-spectral-grids": 5, "atomic-images": 6, "diffraction-small": 3, "eels-si-interface": 3,
    "orientation-phase-maps": 1, "stem-eds-idp": 2, "stem-eds-sio2": 2,
}  # fmt: skip
"""Files with a grid in each."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_file_with_a_grid_is_drawn(
    recorded: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beamloop.edge_client.commands.open.DOTS_PER_INCH", 40)
    not_drawn = (".md", ".txt", ".zip")
    files = [f for f in (recorded / folder).iterdir() if f.suffix not in not_drawn and "braggpeaks" not in f.name]
    assert len(files) == FOLDERS[folder]
    for file in files:
        result = call(str(file), "--plot", str(tmp_path / f"{file.name}.png"))
        assert result.exit_code == 0, (file.name, result.exception)
        with Image.open(tmp_path / f"{file.name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 10, f"{file.name} is an empty picture"
