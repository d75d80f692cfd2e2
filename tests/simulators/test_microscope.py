"""The simulated microscope as a whole: repeatability, dose, drift, blanking, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.constants as si

from beamloop.core import (
    Acquisition,
    BeamBlanked,
    Blanker,
    GridScan,
    LimitRefused,
    MotionHalted,
    PlanInvalid,
    PointScan,
    Region,
    SettingsInvalid,
    UnknownName,
)
from beamloop.simulators import SharedLine
from beamloop.simulators.microscope import LONGEST_BATCH_S, Microscope, simulated_microscope
from beamloop.simulators.settings import MicroscopeSettings
from beamloop.simulators.stage import SPEED_M_PER_S, Stage

from .instrument_contract import acquired, batches_of

OVERVIEW = GridScan(detector="haadf", shape=(128, 128), dwell_s=2e-5)
SPECTRUM = PointScan(detector="eels", points=((42e-9, 57e-9),), dwell_s=0.05)
SPECTRA = GridScan(detector="eels", shape=(12, 12), dwell_s=0.01)
PATTERNS = GridScan(detector="diffraction", shape=(7, 6), dwell_s=1e-3)
ALL = (OVERVIEW, OVERVIEW.model_copy(update={"detector": "bf"}), SPECTRA, PATTERNS)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[SharedLine]:
    line = SharedLine(tmp_path)
    line.open()
    yield line
    line.release()


def microscope(line: SharedLine, **settings: object) -> Microscope:
    made = simulated_microscope(settings, line)
    assert isinstance(made, Microscope)
    return made


def frames(instrument: Microscope, plan: Acquisition, measurement_id: str = "m1") -> np.ndarray:
    return acquired(instrument, plan, measurement_id)[1]


def expected(instrument: Microscope, plan: Acquisition) -> np.ndarray:
    return frames(instrument, plan.model_copy(update={"expected": True}))


def test_images_are_bit_identical_when_only_the_invisible_seed_changes(line: SharedLine) -> None:
    one, other = (microscope(line, seed=3, invisible_seed=seed) for seed in (10, 11))
    for plan in ALL:
        if plan.detector != "eels":
            np.testing.assert_array_equal(frames(one, plan), frames(other, plan))
    assert np.abs(expected(one, SPECTRA) / expected(other, SPECTRA) - 1).max() > 0.02


@pytest.mark.parametrize("plan", ALL, ids=lambda plan: plan.detector)
def test_counts_scatter_about_the_expectation_as_poisson(line: SharedLine, plan: Acquisition) -> None:
    instrument = microscope(line, drift_m_per_s=0.0, critical_dose_per_m2=0.0)
    mean = expected(instrument, plan).astype(float)
    counts = frames(instrument, plan).astype(float)
    several = mean > 5
    chi_square = np.sum((counts - mean)[several] ** 2 / mean[several]) / several.sum()
    assert chi_square == pytest.approx(1.0, abs=6 * np.sqrt(2 / several.sum()))
    assert counts.sum() == pytest.approx(mean.sum(), abs=6 * np.sqrt(mean.sum()))


@pytest.mark.parametrize("plan", ALL, ids=lambda plan: plan.detector)
def test_pace_and_its_smaller_batches_change_no_bit(line: SharedLine, plan: Acquisition) -> None:
    # A pace this small waits microseconds but cuts batches as real time does.
    swift, paced = microscope(line, drift_m_per_s=1e-9), microscope(line, drift_m_per_s=1e-9, pace=1e-6)
    np.testing.assert_array_equal(frames(swift, plan), frames(paced, plan))
    assert swift.now_s() == pytest.approx(paced.now_s(), rel=1e-12)
    assert swift.dose_electrons() == pytest.approx(paced.dose_electrons(), rel=1e-12)


def test_paced_batches_are_short(line: SharedLine) -> None:
    paced = microscope(line, pace=1e-6)
    _, batches = batches_of(paced, SPECTRA)
    assert max(len(batch.indices) for batch in batches) * SPECTRA.dwell_s <= LONGEST_BATCH_S * 1.01 + SPECTRA.dwell_s
    assert len(batches) > 10


def test_other_measurement_has_other_noise(line: SharedLine) -> None:
    instrument = microscope(line)
    assert not np.array_equal(frames(instrument, SPECTRUM, "a"), frames(instrument, SPECTRUM, "b"))


def test_dose_is_current_times_dwell_over_the_charge(line: SharedLine) -> None:
    instrument = microscope(line, start={"beam_current_a": 2e-11})
    frames(instrument, OVERVIEW)
    frames(instrument, SPECTRUM)
    electrons = 2e-11 / si.e * (128 * 128 * 2e-5 + 0.05)
    assert instrument.dose_electrons() == pytest.approx(electrons, rel=1e-12)


def test_diffraction_holds_the_electrons_of_its_dwell(line: SharedLine) -> None:
    instrument = microscope(line)
    counts = frames(instrument, PATTERNS).sum(axis=(2, 3))
    electrons = 5e-11 * 1e-3 / si.e
    # Fine planes, gold's above all, send some past the camera.
    assert np.all(counts <= electrons + 5 * np.sqrt(electrons))
    assert np.median(counts) == pytest.approx(electrons, rel=0.01)


def test_expectation_costs_nothing_and_needs_no_beam(line: SharedLine) -> None:
    instrument = microscope(line, drift_m_per_s=1e-9)
    before = [expected(instrument, plan) for plan in ALL]
    frames(instrument, OVERVIEW)
    clock, dose = instrument.now_s(), instrument.dose_electrons()
    line.close()
    for plan, known in zip(ALL, before, strict=True):
        scan, found = acquired(instrument, plan.model_copy(update={"expected": True}))
        assert scan.dtype == "<f4"
        assert scan.expected
        np.testing.assert_array_equal(found, known)
    assert (instrument.now_s(), instrument.dose_electrons()) == (clock, dose)


def test_overview_shifts_by_the_drift(line: SharedLine) -> None:
    instrument = microscope(line, drift_m_per_s=50e-12, seed=2)
    plan = GridScan(detector="haadf", shape=(200, 200), dwell_s=1e-6)
    first = frames(instrument, plan, "a").astype(float)
    began = instrument.now_s()
    frames(instrument, PointScan(detector="eels", points=((0.0, 0.0),) * 9, dwell_s=9.0), "wait")
    second = frames(instrument, plan, "b").astype(float)
    shift = registered(first, second) * 0.5e-9
    # The drift itself, from the stage of the same seed.
    stage = Stage(50e-12, np.random.default_rng([2, 3]))
    times = np.array([0.02, instrument.now_s() - began + 0.02])
    moved = np.diff(stage.offset(times), axis=0)[0]
    assert np.hypot(*moved) > 2e-9
    # The specimen runs through the field the other way.
    np.testing.assert_allclose(shift, -moved, atol=0.25e-9)


def registered(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return by how many pixels `second` is shifted against `first`: cross-correlation, its peak a parabola."""
    window = np.outer(np.hanning(len(first)), np.hanning(len(first)))
    spectra = [np.fft.fft2((image - image.mean()) * window) for image in (first, second)]
    peak = np.fft.ifft2(spectra[1] * np.conj(spectra[0])).real
    peak = np.fft.fftshift(peak)
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    along = peak[row - 1 : row + 2, column], peak[row, column - 1 : column + 2]
    finer = [(p[0] - p[2]) / (2 * (p[0] - 2 * p[1] + p[2])) for p in along]
    return np.array([row, column]) - len(first) // 2 + finer


