"""`beamloop dose`: how much dose the specimen has had, where, and what is left of its budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import typer

from ...core.dose import PER_NM2, DoseReport, spelt_dose
from ..instrument import connect

ROWS = 24
"""Lines that the map takes."""

SHADES = " .:-=+*#%@"


def dose(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Show all places that ever took dose, not only the field of view.")
    ] = False,
    new_specimen: Annotated[
        str | None, typer.Option(help="Begin the map anew: a specimen of this name was put in (engineers).")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the map as JSON, electrons per square metre.")] = False,
) -> None:
    """Show the dose on the specimen as a map, with the budget and what is left of it.

    Example: beamloop dose stem:7440

    Example: beamloop dose stem:7440 --new-specimen "lamella 7"
    """
    with connect(host, key=key) as instrument:
        if new_specimen is not None:
            instrument.safety.new_specimen(new_specimen)
        report = instrument.safety.dose(everywhere)
    typer.echo(json.dumps(_facts(report)) if as_json else "\n".join(_lines(report)))


def _facts(report: DoseReport) -> dict[str, object]:
    maps = {name: np.where(np.isfinite(data := report.map(name).data), data, -1.0).tolist()
            for name in ("mean", "greatest")}  # fmt: skip
    left = report.map("left").data
    return {
        **report.model_dump(exclude={"mean", "greatest", "left"}), **maps,
        "left": [[None if np.isinf(value) else float(value) for value in row] for row in left],
    }  # fmt: skip


def _lines(report: DoseReport) -> Iterator[str]:
    named = f"{report.specimen or 'specimen without a name'}{f', since {report.since}' if report.since else ''}"
    yield f"{named}: {report.electrons:.4g} electrons so far"
    if report.greatest_at_m is None:
        yield "no dose yet"
    else:
        y, x = report.greatest_at_m
        yield f"greatest: {spelt_dose(report.greatest_per_m2)} at y = {y:.4g} m, x = {x:.4g} m of the specimen"
    yield from (f"budget: {spelt_dose(value)} ({key})" for key, value in report.budgets.items())
    left = report.map("left").data
    if report.budgets:
        yield f"left: {spelt_dose(float(left.min()))} where it is least, within the map"
    else:
        yield "budget: none is set"
    if float(report.map().data.max()) > 0:
        yield from _picture(report)


def _picture(report: DoseReport) -> Iterator[str]:
    data, most = report.map().data, float(report.map().data.max())
    step = max(1, -(-len(data) // ROWS))
    rows = [data[i : i + step].max(axis=0) for i in range(0, len(data), step)]
    # A character is about twice as high as wide.
    across = max(1, step // 2)
    y, x = report.y.coordinates(), report.x.coordinates()
    yield f"y {y[0]:.3g} .. {y[-1]:.3g} m down, x {x[0]:.3g} .. {x[-1]:.3g} m across, cells of {report.cell_m:.3g} m:"
    for row in rows:
        pixels = [row[i : i + across].max() for i in range(0, len(row), across)]
        yield "  |" + "".join(_shade(value, most) for value in pixels) + "|"
    yield f"  '{SHADES[1]}' any, '{SHADES[-1]}' {most * PER_NM2:.4g} e/nm²"


def _shade(value: float, most: float) -> str:
    return SHADES[0] if value <= 0 else SHADES[max(1, int(np.ceil(value / most * (len(SHADES) - 1))))]
