"""`beamloop check`: what would come of an experiment, asked of the instrument; nothing is moved or exposed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ...core.control import PORT
from ...core.dose import spelt_dose
from ...core.dry_run import TriedStep
from ..experiment import read_experiment
from ..instrument_at import from_anywhere, instrument_at
from ..preparation import Preparation, prepare
from ..rehearsal import Rehearsal, rehearsed
from ..reporting.wording import seconds


def check(
    experiment: Annotated[Path, typer.Argument(help="The experiment file, TOML.")],
    instrument: Annotated[
        str | None,
        typer.Option(
            help="HOST[:PORT], 'simulator', 'replay:FILE[+FILE]' or a server configuration; the file's if not given."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the file's.")] = None,
    points: Annotated[int | None, typer.Option(help="Another number of measurements than the file's.")] = None,
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Try an experiment without exposing anything: what would be refused and why, its dose and its time.

    The instrument's server judges every plan as it would judge the command. It needs no lease, so it may be asked
    while somebody else measures. Leaves with status 1 if anything would be refused or the dose budget does not suffice.

    Example: beamloop check examples/simulator.toml --instrument simulator

    Example: beamloop check examples/simulator.toml --instrument stem:7440 --points 200
    """
    asked, _ = read_experiment(experiment)
    asked = asked.changed(seed, points)
    where = from_anywhere(instrument or asked.instrument or f"localhost:{PORT}")
    with instrument_at(where, key=key) as connected:
        prepared = prepare(asked, connected.info)
        found = rehearsed(prepared, connected.safety.check)
        if as_json:
            typer.echo(json.dumps(_facts(found)))
        else:
            typer.echo("\n".join(_lines(prepared, found)))
    if not found.dry_run.passes:
        raise typer.Exit(1)


def _facts(found: Rehearsal) -> dict[str, object]:
    return {
        "passes": found.dry_run.passes, "electrons": found.electrons, "duration_s": found.duration_s,
        "notes": found.notes, **found.dry_run.model_dump(),
    }  # fmt: skip


def _lines(prepared: Preparation, found: Rehearsal) -> Iterator[str]:
    told, dry = prepared.info, found.dry_run
    yield f"{prepared.experiment.name} on {told.name} ({told.source}); nothing was moved or exposed"
    for note in (*prepared.notes, *found.notes):
        yield f"  {note}"
    for step in dry.steps:
        yield f"{step.name}: {_cost(step, dry.counts_dose)}"
        yield from (f"  REFUSED: {reason}" for reason in step.refused)
        yield from _dose(step)
    timing = "as the instrument estimates" if dry.own_timing else "a generic guess: the instrument gives no timing"
    dose = f"{found.electrons:.3g} electrons" if dry.counts_dose else "dose not known: no beam current is"
    yield f"together at most {dose}, {seconds(found.duration_s)} of instrument time ({timing}; deciding comes on top)"
    yield from (f"budget: {spelt_dose(value)} ({key})" for key, value in dry.budgets.items())
    if dry.counts_dose and not dry.budgets:
        yield "budget: none is set at this instrument"
    yield "nothing would be refused" if dry.passes else "it would NOT go through as it stands"


def _cost(step: TriedStep, counts_dose: bool) -> str:
    if step.refused:
        return f"{step.positions} positions"
    count = f"at most {step.measurements} of {step.positions} candidates" if step.measurements > 1 else (
        f"{step.positions} positions"
    )  # fmt: skip
    if not step.electrons:
        return f"{count}, no dose" if counts_dose else count
    return (
        f"{count}, {step.electrons:.3g} electrons, {seconds(step.duration_s)}; afterwards at most "
        f"{spelt_dose(step.greatest_per_m2)} in one place"
    )


def _dose(step: TriedStep) -> Iterator[str]:
    if step.closed:
        yield f"  {step.closed} of {step.positions} candidates have no dose left for one measurement"
    if not step.suffices:
        yield (
            f"  NOT ENOUGH DOSE: the budget allows {step.possible} measurements, {step.measurements} are asked for; "
            "the run would end early, in order"
        )
