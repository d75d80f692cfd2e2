"""The dose map and its budget: sums, places, two counts, and what survives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import (
    DetectorInfo,
    DoseRefused,
    GridScan,
    InstrumentInfo,
    Parameter,
    PointScan,
    RecordingUnreadable,
    Region,
    ScanEnd,
    SettingsInvalid,
    StorageFailed,
)
from beamloop.instrument_server.dose.budget import DoseRegion, DoseSettings, cell_of, is_countable
from beamloop.instrument_server.dose.charging import ELEMENTARY_CHARGE_C, Dose
from beamloop.instrument_server.dose.map import DoseMap, block_of
from beamloop.instrument_server.dose.store import DoseStore

FIELD = Region(y_m=0.0, x_m=0.0, height_m=64e-9, width_m=64e-9)
INFO = InstrumentInfo(
    name="bench", source="hardware", field=FIELD,
    parameters=(
        Parameter(name="current_a", units="A", value=ELEMENTARY_CHARGE_C * 1e6, low=0, high=1e-9),
        Parameter(name="stage_y_m", units="m", value=0.0, low=-1e-3, high=1e-3),
        Parameter(name="stage_x_m", units="m", value=0.0, low=-1e-3, high=1e-3),
    ),
    detectors=(DetectorInfo(name="haadf"),), stage=("stage_y_m", "stage_x_m"), beam_current="current_a",
)  # fmt: skip
CELL_M = 1e-9
AREA = CELL_M**2
PER_MS = 1000.0
"""Electrons in a millisecond at the bench's current of a million a second."""


def point(y: float = 10.5e-9, x: float = 20.5e-9, dwell_s: float = 1e-3) -> PointScan:
    return PointScan(detector="haadf", points=((y, x),), dwell_s=dwell_s)


def end(scan_id: str, electrons: float, n_frames: int = 1, status: str = "complete") -> ScanEnd:
    return ScanEnd.model_validate({"scan_id": scan_id, "status": status, "n_frames": n_frames, "electrons": electrons})


class Specimen:
    """A dose with its file; `again` is the server restarted."""

    def __init__(self, file: Path, info: InstrumentInfo = INFO, **keys: object) -> None:
        self.file, self.info = file, info
        self.settings = DoseSettings.model_validate({"cell_m": CELL_M, **keys})
        self.again()

    def again(self) -> None:
        if hasattr(self, "dose"):
            self.dose.close()
        self.store = DoseStore(self.file, cell_of(self.info, self.settings), "process")
        self.dose = Dose(self.info, self.settings, self.store)

    def electrons(self) -> float:
        with self.dose.reading() as there:
            return there.electrons

    def at(self, y: float, x: float) -> float:
        with self.dose.reading() as there:
            return float(there.read(int(np.floor(y / CELL_M)), int(np.floor(x / CELL_M)), (1, 1))[0, 0])


@pytest.fixture
def specimen(tmp_path: Path) -> Iterator[Specimen]:
    made = Specimen(tmp_path / "dose.sqlite", budget_per_m2=3 * PER_MS / AREA)
    yield made
    made.dose.close()


def test_one_point_falls_into_its_cell_and_nowhere_else(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(), {})
    assert specimen.at(10.5e-9, 20.5e-9) == pytest.approx(PER_MS)
    assert specimen.electrons() == pytest.approx(PER_MS)


@pytest.mark.parametrize(("shape", "each"), [((64, 64), 1), ((128, 192), 6), ((16, 64), 0.25)])
def test_a_grid_falls_evenly_and_its_sum_is_its_electrons(
    specimen: Specimen, shape: tuple[int, int], each: float
) -> None:
    plan = GridScan(detector="haadf", shape=shape, dwell_s=1e-4)
    block = specimen.dose.planned(plan, {}).block
    assert block.electrons.sum() == pytest.approx(plan.count * PER_MS / 10)
    assert block.electrons.mean() * block.electrons.size / 64**2 == pytest.approx(each * PER_MS / 10)
    if each >= 1:
        np.testing.assert_allclose(block.electrons, each * PER_MS / 10)


def test_the_stage_carries_the_field_over_the_specimen(specimen: Specimen) -> None:
    moved = {"stage_y_m": -30e-6, "stage_x_m": 5e-9}
    specimen.dose.reserve("a", point(), moved)
    assert specimen.at(10.5e-9, 20.5e-9) == 0.0
    assert specimen.at(-30e-6 + 10.5e-9, 25.5e-9) == pytest.approx(PER_MS)
    specimen.dose.reserve("b", point(10.5e-9, 25.5e-9), {"stage_y_m": -30e-6, "stage_x_m": 0.0})
    assert specimen.at(-30e-6 + 10.5e-9, 25.5e-9) == pytest.approx(2 * PER_MS), "the same place, seen from elsewhere"


