"""`beamloop info`: what an instrument is, and what it is doing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from ...core import Description, DetectorInfo, DoseUncounted, InstrumentState, Parameter, ProtocolMismatch
from ...core.dose import spelt_dose
from ..instrument import RemoteInstrument, connect
from .standing import standing

_SOURCES = {
    "simulator": "SIMULATOR - no specimen, no real beam",
    "recording": "RECORDING - a file played back",
    "hardware": "real instrument",
}


def info(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Say what an instrument is: simulator or real, parameters with limits, detectors, state, lease.

    Example: beamloop info localhost:7440
    """
    with connect(host, key=key) as instrument:
        state = instrument.state()
        description = instrument.description
        offset = instrument.clock_offset()
        if as_json:
            facts = {"address": str(instrument.address), **description.model_dump(), "state": state.model_dump()}
            facts["clock_offset"] = None if offset is None else offset.model_dump()
            typer.echo(json.dumps(facts))
            return
        parts = (_identity(instrument), _parameters(description, state), _detectors(description), _doing(state))
        for part in (*parts, _dose(instrument)):
            typer.echo("\n".join(part))
        if description.audit:
            typer.echo(f"audit: head {description.audit}, to verify it with later")
        typer.echo(f"clock there ahead of here by {offset or 'an unknown time: its beamloop is too old to tell'}")


def _identity(instrument: RemoteInstrument) -> Iterator[str]:
    description, told = instrument.description, instrument.info
    yield f"{told.name}: {_SOURCES[told.source]}"
    if told.source == "recording" and told.simulated:
        yield "what was recorded came from a SIMULATOR, not from a specimen"
    if told.doc:
        yield told.doc
    protocol = f"{description.protocol}.{description.minor}"
    yield f"at {instrument.address}, beamloop {description.version}, protocol {protocol}"
    yield (
        f"you are {description.key} ({description.role}), by your key"
        if description.key
        else "no keys: in plain, on this computer only"
    )
    if told.guarantee:
        yield told.guarantee
    field = told.field
    corner = f"corner at {field.y_m:.4g}, {field.x_m:.4g} m"
    yield f"field of view: {field.height_m:.4g} m x {field.width_m:.4g} m (y, x), {corner}"
    yield f"at rest within {told.stopping_time_s:g} s of a stop"


def _parameters(description: Description, state: InstrumentState) -> Iterator[str]:
    found = description.info.parameters
    yield f"parameters: {len(found) or 'none'}"
    yield from _table([_parameter(parameter, state) for parameter in found])


def _parameter(parameter: Parameter, state: InstrumentState) -> tuple[str, ...]:
    value = state.parameters.get(parameter.name, parameter.value)
    limits = f"{parameter.low:g} .. {parameter.high:g}" if parameter.writable else "read only"
    return parameter.name, f"{value:g}", parameter.units, limits, parameter.doc


def _detectors(description: Description) -> Iterator[str]:
    found = description.info.detectors
    yield f"detectors: {len(found) or 'none'}"
    yield from _table([_detector(detector, description.info.overview) for detector in found])


def _detector(detector: DetectorInfo, overview: str | None) -> tuple[str, ...]:
    axes = " x ".join(f"{axis.size} {axis.name}" for axis in detector.frame_axes) or "one number"
    dwell = f"dwell {detector.shortest_dwell_s:g} .. {detector.longest_dwell_s:g} s"
    first = "overview" if detector.name == overview else ""
    if detector.grid is not None:
        dwell = "only at the {} x {} recorded positions".format(*detector.grid.shape)
    measured = f"{detector.quantity} ({detector.units})" if detector.units else detector.quantity
    return detector.name, measured, axes, detector.dtype, dwell, first, detector.doc


def _doing(state: InstrumentState) -> Iterator[str]:
    so_far = f"{state.dose_electrons:.4g} electrons so far, clock {state.clock_s:.3f} s"
    yield f"state: {state.activity}, beam {state.beam}, {so_far}"
    if state.frames_wait:
        yield f"paused until frames are stored by {state.frames_wait}"
    yield from standing(state)


def _dose(instrument: RemoteInstrument) -> Iterator[str]:
    try:
        report = instrument.safety.dose()
    except (DoseUncounted, ProtocolMismatch) as error:
        yield f"dose map: none, {error}"
        return
    budgets = ", ".join(f"{spelt_dose(value)} ({key})" for key, value in report.budgets.items())
    yield f"dose: greatest {spelt_dose(report.greatest_per_m2)} in one place; budget {budgets or 'none'}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
