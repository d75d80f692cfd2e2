"""`beamloop check`, `limits` and `dose` as a person meets them, with what they say to wrong words."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.core import BeamBlanked, InstrumentUnreachable, PointScan, SettingsInvalid, UnknownName
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.commands.check import check
from beamloop.edge_client.commands.dose import dose
from beamloop.edge_client.commands.limits import limits

from .budgeted import BUDGET_PER_M2, CELL_M, POINT_ELECTRONS, POINT_S

COMMANDS = {"check": check, "dose": dose, "limits": limits}
PLACE = (1.5 * CELL_M, 2.5 * CELL_M)

EXPERIMENT = """
name = "short"
question = "Where?"
[pool]
shape = [8, 8]
[overview]
detector = "haadf"
shape = [64, 64]
dwell_s = 4e-6
[measure]
detector = "eels"
dwell_s = 0.05
[target]
name = "counts"
reduction = "spectrum-window"
[policy]
name = "random"
[stop]
points = 10
"""


def call(*words: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    file = tmp_path / "short.toml"
    file.write_text(EXPERIMENT)
    return file


@pytest.fixture
def at(stem: RemoteInstrument) -> Iterator[str]:
    """Return the budgeted microscope's address; what a test has narrowed is restored."""
    yield str(stem.address)
    if stem.safety.limits().restrictions:
        stem.safety.restrict({}, ["all"])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    told = call(name, "--help")
    assert told.exit_code == 0
    assert f"Example: beamloop {name} " in told.output


@pytest.mark.parametrize("name", ["dose", "limits"])
def test_an_instrument_that_is_not_there_is_told(name: str, experiment: Path) -> None:
    for told in (call(name, "localhost:1"), call("check", experiment, "--instrument", "localhost:1")):
        assert isinstance(told.exception, InstrumentUnreachable)
        assert "localhost:1" in str(told.exception)


def test_check_says_cost_budget_and_that_nothing_would_be_refused(at: str, experiment: Path) -> None:
    told = call("check", experiment, "--instrument", at)
    assert told.exit_code == 0, told.output
    for part in (
        "short on simulated STEM (simulator); nothing was moved or exposed",
        "measurements: at most 10 of 64 candidates, 1.56e+08 electrons",
        "as the instrument estimates; deciding comes on top",
        f"budget: {BUDGET_PER_M2 * 1e-18:.4g} e/nm² (dose.budget_per_m2)",
        "nothing would be refused",
    ):
        assert part in told.output, part


def test_check_as_json_has_the_same_facts(at: str, experiment: Path) -> None:
    facts = json.loads(call("check", experiment, "--instrument", at, "--json", "--points", "7").stdout)
    assert facts["passes"]
    by = {step["name"]: step for step in facts["steps"]}
    assert by["measurements"]["measurements"] == 7
    assert by["measurements"]["electrons"] == pytest.approx(7 * POINT_ELECTRONS)
    assert facts["electrons"] == pytest.approx(sum(step["electrons"] for step in facts["steps"]))
    assert facts["duration_s"] == pytest.approx(sum(step["duration_s"] for step in facts["steps"]))


def test_check_leaves_with_status_1_if_a_step_is_refused_or_the_budget_is_too_small(
    stem: RemoteInstrument, at: str, experiment: Path
) -> None:
    short = call("check", experiment, "--instrument", at, "--points", "40")
    assert short.exit_code == 1
    assert "NOT ENOUGH DOSE: the budget allows 32 measurements, 40 are asked for" in short.output
    assert "it would NOT go through as it stands" in short.output
    stem.move(beam_current_a=8e-11)
    refused = call("check", experiment, "--instrument", at)
    assert refused.exit_code == 1
    assert "REFUSED" in refused.output
    assert "the film burns" in refused.output
    told = call("check", experiment, "--instrument", at, "--json")
    assert (told.exit_code, json.loads(told.stdout)["passes"]) == (1, False)


