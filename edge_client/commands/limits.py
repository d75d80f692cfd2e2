"""`beamloop limits`: what an instrument refuses, where it stands, and for an engineer, to narrow it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated

import typer

from ...core import Limit, SettingsInvalid
from ...core.dose import spelt_dose
from ...core.limits_table import LimitRow, LimitsTable
from ..instrument import connect


def limits(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    narrow: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE in SI units, KEY as a refusal names it; may be repeated."),
    ] = None,
    restore: Annotated[
        list[str] | None, typer.Option(help="KEY that falls back to the configuration, or 'all'; may be repeated.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why; told with every refusal.")] = "",
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Show the limits of an instrument, or narrow them while it runs (engineers; no lease is needed).

    What is narrowed holds at once, and after a restart, until it is restored. A running scan that violates it is
    halted and the beam blanked. Nothing goes beyond the instrument's configuration.

    Example: beamloop limits stem:7440

    Example: beamloop limits stem:7440 --set limits.beam_current_a.high=20e-12 --why "thin lamella"

    Example: beamloop limits stem:7440 --set dose.budget_per_m2=1e22 --restore limits.beam_current_a
    """
    values = dict(map(_wish, narrow or []))
    with connect(host, key=key) as instrument:
        if values or restore:
            done = instrument.safety.restrict(values, restore or [], why)
            for word, told in (("HALTED", done.halted), ("WARNING", done.warning)):
                if told:
                    typer.echo(f"{word}: {told}", err=True)
            table = done.table
        else:
            table = instrument.safety.limits()
    typer.echo(json.dumps(table.model_dump()) if as_json else "\n".join(_lines(table)))


def _wish(text: str) -> tuple[str, float]:
    key, is_there, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not is_there or not math.isfinite(number):
        raise SettingsInvalid(f"--set {text!r}: KEY=VALUE is wanted, for example limits.beam_current_a.high=20e-12")
    return key.strip(), number


def _lines(table: LimitsTable) -> Iterator[str]:
    yield from _columns([("parameter", "stands at", "", "limit", "in any second", "in one command", "")] + [
        _row(row) for row in table.parameters
    ])  # fmt: skip
    yield f"rules: {len(table.rules) or 'none'}"
    yield from (f"  {name}: {words}" for name, words in table.rules.items())
    yield f"dose budgets: {len(table.budgets) or 'none'}"
    for key, budget in table.budgets.items():
        widest = table.widest_budgets.get(key, math.inf)
        was = "" if widest == budget else f" (configured: {'none' if widest == math.inf else spelt_dose(widest)})"
        yield f"  {key}: {spelt_dose(budget)}{was}"
    for key, restriction in table.restrictions.items():
        yield f"NARROWED {key} = {restriction.value:g}, {restriction}"
    yield from (f"OUTSIDE: {words}" for words in table.outside)


def _row(row: LimitRow) -> tuple[str, ...]:
    if not row.writable:
        return row.name, f"{row.value:g}", row.units, row.limit.range(), "", "", "read only"
    widest = "" if row.limit == row.widest else f"configured: {_spelt(row.widest)}"
    return (
        row.name, f"{row.value:g}", row.units, row.limit.range(), _or_any(row.limit.rate_per_s),
        _or_any(row.limit.step), widest,
    )  # fmt: skip


def _spelt(limit: Limit) -> str:
    parts = ((limit.rate_per_s, "in any second"), (limit.step, "in one command"))
    return ", ".join([limit.range(), *(f"{value:g} {words}" for value, words in parts if value is not None)])


def _or_any(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
