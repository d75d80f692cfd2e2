from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import (
    Axis,
    GridScan,
    Instrument,
    LimitRefused,
    Limits,
    NotRecorded,
    PointScan,
    RecordingUnreadable,
    Region,
    SettingsInvalid,
    Signal,
    UnknownName,
)
from beamloop.core.registry import INSTRUMENTS, find
from beamloop.models.features import patch_features, patches
from beamloop.simulators import SharedLine, VirtualClock
from beamloop.simulators.replay import Replay, ReplaySettings
from beamloop.streaming.files import open_recording, write_signal
from beamloop.streaming.reduce import Reducing, SpectrumWindow

from .instrument_contract import CLAIMS, Case

FIELD = Region(y_m=-4e-9, x_m=1e-9, height_m=8e-9, width_m=10e-9)
SHAPE, FINE = (4, 5), (16, 20)
ENERGY = Axis(name="energy_loss", size=6, units="eV", quantity="energy", offset=100.0, scale=0.5)
SPECTRA = np.random.default_rng(0).poisson(9.0, (*SHAPE, 6)).astype("<u2")
AFM = "afm-spectral-grids"
PICTURE = np.random.default_rng(1).normal(size=FINE).astype("<f4")


class Untouchable:
    """A blanker that nobody may ask: a recording needs no beam."""

    def open(self) -> None:
        raise AssertionError("a recording opened the beam")

    def close(self) -> None:
        raise AssertionError("a recording closed the beam")

    def is_open(self) -> bool | None:
        raise AssertionError("a recording asked for the beam")


