"""What is said of an experiment beforehand: beside numbers by hand, and beside what the server does when it is run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import GridScan, InstrumentState, LimitRefused, Plan, PointScan, Region, SetParameters
from beamloop.edge_client import RemoteInstrument
from beamloop.edge_client.preparation import prepare
from beamloop.edge_client.rehearsal import MEASURING, Rehearsal, dose_notes, refuse_hopeless, rehearsed
from beamloop.edge_client.runner import RunRequest, run_experiment

from .budgeted import (
    BUDGET_PER_M2,
    CELL_M,
    CURRENT_A,
    POINT_ELECTRONS,
    POINT_S,
    budgeted_experiment,
    by_cell,
    electrons,
)

OVERVIEW = GridScan(detector="haadf", shape=(64, 64), dwell_s=4e-6)
SETTLE_S, FLYBACK_S, JUMP_S = 1e-3, 0.5e-3, 0.2e-3
"""What the simulated microscope needs beside the exposure, as docs/simulator.md has it."""


def rehearse(stem: RemoteInstrument, **stop: object) -> Rehearsal:
    return rehearsed(prepare(budgeted_experiment(**stop), stem.info), stem.safety.check)


def plans(rng: np.random.Generator, count: int) -> list[Plan]:
    """Return moves and exposures of which many are refused, each for one of four reasons."""
    made: list[Plan] = []
    for _ in range(count):
        corner = rng.integers(0, 4, 2) * CELL_M
        cell = Region(y_m=corner[0], x_m=corner[1], height_m=CELL_M, width_m=CELL_M)
        within = tuple((float(y), float(x)) for y, x in corner + rng.uniform(0.1, 0.9, (3, 2)) * CELL_M)
        made.append(
            [
                SetParameters(values={"defocus_m": float(rng.uniform(-3e-7, 6e-7))}),
                SetParameters(values={"beam_current_a": float(rng.choice([5e-11, 8e-11, 1.2e-10]))}),
                GridScan(
                    detector="haadf", shape=(8, 8), dwell_s=float(rng.choice([1e-4, 1.2e-3, 2.5e-3])), region=cell
                ),
                PointScan(detector="eels", points=within, dwell_s=POINT_S / 4),
            ][rng.integers(4)]
        )
    return made


def at_rest(stem: RemoteInstrument) -> InstrumentState:
    """Return the state once the scan before, whose frames are all here, is over at the instrument as well."""
    until_s = time.monotonic() + 10.0
    while (state := stem.state()).activity != "idle":
        assert time.monotonic() < until_s
        time.sleep(0.002)
    return state


def refused(stem: RemoteInstrument, plan: Plan) -> str:
    """Carry a plan out; return why it was refused, empty if it was not."""
    try:
        stem.write(plan.values) if isinstance(plan, SetParameters) else stem.acquire(plan)
    except LimitRefused as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_said_to_be_refused_is_what_the_server_refuses_and_the_rest_costs_what_was_said(
    stem: RemoteInstrument, seed: int
) -> None:
    asked = plans(np.random.default_rng(seed), 40)
    told = stem.check(*asked)
    assert stem.safety.dose().electrons == 0.0, "nothing was exposed"
    reasons, spent = [], 0.0
    for plan, step in zip(asked, told.steps, strict=True):
        before = at_rest(stem)
        refusal = refused(stem, plan)
        now = at_rest(stem)
        assert step.refused[:1] == ((refusal,) if refusal else ())
        reasons.append(refusal)
        spent += step.electrons
        assert now.dose_electrons - before.dose_electrons == pytest.approx(step.electrons, rel=1e-6)
        if not refusal and not isinstance(plan, SetParameters):
            assert now.clock_s - before.clock_s == pytest.approx(step.duration_s, abs=1e-9)
    assert stem.safety.dose().electrons == pytest.approx(spent)
    for sign in ("limits.defocus_m", "limits.beam_current_a", "no-spectra-in-strong-beam", "dose.budget_per_m2"):
        assert any(sign in reason for reason in reasons), f"the plans tried nothing about {sign}"


def test_dose_and_time_of_an_experiment_are_those_by_hand(stem: RemoteInstrument) -> None:
    found = rehearse(stem, points=20)
    overview, measuring = found.steps["overview"], found.steps[MEASURING]
    assert overview.electrons == pytest.approx(64 * 64 * 4e-6 * CURRENT_A / 1.602176634e-19)
    assert overview.duration_s == pytest.approx(SETTLE_S + 63 * FLYBACK_S + 64 * 64 * 4e-6)
    assert overview.greatest_per_m2 == pytest.approx(by_cell(OVERVIEW).max())
    assert measuring.electrons == pytest.approx(20 * POINT_ELECTRONS)
    assert measuring.duration_s == pytest.approx(20 * (SETTLE_S + POINT_S))
    # 16 cells of 4 candidates, of which the budget allows 2 after the picture.
    assert (measuring.positions, measuring.possible, measuring.closed) == (64, 32, 0)
    assert measuring.greatest_per_m2 == pytest.approx(by_cell(OVERVIEW).max() + 2 * POINT_ELECTRONS / CELL_M**2)
    truth = found.steps["truth, to compare with"]
    assert (truth.electrons, truth.duration_s) == (0.0, 0.0)
    assert found.electrons == pytest.approx(electrons(OVERVIEW) + 20 * POINT_ELECTRONS)
    assert found.duration_s == pytest.approx(overview.duration_s + measuring.duration_s)
    assert found.dry_run.passes
    assert dose_notes(found) == (f"dose budget: {BUDGET_PER_M2 * 1e-18:.4g} e/nm² (dose.budget_per_m2)",)
    refuse_hopeless(found)


def test_a_budget_that_does_not_suffice_is_told_with_what_it_allows_and_forbids_no_run(stem: RemoteInstrument) -> None:
    found = rehearse(stem, points=40)
    assert not found.dry_run.passes
    assert "it allows 32 of the 40 measurements asked for" in dose_notes(found)[0]
    refuse_hopeless(found)


@pytest.mark.parametrize(
    ("stop", "most", "told"),
    [
        ({"points": 100}, 64, r"asks for 100 points, and there are 64 candidates"),
        ({"time_s": 100.0, "points": None}, 64, r"names no number of points: at most all 64"),
        (
            {"points": 20, "dose_electrons": 4.5 * POINT_ELECTRONS},
            6,
            r"dose_electrons = .* after at most 6 measurements",
        ),
        ({"points": 20, "time_s": 0.3}, 7, r"time_s = 0.3 is reached after at most 7 measurements"),
        ({"points": 20, "uncertainty": 0.1}, 20, r"ends earlier if its doubt is small enough"),
    ],
)
def test_how_many_measurements_come_is_bounded_by_every_rule_that_ends_a_run(
    stem: RemoteInstrument, stop: dict[str, object], most: int, told: str
) -> None:
    found = rehearse(stem, **stop)
    assert found.steps[MEASURING].measurements == most
    assert found.electrons == pytest.approx(electrons(OVERVIEW) + most * POINT_ELECTRONS)
    assert any(re.search(told, note) for note in found.notes), found.notes


def test_a_run_is_refused_for_what_was_said_and_exposes_nothing(stem: RemoteInstrument, tmp_path: Path) -> None:
    stem.move(beam_current_a=8e-11)
    (reason,) = rehearse(stem, points=5).steps[MEASURING].refused
    assert "no-spectra-in-strong-beam" in reason
    stem.release()
    with pytest.raises(LimitRefused, match="nothing was exposed") as refusal:
        run_experiment(RunRequest(budgeted_experiment(points=5), "", "stem", tmp_path), stem)
    assert reason in str(refusal.value)
    assert stem.safety.dose().electrons == 0.0
    assert list(tmp_path.iterdir()) == []


def test_a_specimen_that_has_had_its_dose_is_not_begun_on(stem: RemoteInstrument, tmp_path: Path) -> None:
    # Each cell takes the dose of one measurement and a half at 16 positions.
    stem.acquire(GridScan(detector="haadf", shape=(16, 16), dwell_s=1.55 * POINT_S / 16))
    told = rehearse(stem, points=5).steps[MEASURING]
    assert (told.possible, told.closed, told.refused) == (0, 64, ())
    stem.release()
    with pytest.raises(LimitRefused, match="none of the 64 candidates has dose left"):
        run_experiment(RunRequest(budgeted_experiment(points=5), "", "stem", tmp_path), stem)