def test_exactly_the_budget_is_allowed_and_more_is_refused_with_place_dose_budget_and_key(specimen: Specimen) -> None:
    for name in "abc":
        specimen.dose.reserve(name, point(), {})
    before = specimen.electrons()
    with pytest.raises(DoseRefused) as refused:
        specimen.dose.reserve("d", point(dwell_s=1e-4), {})
    told = str(refused.value)
    assert "dose at y = 1.05e-08 m, x = 2.05e-08 m refused: it has had 3000 e/nm²" in told
    assert "this plan adds 100 e/nm², the budget is 3000 e/nm² (config key dose.budget_per_m2)" in told
    assert specimen.electrons() == before
    specimen.dose.reserve("e", point(11.5e-9), {})


def test_a_grid_is_refused_for_its_worst_place(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(dwell_s=2.5e-3), {})
    with pytest.raises(DoseRefused, match=r"y = 1.05e-08 m, x = 2.05e-08 m"):
        specimen.dose.reserve("b", GridScan(detector="haadf", shape=(64, 64), dwell_s=1e-3), {})
    specimen.dose.reserve("c", GridScan(detector="haadf", shape=(64, 64), dwell_s=0.5e-3), {})


def test_what_is_used_less_is_given_back_and_the_sum_is_what_the_driver_counted(specimen: Specimen) -> None:
    plan = GridScan(detector="haadf", shape=(8, 8), dwell_s=1e-3)
    # Half a cell aside, so that no position lies on the edge between two cells.
    aside = {"stage_y_m": 0.5e-9, "stage_x_m": 0.5e-9}
    specimen.dose.reserve("a", plan, aside)
    assert specimen.dose.settle(end("a", 63 * PER_MS, 64)) == ""
    assert specimen.electrons() == pytest.approx(63 * PER_MS)
    specimen.dose.reserve("b", plan.model_copy(update={"dwell_s": 1e-4}), aside)
    assert specimen.dose.settle(end("b", 1150.0, 10, "stopped")) == ""
    assert specimen.electrons() == pytest.approx(63 * PER_MS + 1150.0)
    later = specimen.at(60.5e-9, 60.5e-9)
    assert later == pytest.approx(63 / 64 * PER_MS), "the last position was not reached"
    second_row = [specimen.at(12.5e-9, x) - 63 / 64 * PER_MS for x in (4.5e-9, 12.5e-9, 20.5e-9, 28.5e-9, 36.5e-9)]
    assert second_row == pytest.approx([100, 100, 100, 50, 0], abs=1e-6), "11.5 positions of 8 in a row"


@pytest.mark.parametrize(
    ("counted", "frames", "status", "agrees"),
    [
        (4.0, 4, "complete", True),
        (4.2, 4, "complete", True),
        (4.21, 4, "complete", False),
        (3.79, 4, "complete", False),
        (0.0, 4, "complete", False),
        (3.0, 2, "stopped", True),
        (4.21, 2, "failed", False),
        (1.8, 2, "stopped", False),
        (0.0, 0, "stopped", True),
    ],
)
def test_counts_that_differ_by_more_than_a_twentieth_are_told_and_the_larger_is_charged(
    specimen: Specimen, counted: float, frames: int, status: str, agrees: bool
) -> None:
    points = tuple((1.5e-9 * n, 0.0) for n in range(4))
    specimen.dose.reserve("a", PointScan(detector="haadf", points=points, dwell_s=1e-3), {})
    wrong = specimen.dose.settle(end("a", counted * PER_MS, frames, status))
    assert (wrong == "") is agrees
    assert specimen.electrons() == pytest.approx((counted if agrees else max(4.0, counted)) * PER_MS, abs=1e-6)
    if wrong:
        assert f"the driver counted {counted * PER_MS:.4g}" in wrong


def test_where_the_driver_does_not_count_exposure_times_current_stands(tmp_path: Path) -> None:
    blind = INFO.model_copy(update={"counts_dose": False})
    specimen = Specimen(tmp_path / "dose.sqlite", blind)
    specimen.dose.reserve("a", point(), {})
    assert specimen.dose.settle(end("a", 0.0)) == ""
    specimen.dose.reserve("b", point(), {})
    specimen.dose.settle(end("b", 0.0, 0, "stopped"))
    assert specimen.electrons() == pytest.approx(2 * PER_MS), "what was exposed of the second is not known"
    specimen.dose.close()


