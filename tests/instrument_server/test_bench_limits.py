"""A bench instrument of somebody else's making under limits, rates, rules and a budget of its configuration alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import DoseRefused, DoseUncounted, GridScan, LimitRefused, Plan, PointScan, Region, SetParameters
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.dose_left import dose_over_field

from .test_processes import served

ELEMENTARY_CHARGE_C = 1.602176634e-19
CURRENT_A = 50e-12
"""What the bench counts by, without telling it as a parameter."""

DWELL_S = 1e-3
EACH = CURRENT_A * DWELL_S / ELEMENTARY_CHARGE_C
CELL_M = 250e-9
"""Four cells along each side of its field of one micrometre."""

LIMITS = f"""
[limits.stage_m]
low = -0.5
high = 1.0
rate_per_s = 0.6
step = 0.4
[rules.slow-frames]
acquires = ["camera"]
when.frame_s = {{ above = 1.0 }}
why = "the camera overheats"
[rules.long-moves]
moves = ["stage_m"]
when.move_s = {{ above = 2.0, below = 50.0 }}
[dose]
current_a = {CURRENT_A!r}
budget_per_m2 = {3 * EACH / CELL_M**2!r}
cell_m = {CELL_M!r}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("bench"), before=LIMITS) as bench:
        yield str(bench.address)


@pytest.fixture
def bench(address: str) -> Iterator[RemoteInstrument]:
    """Return the bench at rest, its rate forgotten, with a specimen that had no dose."""
    with connect(address, purpose="a test") as bench:
        bench.arm()
        bench.safety.new_specimen("another")
        bench.move(move_s=0.0, frame_s=0.0)
        while bench.read("stage_m"):
            time.sleep(1.05)
            at = bench.read("stage_m")
            bench.move(stage_m=at - float(np.clip(at, -0.4, 0.4)))
        time.sleep(1.05)
        yield bench


def points(*places: tuple[float, float]) -> PointScan:
    return PointScan(detector="camera", points=places, dwell_s=DWELL_S)


def refused(bench: RemoteInstrument, plan: Plan) -> str:
    try:
        bench.write(plan.values) if isinstance(plan, SetParameters) else bench.acquire(plan)
    except LimitRefused as refusal:
        return str(refusal)
    return ""


def test_a_range_and_a_step_are_refused_and_the_stage_has_not_moved(bench: RemoteInstrument) -> None:
    for wrong, key in ((1.1, "limits.stage_m"), (-0.6, "limits.stage_m"), (0.41, "limits.stage_m.step")):
        with pytest.raises(LimitRefused, match=key):
            bench.move(stage_m=wrong)
    assert bench.read("stage_m") == 0.0
    bench.move(stage_m=0.4)
    assert bench.read("stage_m") == 0.4


def test_a_rate_counts_there_and_back_within_any_second(bench: RemoteInstrument) -> None:
    bench.move(stage_m=0.3)
    with pytest.raises(LimitRefused, match=r"limits.stage_m.rate_per_s"):
        bench.move(stage_m=-0.05)
    assert bench.read("stage_m") == 0.3
    bench.move(stage_m=0.05)
    time.sleep(1.05)
    bench.move(stage_m=-0.25)
    assert bench.read("stage_m") == -0.25


def test_rules_forbid_what_they_name_and_leave_the_way_out_open(bench: RemoteInstrument) -> None:
    bench.move(frame_s=1.5)
    with pytest.raises(LimitRefused, match=r"slow-frames.*the camera overheats"):
        bench.acquire(points((1e-7, 1e-7)))
    assert bench.safety.dose().electrons == 0.0
    bench.move(frame_s=0.0, move_s=3.0)
    with pytest.raises(LimitRefused, match="long-moves"):
        bench.move(stage_m=0.1)
    with pytest.raises(LimitRefused, match="long-moves"):
        # A command sets its parameters in any order, so the value before counts as well.
        bench.move(stage_m=0.1, move_s=0.0)
    bench.move(move_s=0.0)
    bench.move(stage_m=0.1)