def test_stage_move_shows_the_neighbourhood(line: SharedLine) -> None:
    instrument = microscope(line, drift_m_per_s=0.0)
    whole = expected(instrument, GridScan(detector="haadf", shape=(50, 50), dwell_s=1e-5))
    seconds = instrument.write({"stage_x_m": 40e-9})
    moved = expected(instrument, GridScan(detector="haadf", shape=(50, 50), dwell_s=1e-5))
    np.testing.assert_allclose(moved[:, :30], whole[:, 20:], rtol=1e-5)
    assert seconds > 0.04
    assert instrument.now_s() == seconds


def test_damage_lowers_the_edge_on_the_second_visit(line: SharedLine) -> None:
    instrument = microscope(line, critical_dose_per_m2=2e26, drift_m_per_s=0.0)
    plan = PointScan(detector="eels", points=((42e-9, 57e-9),), dwell_s=1.0)
    energy = instrument.describe().detector("eels").frame_axes[0].coordinates()
    first, second = (frames(instrument, plan, name)[0].astype(float) for name in "ab")
    after, before = (energy > 706) & (energy < 730), energy < 700
    assert first[before].sum() == pytest.approx(second[before].sum(), rel=0.02)
    assert second[after].sum() < 0.9 * first[after].sum()


def test_beam_blanked_between_batches_ends_the_scan(line: SharedLine) -> None:
    instrument = microscope(line)
    scan = instrument.begin(PATTERNS, "s1", "m1", "tester")
    running = instrument.frames(PATTERNS, scan)
    taken = len(next(running).indices)
    line.close()
    with pytest.raises(BeamBlanked, match=rf"scan s1 needs the beam for frame {taken} of 42.*blanked"):
        next(running)
    assert instrument.dose_electrons() == pytest.approx(taken * 5e-11 * 1e-3 / si.e)


def test_beam_blanked_during_a_long_dwell_ends_it_and_charges_what_was_exposed(line: SharedLine) -> None:
    looks = iter(range(1_000_000))

    class Fading(Blanker):
        def open(self) -> None: ...

        def close(self) -> None: ...

        def is_open(self) -> bool:
            return next(looks) < 12

    instrument = simulated_microscope({"pace": 1.0}, Fading())
    plan = PointScan(detector="eels", points=((42e-9, 57e-9),), dwell_s=9.0)
    scan = instrument.begin(plan, "s1", "m1", "tester")
    with pytest.raises(BeamBlanked):
        next(iter(instrument.frames(plan, scan)))
    assert 0 < instrument.now_s() < 8
    # The settling before the dwell is no exposure, but it is short against the wait.
    charged = 5e-11 * instrument.now_s() / si.e
    assert instrument.dose_electrons() == pytest.approx(charged, rel=0.05)