def test_a_kill_between_charge_and_end_leaves_the_full_charge(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(), {})
    specimen.dose.settle(end("a", 0.99 * PER_MS))
    specimen.dose.reserve("b", point(), {})
    specimen.again()
    assert specimen.store.unsettled == ("b",)
    assert specimen.electrons() == pytest.approx(1.99 * PER_MS)
    specimen.again()
    assert specimen.store.unsettled == ()
    assert specimen.dose.settle(end("b", 0.0)) == ""
    assert specimen.electrons() == pytest.approx(1.99 * PER_MS)
    with pytest.raises(DoseRefused):
        specimen.dose.reserve("c", point(dwell_s=1.1e-3), {})


def test_a_refused_scan_costs_nothing_and_one_without_outcome_everything(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(), {})
    specimen.dose.release("a")
    assert specimen.electrons() == 0.0
    specimen.dose.reserve("b", point(), {})
    specimen.dose.stay("b")
    specimen.dose.release("b")
    assert specimen.electrons() == pytest.approx(PER_MS)


def test_an_expectation_costs_nothing(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point().model_copy(update={"expected": True}), {})
    assert specimen.electrons() == 0.0


def test_a_rectangle_has_its_own_budget_and_its_edge_cells_obey_both(tmp_path: Path) -> None:
    particle = {"y_m": 8e-9, "x_m": 8e-9, "height_m": 4e-9, "width_m": 4.5e-9}
    one = PER_MS / AREA
    specimen = Specimen(
        tmp_path / "dose.sqlite", budget_per_m2=2 * one,
        regions={"particle": particle | {"budget_per_m2": one}, "support": {
            "y_m": 30e-9, "x_m": 30e-9, "height_m": 5e-9, "width_m": 5e-9, "budget_per_m2": 4 * one}},
    )  # fmt: skip
    for y, x, most in ((8.5, 8.5, 1), (12.5, 8.5, 2), (8.5, 12.4, 1), (8.5, 12.9, 1), (8.5, 13.5, 2), (31.5, 31.5, 4)):
        specimen.dose.reserve(f"{y}{x}", point(y * 1e-9, x * 1e-9, most * 1e-3), {})
        with pytest.raises(DoseRefused) as refused:
            specimen.dose.reserve("more", point(y * 1e-9, x * 1e-9, 1e-5), {})
        name = {1: "regions.particle.", 2: "", 4: "regions.support."}[most]
        assert f"config key dose.{name}budget_per_m2" in str(refused.value) or (y, x) == (8.5, 12.4)
        specimen.dose.release(f"{y}{x}")
    specimen.dose.close()


def test_a_budget_is_only_ever_narrowed() -> None:
    keys = DoseSettings(
        budget_per_m2=2.0,
        regions={"a": DoseRegion(y_m=0, x_m=0, height_m=1, width_m=1, budget_per_m2=9.0)},
    )
    narrow = keys.narrowed({"dose.budget_per_m2": 1.0, "dose.regions.a.budget_per_m2": 8.0})
    assert narrow.budgets() == {"dose.budget_per_m2": 1.0, "dose.regions.a.budget_per_m2": 8.0}
    assert DoseSettings().narrowed({"dose.budget_per_m2": 1.0}).budget_per_m2 == 1.0
    for wrong in ({"dose.budget_per_m2": 3.0}, {"dose.regions.a.budget_per_m2": 9.1}, {"dose.regions.b": 1.0}):
        with pytest.raises(SettingsInvalid):
            keys.narrowed(wrong)


def test_which_places_are_left_is_what_would_be_refused(specimen: Specimen) -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        y, x = rng.uniform(0, 8e-9, 2)
        plan = point(float(y), float(x), float(rng.uniform(1e-4, 2e-3)))
        if specimen.dose.objection(specimen.dose.planned(plan, {})) is None:
            specimen.dose.reserve(str(number), plan, {})
    pool = GridScan(detector="haadf", shape=(16, 16), dwell_s=1e-3,
                    region=Region(y_m=0, x_m=0, height_m=8e-9, width_m=8e-9))  # fmt: skip
    left = specimen.dose.allowed(pool, {})
    alone = [
        specimen.dose.objection(specimen.dose.planned(point(float(y), float(x)), {})) is None
        for y, x in pool.positions(FIELD)
    ]
    assert left.tolist() == alone
    assert 0 < sum(alone) < len(alone)


def test_a_running_scan_is_told_when_its_budget_was_lowered_below_it(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(dwell_s=2e-3), {})
    assert specimen.dose.passed() is None
    specimen.dose.settings = specimen.settings.narrowed({"dose.budget_per_m2": PER_MS / AREA})
    passed = specimen.dose.passed()
    assert "it has had 2000 e/nm², the budget is 1000 e/nm²" in str(passed)
    specimen.dose.settle(end("a", 2 * PER_MS))
    assert specimen.dose.passed() is None, "what is over is over"