def test_the_map_is_what_the_bench_counted_and_exactly_the_budget_is_allowed(bench: RemoteInstrument) -> None:
    before = bench.state().dose_electrons
    place = (1.5 * CELL_M, 2.5 * CELL_M)
    bench.acquire(GridScan(detector="camera", shape=(4, 4), dwell_s=DWELL_S))
    bench.acquire(points(place, place))
    with pytest.raises(DoseRefused, match=r"dose.budget_per_m2"):
        bench.acquire(points(place))
    until_s = time.monotonic() + 10.0
    while bench.state().activity != "idle" and time.monotonic() < until_s:
        time.sleep(0.005)
    report = bench.safety.dose()
    assert report.electrons == pytest.approx(bench.state().dose_electrons - before) == 18 * EACH
    expected = np.full((4, 4), EACH / CELL_M**2)
    expected[1, 2] *= 3
    np.testing.assert_allclose(report.map("mean").data, expected, rtol=1e-6)
    assert bench.safety.dose_left(points(place, (0.1e-7, 0.1e-7))) is not None
    assert bench.safety.dose_left(points(place, (0.1e-7, 0.1e-7))).tolist() == [False, True]  # type: ignore[union-attr]


def test_a_dry_run_refuses_what_the_bench_refuses(bench: RemoteInstrument) -> None:
    corner = Region(y_m=0.0, x_m=0.0, height_m=CELL_M, width_m=CELL_M)
    asked: list[Plan] = [
        SetParameters(values={"stage_m": 0.5}),
        SetParameters(values={"stage_m": 2.0}),
        SetParameters(values={"frame_s": 1.5}),
        points((1e-7, 1e-7)),
        SetParameters(values={"frame_s": 0.0, "move_s": 3.0}),
        SetParameters(values={"stage_m": 0.1}),
        GridScan(detector="camera", shape=(2, 2), dwell_s=DWELL_S, region=corner),
        GridScan(detector="camera", shape=(1, 3), dwell_s=DWELL_S, region=corner),
        points((1e-7, 1e-7)),
    ]
    told = bench.check(*asked)
    done = [refused(bench, plan) for plan in asked]
    assert [step.refused[:1] for step in told.steps] == [(reason,) if reason else () for reason in done]
    assert [bool(reason) for reason in done] == [True, True, False, True, False, True, True, False, True]
    assert not told.own_timing


def test_without_a_current_nothing_is_counted_and_that_is_said(tmp_path: Path) -> None:
    with served(tmp_path) as plain, connect(str(plain.address)) as bench:
        with pytest.raises(DoseUncounted, match=r"give dose.current_a in its configuration"):
            bench.safety.dose()
        assert dose_over_field(bench) is None
        told = bench.check(points((1e-7, 1e-7)))
        assert (told.counts_dose, told.passes, told.steps[0].electrons) == (False, True, 0.0)


def test_a_proof_that_opens_the_beam_is_in_the_map_where_the_probe_is_parked(tmp_path: Path) -> None:
    dose = f"[dose]\ncurrent_a = {CURRENT_A!r}\ncell_m = {CELL_M!r}\n"
    parked = f"proof_opens = true\n{dose}parked_m = [{2.5 * CELL_M!r}, {0.5 * CELL_M!r}]\n"
    with served(tmp_path, before=parked) as plain, connect(str(plain.address), purpose="a test") as bench:
        proof = bench.prove()
        report = bench.safety.dose()
        assert proof.beam == "open"
        least = CURRENT_A * proof.open_s / ELEMENTARY_CHARGE_C
        assert least <= report.electrons < 10 * least
        assert np.flatnonzero(report.map("mean").data).tolist() == [8], "row 2, column 0"
        assert bench.state().dose_electrons == 0.0, "the bench counts its exposures only"
    with (
        pytest.raises(AssertionError, match=r"dose.parked_m = \[y, x\], scan coordinates"),
        served(tmp_path, before=f"proof_opens = true\n{dose}"),
    ):
        pass