def test_check_says_what_is_wrong_with_the_experiment(at: str, tmp_path: Path, experiment: Path) -> None:
    for file, text, said in (
        (tmp_path / "none.toml", None, "no such file"),
        (tmp_path, None, "not a readable TOML file"),
        (tmp_path / "cut.toml", "[pool", "not a readable TOML file"),
        (tmp_path / "odd.toml", EXPERIMENT.replace("[measure]", "[measures]"), "did you mean 'measure'"),
        (tmp_path / "eel.toml", EXPERIMENT.replace('"eels"', '"eel"'), "did you mean 'eels'"),
    ):
        if text is not None:
            file.write_text(text)
        error = call("check", file, "--instrument", at).exception
        assert isinstance(error, SettingsInvalid | UnknownName), error
        assert said in str(error)
    error = call("check", experiment, "--instrument", at, "--points", "0").exception
    assert "stop.points = 0" in str(error)
    assert call("check").exit_code == 2


def test_limits_shows_where_all_stands_the_rules_and_the_budget(stem: RemoteInstrument, at: str) -> None:
    stem.move(defocus_m=50e-9)
    out = call("limits", at).output
    row = next(line for line in out.splitlines() if line.startswith("defocus_m"))
    assert row.split() == ["defocus_m", "5e-08", "m", "-2e-06", "..", "5e-07", "any", "1e-07"]
    assert "no-spectra-in-strong-beam: no reading eels while beam_current_a is above 6e-11 (the film burns)" in out
    assert f"dose.budget_per_m2: {BUDGET_PER_M2 * 1e-18:.4g} e/nm²" in out
    assert "NARROWED" not in out
    table = json.loads(call("limits", at, "--json").stdout)
    assert {row["name"]: row["value"] for row in table["parameters"]}["defocus_m"] == 50e-9
    assert table["budgets"] == {"dose.budget_per_m2": BUDGET_PER_M2}


def test_what_is_narrowed_holds_with_its_reason_until_it_is_restored(stem: RemoteInstrument, at: str) -> None:
    wish = ("--set", "limits.defocus_m.high=20e-9", "--set", "dose.budget_per_m2=1e22", "--why", "thin lamella")
    out = call("limits", at, *wish).output
    assert "NARROWED limits.defocus_m.high = 2e-08" in out
    assert "thin lamella" in out
    assert f"configured: {BUDGET_PER_M2 * 1e-18:.4g} e/nm²" in out
    with pytest.raises(Exception, match=r"limits.defocus_m.*thin lamella"):
        stem.move(defocus_m=30e-9)
    out = call("limits", at, "--restore", "limits.defocus_m.high").output
    assert "NARROWED dose.budget_per_m2" in out
    assert "NARROWED limits" not in out
    stem.move(defocus_m=30e-9)
    assert "NARROWED" not in call("limits", at, "--restore", "all").output