Open = Callable[..., Instrument]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open replay instruments by their registered name, and close them after the test."""
    instruments: list[Instrument] = []

    def make(path: Path, **settings: object) -> Instrument:
        instruments.append(find(INSTRUMENTS, "replay")({"file": str(path), **settings}, Untouchable()))
        return instruments[-1]

    yield make
    for instrument in instruments:
        instrument.close()


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "session.h5"
    facts: Mapping[str, object] = {"simulated": True}
    with h5py.File(path, "w") as file:
        picture = Signal(PICTURE, FIELD.grid(FINE), "intensity", "a.u.", metadata=dict(facts))
        spectra = Signal(SPECTRA, (*FIELD.grid(SHAPE), ENERGY), "intensity", "counts", metadata=dict(facts))
        write_signal(file, "Channel_000", "haadf", picture)
        write_signal(file, "Channel_001", "eels", spectra)
    return path


def taken(instrument: Instrument, plan: GridScan | PointScan) -> tuple[np.ndarray, np.ndarray]:
    """Frames and positions of a plan that the limits allow, in scan order."""
    Limits(instrument.describe()).check(plan)
    scan = instrument.begin(plan, "s1", "m1", "me")
    frames = np.zeros((scan.n_frames, *scan.frame_shape), scan.dtype)
    positions = np.full((scan.n_frames, 2), np.nan)
    for batch in instrument.frames(plan, scan):
        batch.check(scan)
        frames[batch.indices], positions[batch.indices] = batch.frames, batch.positions
    return frames, positions


def test_it_describes_itself_as_the_recording_it_is(opened: Open, session: Path) -> None:
    info = opened(session).describe()
    assert (info.name, info.source, info.expects, info.overview) == ("session", "recording", True, "haadf")
    assert {d.name: d.frame_axes for d in info.detectors} == {"eels": (ENERGY,), "haadf": ()}
    assert info.parameters == ()
    grid, fine = info.detector("eels").grid, info.detector("haadf").grid
    assert grid is not None
    assert fine is not None
    assert (grid.shape, fine.shape) == (SHAPE, FINE)
    for name in ("y_m", "x_m", "height_m", "width_m"):
        assert getattr(info.field, name) == pytest.approx(getattr(FIELD, name))
    for axis, again in zip((grid.y, grid.x), info.field.grid(SHAPE), strict=True):
        np.testing.assert_allclose(axis.coordinates(), again.coordinates(), rtol=0, atol=1e-6 * axis.scale)


@pytest.mark.parametrize(("detector", "shape", "wanted"), [("eels", SHAPE, SPECTRA), ("haadf", FINE, PICTURE)])
@pytest.mark.parametrize("expected", [False, True])
def test_the_whole_grid_is_what_was_recorded_with_nothing_added(
    opened: Open, session: Path, detector, shape, wanted, expected
) -> None:
    plan = GridScan(detector=detector, shape=shape, dwell_s=1e-3, expected=expected)
    instrument = opened(session)
    frames, positions = taken(instrument, plan)
    np.testing.assert_array_equal(frames.reshape(wanted.shape), wanted)
    np.testing.assert_allclose(positions, plan.positions(FIELD), atol=1e-18)
    scan = instrument.begin(plan, "s", "m", "me")
    assert (scan.expected, scan.simulated, scan.scan_shape) == (expected, True, shape)
    assert [a.name for a in scan.scan_axes] == ["y", "x"]


def test_points_give_the_spectra_recorded_there_in_the_order_asked(opened: Open, session: Path) -> None:
    y, x = (axis.coordinates() for axis in FIELD.grid(SHAPE))
    cells = [(3, 4), (0, 0), (3, 4), (2, 1)]
    # Off by a little less than what counts as there.
    points = tuple((float(y[i]) + 1.9e-12, float(x[j]) - 1.9e-12) for i, j in cells)
    frames, positions = taken(opened(session), PointScan(detector="eels", points=points, dwell_s=1e-3))
    np.testing.assert_array_equal(frames, [SPECTRA[cell] for cell in cells])
    np.testing.assert_allclose(positions, [(y[i], x[j]) for i, j in cells], atol=1e-18)


def test_a_part_of_the_grid_is_given_where_its_pixels_were_recorded(opened: Open, session: Path) -> None:
    part = Region(y_m=-2e-9, x_m=3e-9, height_m=4e-9, width_m=6e-9)
    frames, _ = taken(opened(session), GridScan(detector="eels", shape=(2, 3), dwell_s=1e-3, region=part))
    np.testing.assert_array_equal(frames.reshape(2, 3, 6), SPECTRA[1:3, 1:4])


def test_a_position_between_the_recorded_ones_is_refused_and_the_nearest_named(opened: Open, session: Path) -> None:
    plan = PointScan(detector="eels", points=((-3e-9, 2e-9), (-0.8e-9, 4.3e-9)), dwell_s=1e-3)
    with pytest.raises(NotRecorded, match=r"position 1 at y = -8e-10 m.* is y = -1e-09 m, x = 4e-09 m \(within 0.001"):
        opened(session).begin(plan, "s", "m", "me")


def test_a_position_just_over_the_tolerance_is_refused(opened: Open, session: Path) -> None:
    plan = PointScan(detector="eels", points=((-3e-9, 2e-9 + 2.1e-12),), dwell_s=1e-3)
    with pytest.raises(NotRecorded, match="position 0"):
        opened(session).begin(plan, "s", "m", "me")


@pytest.mark.parametrize(("detector", "shape"), [("eels", (8, 10)), ("eels", (2, 5)), ("haadf", SHAPE)])
def test_a_grid_of_another_shape_is_refused_and_the_recorded_one_named(
    opened: Open, session: Path, detector: str, shape
) -> None:
    ny, nx = SHAPE if detector == "eels" else FINE
    with pytest.raises(NotRecorded, match=f"of the {shape[0]} x {shape[1]} grid.*{detector} has {ny} x {nx} positions"):
        opened(session).begin(GridScan(detector=detector, shape=shape, dwell_s=1e-3), "s", "m", "me")


def test_what_was_not_measured_before_the_recording_ended_is_refused(opened: Open, tmp_path: Path) -> None:
    valid = np.ones(SHAPE, bool)
    valid[2, 3] = False
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        write_signal(file, "Channel_000", "eels", Signal(SPECTRA, (*FIELD.grid(SHAPE), ENERGY), valid=valid))
    instrument = opened(tmp_path / "cut.h5")
    with pytest.raises(NotRecorded, match="1 of 20 positions hold no frame of eels, the first at y = 1e-09 m, x = 8e-"):
        instrument.begin(GridScan(detector="eels", shape=SHAPE, dwell_s=1e-3), "s", "m", "me")
    frames, _ = taken(instrument, PointScan(detector="eels", points=((1e-9, 6e-9),), dwell_s=1e-3))
    np.testing.assert_array_equal(frames[0], SPECTRA[2, 2])


def test_an_unknown_detector_and_a_parameter_are_refused(opened: Open, session: Path) -> None:
    instrument = opened(session)
    with pytest.raises(UnknownName, match="did you mean 'eels'"):
        instrument.begin(GridScan(detector="eel", shape=SHAPE, dwell_s=1e-3), "s", "m", "me")
    with pytest.raises(UnknownName, match="no parameter 'defocus_m'"):
        instrument.write({"defocus_m": 0.0})


def test_every_point_costs_its_dwell_and_an_expectation_costs_nothing(opened: Open, session: Path) -> None:
    instrument = opened(session)
    taken(instrument, GridScan(detector="eels", shape=SHAPE, dwell_s=0.5))
    assert instrument.now_s() == pytest.approx(10.0)
    taken(instrument, GridScan(detector="eels", shape=SHAPE, dwell_s=0.5, expected=True))
    assert instrument.now_s() == pytest.approx(10.0)
    taken(instrument, PointScan(detector="eels", points=((-3e-9, 2e-9),), dwell_s=0.25))
    assert instrument.now_s() == pytest.approx(10.25)
    assert instrument.dose_electrons() == 0


def test_a_dwell_outside_the_limits_is_refused(opened: Open, session: Path) -> None:
    with pytest.raises(LimitRefused, match="dwell_s = 4000"):
        Limits(opened(session).describe()).check(GridScan(detector="eels", shape=SHAPE, dwell_s=4000.0))


def test_with_a_pace_each_batch_is_short_and_waits_for_its_dwell(session: Path) -> None:
    real = [0.0]
    clock = VirtualClock(pace=0.5, real_s=lambda: real[0], sleep=lambda s: real.__setitem__(0, real[0] + s))
    instrument = Replay(open_recording(session), ReplaySettings(file=session), clock)
    plan = GridScan(detector="eels", shape=SHAPE, dwell_s=0.03)
    sizes = [len(b.indices) for b in instrument.frames(plan, instrument.begin(plan, "s", "m", "me"))]
    instrument.close()
    assert sizes == [3] * 6 + [2]
    assert real[0] == pytest.approx(20 * 0.03 * 0.5)


def test_frames_come_in_batches_of_about_a_mebibyte(opened: Open, tmp_path: Path) -> None:
    axes = (*FIELD.grid((6, 6)), *(Axis(name=n, size=256, units="1/m", scale=1e8) for n in "vu"))
    with h5py.File(tmp_path / "big.h5", "w") as file:
        write_signal(file, "Channel_000", "camera", Signal(np.ones([a.size for a in axes], "<u2"), axes), "none")
    instrument = opened(tmp_path / "big.h5")
    plan = GridScan(detector="camera", shape=(6, 6), dwell_s=1e-3)
    batches = list(instrument.frames(plan, instrument.begin(plan, "s", "m", "me")))
    assert [b.frames.nbytes for b in batches] == [1 << 20] * 4 + [1 << 19]


def test_the_name_and_the_overview_can_be_chosen(opened: Open, session: Path) -> None:
    with h5py.File(session, "a") as file:
        write_signal(file, "Channel_002", "bf", Signal(PICTURE, FIELD.grid(FINE)))
    info = opened(session, name="titan", overview="bf").describe()
    assert (info.name, info.overview) == ("titan", "bf")


def test_images_that_lie_elsewhere_are_left_out_and_the_description_says_so(opened: Open, session: Path) -> None:
    elsewhere = Region(y_m=0.0, x_m=1e-9, height_m=8e-9, width_m=10e-9)
    with h5py.File(session, "a") as file:
        write_signal(file, "Channel_002", "survey", Signal(PICTURE, elsewhere.grid(FINE)))
    info = opened(session).describe()
    assert [d.name for d in info.detectors] == ["haadf", "eels"]
    assert "survey lies elsewhere and is left out" in info.doc


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"fil": "a.h5"}, SettingsInvalid, "unknown key 'fil'; did you mean 'file'"),
        ({}, SettingsInvalid, "missing key 'file'"),
        ({"file": "nowhere.h5"}, RecordingUnreadable, "no such recording: nowhere.h5"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(wrong, error, says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        find(INSTRUMENTS, "replay")(wrong, Untouchable())
    assert "\n" not in str(caught.value)


def test_an_overview_that_is_no_image_is_refused(opened: Open, session: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"overview = 'eels': no such image .* known: 'haadf'"):
        opened(session, overview="eels")


@pytest.fixture
def case(session: Path, opened: Open, tmp_path: Path) -> Iterator[Case]:
    line = SharedLine(tmp_path)
    plans = (
        GridScan(detector="eels", shape=SHAPE, dwell_s=1e-3),
        GridScan(detector="haadf", shape=FINE, dwell_s=1e-5),
        PointScan(detector="eels", points=((-3e-9, 2e-9), (1e-9, 10e-9)), dwell_s=0.1),
    )
    yield Case(lambda _: opened(session), line, plans, needs_beam=False)
    line.release()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_a_recording_keeps_the_contract_of_instruments(claim: Callable[[Case], None], case: Case) -> None:
    claim(case)


def test_an_image_off_by_less_than_half_a_pixel_keeps_its_own_axes(opened: Open, session: Path) -> None:
    shifted = Region(y_m=FIELD.y_m + 2e-10, x_m=FIELD.x_m, height_m=FIELD.height_m, width_m=FIELD.width_m)
    with h5py.File(session, "a") as file:
        write_signal(file, "Channel_002", "shifted", Signal(PICTURE, shifted.grid(FINE)))
    plan = GridScan(detector="shifted", shape=FINE, dwell_s=1e-3)
    instrument = opened(session)
    scan = instrument.begin(plan, "s", "m", "me")
    assert scan.scan_axes[0].offset == pytest.approx(shifted.grid(FINE)[0].offset)
    frames, positions = taken(instrument, plan)
    np.testing.assert_array_equal(frames.reshape(FINE), PICTURE)
    np.testing.assert_allclose(positions, plan.positions(shifted), atol=1e-18)


# Files that others made.


def test_the_sum_of_the_bfo_curves_is_that_of_the_file_whole_or_point_by_point(opened: Open, recorded: Path) -> None:
    with h5py.File(recorded / AFM / "bfo_iv_final.hf5") as file:
        wanted = file["Measurement_000/Channel_000/IV_BFO/IV_BFO"][()].sum(axis=2).T
    instrument = opened(recorded / AFM / "bfo_iv_final.hf5")
    grid = instrument.describe().detector("spectrum").grid
    assert grid is not None
    points = tuple((float(grid.y.coordinates()[i]), float(grid.x.coordinates()[j])) for i, j in [(27, 35), (3, 9)])
    plans = [
        GridScan(detector="spectrum", shape=(50, 50), dwell_s=0.1),
        PointScan(detector="spectrum", points=points, dwell_s=0.1),
    ]
    results = []
    for plan in plans:
        scan = instrument.begin(plan, "s", "m", "me")
        assert not scan.simulated
        reducing = Reducing(scan, {"sum": SpectrumWindow()})
        for batch in instrument.frames(plan, scan):
            reducing.add(batch)
        results.append(reducing.results()["sum"]["value"])
    np.testing.assert_allclose(results[0].data, wanted, rtol=1e-13)
    assert results[1].data.tolist() == results[0].data[[27, 3], [35, 9]].tolist()


PLAYED = {
    f"{AFM}/BEPS_PTO_50x50.h5": None, f"{AFM}/bfo_iv_final.hf5": None, f"{AFM}/PTO_Funakubo0001.h5": "height_retrace",
    f"{AFM}/bepfm_32x32x102.npy": None, f"{AFM}/cKPFM_10x10.npz": None, "atomic-images/Acquisition_18.emd": "image",
    "atomic-images/MoS2_000-2.npy": "image", "atomic-images/MoS2_001-5.npy": "image",
    "atomic-images/PTO-SRO.hspy": "haadf", "atomic-images/STO_HAADF_1.ser": "image",
    "atomic-images/STO_test_image_nsid.hf5": "image", "diffraction-small/edax_ni_3x3.h5": "ci",
    "diffraction-small/fpd_medipix_2x2.hdf5": "exposure", "diffraction-small/nanomegas_3x2.blo": None,
    "eels-si-interface/SI-EELS.dm3": None, "eels-si-interface/SI-HAADF.dm3": "haadf",
    "eels-si-interface/SI-Survey.dm3": "si_survey", "orientation-phase-maps/sdss_ferrite_austenite.ang": "phi1",
    "stem-eds-idp/tilt_0.bcf": "haadf", "stem-eds-idp/tilt_10.bcf": "haadf", "stem-eds-sio2/SiO2_EDS.hspy": None,
    "stem-eds-sio2/SiO2_HAADF.hspy": "haadf",
}  # fmt: skip
"""What is looked at first, by file."""


@pytest.mark.parametrize("name", PLAYED)
def test_a_real_file_replays_all_of_its_detectors(opened: Open, recorded: Path, name: str) -> None:
    instrument = opened(recorded / name)
    info = instrument.describe()
    assert info.overview == PLAYED[name]
    with open_recording(recorded / name) as recording:
        for told in info.detectors:
            detector = recording.detector(told.name)
            # Of the longest maps a few rows stand for all.
            rows = detector.shape[0] if detector.valid.size * np.prod(detector.frame_shape) < 1e7 else 3
            wanted = detector.rows(0, rows)
            y, x = (axis.coordinates() for axis in (detector.y, detector.x))
            points = tuple((float(y[i]), float(x[j])) for i in range(rows) for j in range(0, len(x), 7))
            whole = GridScan(detector=told.name, shape=detector.shape, dwell_s=1e-3)
            plan = whole if rows == len(y) else PointScan(detector=told.name, points=points, dwell_s=1e-3)
            frames, _ = taken(instrument, plan)
            if plan is not whole:
                wanted = wanted[:, ::7]
            np.testing.assert_array_equal(frames.reshape(wanted.shape), wanted)


def test_only_lists_give_no_instrument_and_the_error_names_them(opened: Open, recorded: Path) -> None:
    with pytest.raises(RecordingUnreadable, match=r"nothing recorded on a grid: .* py4DSTEM list of points"):
        opened(recorded / "orientation-phase-maps" / "braggpeaks_80x58.h5")


def test_two_files_play_as_one_instrument_and_patches_of_the_image_are_features_of_the_spectra(
    recorded: Path,
) -> None:
    folder = recorded / "eels-si-interface"
    files = [str(folder / name) for name in ("SI-EELS.dm3", "SI-HAADF.dm3")]
    instrument = find(INSTRUMENTS, "replay")({"file": files}, Untouchable())
    try:
        info = instrument.describe()
        assert {d.name: d.grid and d.grid.shape for d in info.detectors} == {"spectrum": (49, 6), "haadf": (1568, 192)}
        assert info.overview == "haadf"
        assert "SI-EELS.dm3 + SI-HAADF.dm3 played back" in info.doc
        image, _ = taken(instrument, GridScan(detector="haadf", shape=(1568, 192), dwell_s=1e-6))
        overview = Signal(image.reshape(1568, 192), info.field.grid((1568, 192)))
        positions = GridScan(detector="spectrum", shape=(49, 6), dwell_s=1e-3).positions(info.field)
        around = patches(overview, positions, 33)
        # Cut by whole pixels instead: the patch is centred between pixels, so it is the mean of its neighbours.
        wanted = image.reshape(49, 32, 6, 32).swapaxes(1, 2).reshape(294, 32, 32).astype(float)
        middle = (wanted[:, :-1] + wanted[:, 1:]) / 2
        middle = (middle[:, :, :-1] + middle[:, :, 1:]) / 2
        np.testing.assert_allclose(around[:, 1:-1, 1:-1], middle, rtol=1e-5)
        assert patch_features(overview, positions, size_px=33).shape == (294, 8)
    finally:
        instrument.close()
