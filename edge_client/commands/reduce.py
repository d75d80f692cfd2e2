"""`beamloop reduce`: virtual detectors, centres of mass, spectrum windows and more of a recorded file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ...core import Axis, SettingsInvalid, Signal
from ...core.registry import REDUCTIONS, known
from ...streaming.files import RecordedDetector, Recording, open_recording
from ...streaming.reduce import Reducing, compilations
from ..file_reductions.output import Source, kept, refuse_existing, write_results
from ..file_reductions.passing import batches, begin, frame_bytes, numbered
from ..file_reductions.picture import results_figure, save, shown_units
from ..file_reductions.spelling import Wanted, any_reduction, centre_of_mass, spectrum_window, virtual_detector


def reduce(
    file: Annotated[Path, typer.Argument(help="A recorded file; with nothing asked, what it holds is told.")],
    detector: Annotated[
        str | None, typer.Option(help="Which detector of the file; its largest grid if not given.")
    ] = None,
    disks: Annotated[
        list[str] | None,
        typer.Option(
            "--virtual-detector", metavar="SPEC", help="disk:R or ring:R1,R2, for example disk:8px, ring:4,12/nm@0.1,0."
        ),
    ] = None,
    com: Annotated[bool, typer.Option("--com", help="Centre of mass of each frame.")] = False,
    total: Annotated[bool, typer.Option("--sum", help="Sum of each frame, and of all frames.")] = False,
    moments: Annotated[bool, typer.Option("--moments", help="Mean and variance of each detector pixel.")] = False,
    windows: Annotated[
        list[str] | None,
        typer.Option(
            "--spectrum-window",
            metavar="SPEC",
            help="LOW,HIGH[,BG_LOW,BG_HIGH], for example 705,735,640,700:ratio, 6.2,6.6keV.",
        ),
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--reduction", metavar="'NAME KEY=VALUE...'", help="Any reduction; settings as in TOML."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="NSID file to write; FILE.reduced.h5 if not given.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to write; beside the output if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Reduce a recorded file in one pass: with the same reductions as a live stream, in bounded memory.

    Several reductions may be asked for at once. SPEC and what its units are: docs/reduce.md.

    Example: beamloop reduce scan.h5 --virtual-detector bf=disk:8px --virtual-detector adf=ring:10,30px --com

    Example: beamloop reduce examples/recording.h5 --sum --spectrum-window iron=705,735,640,700:ratio -o iron.h5
    """
    console = Console(stderr=True, quiet=as_json)
    target = output or file.with_name(f"{file.stem}.reduced.h5")
    picture = plot or target.with_suffix(".png")
    with open_recording(file) as recording:
        recorded = recording.main if detector is None else recording.detector(detector)
        wanted = _wanted(recorded, disks or [], com, total, moments, windows or [], others or [])
        if not wanted:
            raise SettingsInvalid(_nothing_asked(recording))
        refuse_existing([target, picture])
        with compilations(
            lambda kernel: console.print(f"compiling {kernel} for {recorded.dtype}, once on this machine")
        ):
            reducing = begin(recorded, wanted)
        took_s = _pass(recorded, reducing, console)
        results = reducing.results()
        write_results(target, results, wanted, recorded, Source.of(file))
        found = kept(results)
        figure = results_figure(f"{file.name}, {recorded.name}", found)
        if figure is not None:
            save(figure, picture)
    drawn = picture if figure is not None else None
    notes = tuple(note for note in (*recorded.notes, recorded.place) if note)
    _tell(recorded, notes, found, target, drawn, took_s, as_json)


def _wanted(
    recorded: RecordedDetector,
    disks: list[str],
    com: bool,
    total: bool,
    moments: bool,
    windows: list[str],
    others: list[str],
) -> list[Wanted]:
    axes = recorded.frame_axes
    found = [virtual_detector(words, axes) for words in disks]
    found += [spectrum_window(words, axes) for words in windows]
    found += [centre_of_mass(axes)] if com else []
    found += [Wanted("sum", "sum", {}, "--sum")] if total else []
    found += [Wanted("moments", "moments", {}, "--moments")] if moments else []
    return numbered(found + [any_reduction(words) for words in others])


def _nothing_asked(recording: Recording) -> str:
    lines = [f"say what to compute, for example --sum. {recording.path} holds:"]
    for recorded in recording.detectors:
        axes = ", ".join(_axis(axis) for axis in recorded.frame_axes) or "one number"
        main = "; taken if --detector names none" if recorded is recording.main else ""
        lines.append(f"  {recorded.name} ({recorded.shape[0]} x {recorded.shape[1]} positions of {axes}{main})")
    lines.append("reductions: " + ", ".join(sorted(known(REDUCTIONS))))
    return "\n".join(lines)


def _axis(axis: Axis) -> str:
    shown = shown_units(axis)
    first, last = axis.coordinates()[[0, -1]] * shown.per_metre
    return f"{axis.size} {axis.name} from {first:.4g} to {last:.4g} {shown.unit or 'px'}"


def _pass(recorded: RecordedDetector, reducing: Reducing, console: Console) -> float:
    """Feed every frame and return the seconds it took."""
    size, start_s = frame_bytes(recorded), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(f"reducing {recorded.name}", total=int(recorded.valid.sum()) * size)
        for batch in batches(recorded):
            reducing.add(batch)
            shown.advance(task, len(batch.indices) * size)
    return time.perf_counter() - start_s


def _tell(
    recorded: RecordedDetector,
    notes: tuple[str, ...],
    found: Mapping[str, Signal],
    output: Path,
    picture: Path | None,
    took_s: float,
    as_json: bool,
) -> None:
    frames = int(recorded.valid.sum())
    rate = frames * frame_bytes(recorded) / max(took_s, 1e-9)
    if as_json:
        facts = {
            "output": str(output), "picture": None if picture is None else str(picture), "detector": recorded.name,
            "scan_shape": recorded.shape, "frame_shape": recorded.frame_shape, "dtype": recorded.dtype,
            "frames": frames, "seconds": took_s, "bytes_per_second": rate, "notes": notes,
            "results": {name: _facts(signal) for name, signal in found.items()},
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    for note in notes:
        typer.echo(f"note: {note}")
    shape = " x ".join(map(str, recorded.frame_shape)) or "one number"
    typer.echo(f"{recorded.name}: {frames} frames of {shape}, {took_s:.3g} s, {rate / 1e6:.3g} MB/s")
    for name, signal in found.items():
        told, axes = _facts(signal), " x ".join(f"{axis.size} {axis.name}" for axis in signal.axes)
        values = "nothing finite" if told["min"] is None else f"{told['min']:.5g} to {told['max']:.5g}"
        typer.echo(f"  {name} ({axes}): {values} {signal.units}".rstrip())
    typer.echo(f"output: {output}")
    if picture is not None:
        typer.echo(f"picture: {picture}")


def _facts(signal: Signal) -> dict[str, Any]:
    data = np.asarray(signal.data, dtype=np.float64)
    finite = data[np.isfinite(data)]
    low, high, mean = (float(f(finite)) for f in (np.min, np.max, np.mean)) if len(finite) else (None, None, None)
    return {
        "shape": signal.data.shape, "axes": [axis.name for axis in signal.axes], "quantity": signal.quantity,
        "units": signal.units, "min": low, "max": high, "mean": mean,
    }  # fmt: skip