def test_a_value_outside_what_was_narrowed_is_told_and_a_scan_that_violates_it_is_halted(
    stem: RemoteInstrument, at: str
) -> None:
    stem.move(defocus_m=60e-9)
    out = call("limits", at, "--set", "limits.defocus_m.high=20e-9").output
    assert "OUTSIDE: " in out
    assert "HALTED" not in out, "nothing was running"
    call("limits", at, "--restore", "all")
    caught: list[str] = []

    def scan() -> None:
        try:
            for _ in range(200):
                stem.scan("diffraction", (48, 48), 1e-4)
                stem.safety.new_specimen("another")
        except BeamBlanked as error:
            caught.append(str(error))

    scanning = threading.Thread(target=scan)
    scanning.start()
    until_s, told = time.monotonic() + 30.0, ""
    try:
        # Between two scans nothing is running, so that it may take more than one attempt.
        while "HALTED" not in told and not caught and time.monotonic() < until_s:
            call("limits", at, "--restore", "all") if stem.safety.limits().restrictions else None
            told = call("limits", at, "--set", "limits.defocus_m.high=20e-9", "--why", "it drifts").output
    finally:
        scanning.join(30.0)
        stem.safety.restrict({}, ["all"])
        stem.arm()
    assert "HALTED: " in told
    assert "limits.defocus_m" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "foo"), "KEY=VALUE is wanted"),
        (("--set", "limits.defocus_m.high=nan"), "KEY=VALUE is wanted"),
        (("--set", "limits.defocus_m.high=high"), "KEY=VALUE is wanted"),
        (("--set", "limits.defocus_m.high=1"), "is not within -2e-06 .. 5e-07: a setting may only narrow"),
        (("--set", "limits.defocus.high=1e-9"), "did you mean 'defocus_m'"),
        (("--set", "limits.defocus_m.hihg=1e-9"), "PART one of low, high, rate_per_s, step"),
        (("--set", "dose.budget=1"), "did you mean 'dose.budget_per_m2'? known: 'dose.budget_per_m2'"),
        (("--set", "dose.budget_per_m2=0"), "a budget is more than 0"),
        (("--set", "dose.budget_per_m2=1e30"), "a setting may only narrow it"),
        (("--restore", "limits.defocus_m"), "is not narrowed"),
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_one_clear_error_and_changes_nothing(
    at: str, words: tuple[str, ...], said: str
) -> None:
    before = call("limits", at, "--json").stdout
    error = call("limits", at, *words).exception
    assert isinstance(error, SettingsInvalid | UnknownName)
    assert said in str(error)
    assert call("limits", at, "--json").stdout == before


def test_dose_draws_the_map_and_says_what_is_left(stem: RemoteInstrument, at: str) -> None:
    empty = call("dose", at).output
    assert "another, since 20" in empty
    assert "no dose yet" in empty
    assert "|" not in empty, "nothing to draw"
    stem.acquire(PointScan(detector="eels", points=(PLACE,), dwell_s=POINT_S))
    out = call("dose", at).output
    one = POINT_ELECTRONS / CELL_M**2
    for part in (
        "1.56e+07 electrons so far",
        f"greatest: {one * 1e-18:.4g} e/nm² at y = 3.75e-08 m, x = 6.25e-08 m of the specimen",
        f"left: {(BUDGET_PER_M2 - one) * 1e-18:.4g} e/nm² where it is least",
    ):
        assert part in out, part
    drawn = [line.strip() for line in out.splitlines() if line.strip().startswith("|")]
    assert drawn == ["|    |", "|  @ |", "|    |", "|    |"]


def test_dose_as_json_is_the_map_in_electrons_per_square_metre(stem: RemoteInstrument, at: str) -> None:
    stem.acquire(PointScan(detector="eels", points=(PLACE,), dwell_s=POINT_S))
    facts = json.loads(call("dose", at, "--json").stdout)
    expected = np.zeros((4, 4))
    expected[1, 2] = POINT_ELECTRONS / CELL_M**2
    np.testing.assert_allclose(facts["mean"], expected, rtol=1e-6)
    np.testing.assert_allclose(facts["left"], BUDGET_PER_M2 - expected, rtol=1e-6)
    assert facts["electrons"] == pytest.approx(POINT_ELECTRONS)
    wide = json.loads(call("dose", at, "--everywhere", "--json").stdout)
    assert np.shape(wide["mean"])[0] > 4
    assert np.sum(wide["mean"]) * CELL_M**2 == pytest.approx(POINT_ELECTRONS, rel=1e-6)


def test_another_specimen_begins_without_dose(stem: RemoteInstrument, at: str) -> None:
    stem.acquire(PointScan(detector="eels", points=(PLACE,), dwell_s=POINT_S))
    out = call("dose", at, "--new-specimen", "lamella 7").output
    assert out.startswith("lamella 7, since ")
    assert "no dose yet" in out
    long = call("dose", at, "--new-specimen", "x" * 10_000).exception
    assert "not a name of a specimen" in str(long)
    with connect(at) as looking:
        assert looking.safety.dose().specimen == "lamella 7"