def test_a_disk_that_takes_nothing_refuses_the_scan(specimen: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StorageFailed("the disk is full")

    specimen.dose.reserve("a", point(), {})
    with monkeypatch.context() as patch:
        patch.setattr(specimen.store, "_change", full)
        with pytest.raises(StorageFailed):
            specimen.dose.reserve("b", point(), {})
        with pytest.raises(StorageFailed):
            specimen.dose.settle(end("a", 0.97 * PER_MS))
    assert specimen.electrons() == pytest.approx(PER_MS), "it stays charged in full"
    specimen.dose.reserve("c", point(), {})
    assert specimen.electrons() == pytest.approx(2 * PER_MS)


def test_another_specimen_begins_without_dose(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(), {})
    with pytest.raises(Exception, match="scan a is still running"):
        specimen.dose.exchange("lamella 2", "2026-01-01")
    specimen.dose.settle(end("a", PER_MS))
    specimen.dose.exchange("lamella 2", "2026-01-01")
    specimen.again()
    assert specimen.dose.specimen() == ("lamella 2", "2026-01-01")
    assert specimen.electrons() == 0.0


def test_a_file_of_other_cells_or_with_a_flipped_bit_is_not_trusted(specimen: Specimen) -> None:
    specimen.dose.reserve("a", point(), {})
    specimen.dose.close()
    with pytest.raises(SettingsInvalid, match="was begun with cells of 1e-09 m"):
        DoseStore(specimen.file, 2e-9, "process")
    data = bytearray(specimen.file.read_bytes())
    at = data.find(np.float64(specimen.dose.planned(point(), {}).electrons).tobytes())
    assert at > 0
    data[at + 3] ^= 1
    specimen.file.write_bytes(data)
    with pytest.raises(RecordingUnreadable, match="no longer known"):
        specimen.again()


def test_a_budget_without_a_current_is_refused_at_the_start() -> None:
    blind = INFO.model_copy(update={"beam_current": None})
    with pytest.raises(SettingsInvalid, match=r"dose.budget_per_m2 is set, but bench has no parameter"):
        is_countable(blind, DoseSettings(budget_per_m2=1.0))
    assert not is_countable(blind, DoseSettings())
    assert is_countable(blind, DoseSettings(budget_per_m2=1.0, current_a=1e-10))
    with pytest.raises(SettingsInvalid, match="leave the key out"):
        is_countable(INFO, DoseSettings(current_a=1e-10))


def test_cells_too_many_for_the_field_are_refused() -> None:
    assert cell_of(INFO, DoseSettings()) == 1e-9
    with pytest.raises(SettingsInvalid, match=r"choose at least 6.3e-11 m"):
        cell_of(INFO, DoseSettings(cell_m=1e-11))


PLANS = st.one_of(
    st.builds(
        lambda shape, dwell: GridScan(detector="haadf", shape=shape, dwell_s=dwell),
        st.tuples(st.integers(1, 40), st.integers(1, 40)), st.floats(1e-6, 1e-2),
    ),
    st.builds(
        lambda points, dwell: PointScan(detector="haadf", points=tuple(points), dwell_s=dwell),
        st.lists(st.tuples(st.floats(0, 64e-9), st.floats(0, 64e-9)), min_size=1, max_size=30), st.floats(1e-6, 1e-2),
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(PLANS, st.tuples(st.floats(-1e-7, 1e-7), st.floats(-1e-7, 1e-7)), st.floats(0, 1))
def test_the_map_is_the_sum_of_its_charges_however_much_of_a_plan_was_exposed(
    plan: GridScan | PointScan, stage: tuple[float, float], part: float
) -> None:
    there, positions = DoseMap(CELL_M), part * plan.count
    block = block_of(plan, FIELD, stage, CELL_M, 7.0, positions)
    there.tiles.update(there.with_(block))
    assert there.electrons == pytest.approx(7.0 * positions, rel=1e-9, abs=1e-9)
    whole = block_of(plan, FIELD, stage, CELL_M, 7.0)
    # Independently: one position after another, each into the cell under it.
    slow: dict[tuple[int, int], float] = {}
    for number, (y, x) in enumerate(plan.positions(FIELD) + np.array(stage)):
        key = (int(np.floor(y / CELL_M)), int(np.floor(x / CELL_M)))
        slow[key] = slow.get(key, 0.0) + 7.0 * min(1.0, max(0.0, positions - number))
    found = there.read(whole.row, whole.column, whole.shape)
    for (row, column), electrons in slow.items():
        assert found[row - whole.row, column - whole.column] == pytest.approx(electrons, rel=1e-9, abs=1e-9)