def test_unreadable_blanker_counts_as_blanked(line: SharedLine) -> None:
    instrument = microscope(line)
    line.release()
    with pytest.raises(BeamBlanked, match="cannot be read back"):
        frames(instrument, SPECTRUM)


def test_header_says_that_it_is_a_simulator(line: SharedLine) -> None:
    instrument = microscope(line)
    info = instrument.describe()
    assert (info.source, info.expects, info.overview) == ("simulator", True, "haadf")
    assert instrument.begin(SPECTRUM, "s1", "m1", "tester").simulated


def test_written_parameters_are_described_and_stand_in_the_header(line: SharedLine) -> None:
    instrument = microscope(line)
    instrument.write({"defocus_m": 1e-8, "beam_current_a": 1e-11})
    assert instrument.describe().parameter("defocus_m").value == 1e-8
    assert instrument.begin(SPECTRUM, "s1", "m1", "tester").state["beam_current_a"] == 1e-11


def test_refused_write_sets_nothing(line: SharedLine) -> None:
    instrument = microscope(line)
    with pytest.raises(LimitRefused, match=r"semi_angle_rad = 1 rad refused: limit is 0.001 .. 0.03"):
        instrument.write({"defocus_m": 1e-8, "semi_angle_rad": 1.0})
    with pytest.raises(UnknownName, match="did you mean 'defocus_m'"):
        instrument.write({"defocus": 0.0})
    with pytest.raises(PlanInvalid):
        instrument.write({"defocus_m": float("nan")})
    assert instrument.describe().parameter("defocus_m").value == 0.0
    assert instrument.now_s() == 0.0


class HaltedAfter(Blanker):
    """A line that is halted after so many looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def open(self) -> None: ...

    def close(self) -> None: ...

    def is_open(self) -> bool:
        return True

    def is_halted(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_halted_move_ends_where_it_is_and_says_where() -> None:
    # So slow a pace that no computer is so busy that the stage arrives.
    instrument = Microscope(MicroscopeSettings(pace=1000.0), HaltedAfter(looks=10))
    with pytest.raises(MotionHalted, match=r"halted after .* stands at stage_y_m = 0, stage_x_m = ") as told:
        instrument.write({"stage_x_m": 1e-7, "defocus_m": 5e-9})
    values = {parameter.name: parameter.value for parameter in instrument.describe().parameters}
    assert 0 < instrument.now_s() < 0.1
    assert values["stage_x_m"] == pytest.approx(SPEED_M_PER_S * instrument.now_s(), rel=1e-9)
    assert f"{values['stage_x_m']:.6g}" in str(told.value)
    assert values["defocus_m"] == 5e-9


def test_a_halted_line_lets_no_move_begin(line: SharedLine) -> None:
    instrument = microscope(line)
    line.halt()
    with pytest.raises(MotionHalted, match="halted after 0 s"):
        instrument.write({"stage_x_m": 1e-7})
    assert (instrument.describe().parameter("stage_x_m").value, instrument.now_s()) == (0.0, 0.0)
    line.free()
    instrument.write({"stage_x_m": 1e-7})
    assert instrument.describe().parameter("stage_x_m").value == 1e-7


def test_probe_wider_than_its_window_is_refused(line: SharedLine) -> None:
    instrument = microscope(line)
    instrument.write({"semi_angle_rad": 0.02, "defocus_m": 1e-6})
    with pytest.raises(LimitRefused, match=r"20\.\d+ nm wide.*defocus_m"):
        instrument.begin(SPECTRUM, "s1", "m1", "tester")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sead": 1}, "unknown key 'sead'; did you mean 'seed'"),
        ({"pace": -1.0}, "pace"),
        ({"seed": "many"}, "seed"),
    ],
)
def test_wrong_settings_are_named(line: SharedLine, settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        simulated_microscope(settings, line)


def test_start_values_are_held_to_the_limits(line: SharedLine) -> None:
    with pytest.raises(LimitRefused, match="beam_current_a"):
        simulated_microscope({"start": {"beam_current_a": 1.0}}, line)
    with pytest.raises(UnknownName, match="did you mean 'beam_current_a'"):
        simulated_microscope({"start": {"beam_curent_a": 1e-11}}, line)


def test_fine_probe_resolves_the_lattice_in_a_small_region(line: SharedLine) -> None:
    instrument = microscope(line, start={"semi_angle_rad": 0.025}, drift_m_per_s=0.0)
    overview = expected(instrument, GridScan(detector="haadf", shape=(50, 50), dwell_s=1e-5))
    row, column = np.unravel_index(overview[5:45, 5:45].argmax(), (40, 40))
    region = Region(y_m=(row + 5) * 2e-9, x_m=(column + 5) * 2e-9, height_m=2e-9, width_m=2e-9)
    image = expected(instrument, GridScan(detector="haadf", shape=(64, 64), dwell_s=1e-5, region=region))
    assert image.std() / image.mean() > 0.2
