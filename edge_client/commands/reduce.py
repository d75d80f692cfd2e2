"""`beamloop reduce`: virtual detectors, centres of mass and more, of a recorded file or a detector's stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ...core import Axis, Scan, SettingsInvalid, Signal
from ...core.registry import REDUCTIONS, known
from ...streaming.files import RecordedDetector, Recording, open_recording
from ...streaming.reduce import Reducing, compilations
from ..file_reductions import live
from ..file_reductions.live import Waiting
from ..file_reductions.output import Source, kept, refuse_existing, write_results
from ..file_reductions.passing import batches, begin, frame_bytes, header, numbered, reducing
from ..file_reductions.picture import results_figure, save, shown_units
from ..file_reductions.spelling import Wanted, any_reduction, centre_of_mass, spectrum_window, virtual_detector

INTERRUPTED = 130
"""Status after Ctrl-C, as a shell counts it."""


def reduce(
    source: Annotated[
        str,
        typer.Argument(
            help="A recorded file, or merlin://HOST:PORT or dectris://HOST:PORT. Of a file with nothing asked, what it "
            "holds is told."
        ),
    ],
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
        Path | None,
        typer.Option("-o", "--output", help="NSID file to write; FILE.reduced.h5 or DETECTOR.reduced.h5 if not given."),
    ] = None,
    scan: Annotated[
        str | None,
        typer.Option(metavar="NYxNX", help="Of a stream: scan positions; as the detector tells if not given."),
    ] = None,
    step: Annotated[
        float | None, typer.Option(metavar="NM", help="Of a stream: distance of neighbouring positions in nm.", min=0.0)
    ] = None,
    wait: Annotated[float, typer.Option(help="Of a stream: longest wait for the first frame, s.", min=0.0)] = 600.0,
    patience: Annotated[
        float, typer.Option(help="Of a stream: over once nothing has come for so many seconds.", min=0.0)
    ] = 30.0,
    plot: Annotated[Path | None, typer.Option(help="PNG to write; beside the output if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Reduce a recorded file, or what a detector sends while it sends it, in one pass and bounded memory.

    Several reductions may be asked for at once. SPEC and what its units are: docs/reduce.md; streams of detectors:
    docs/detectors.md. Of a stream, frames that never came are told, and leave it with status 1; Ctrl-C writes what
    came until then.

    Example: beamloop reduce scan.h5 --virtual-detector bf=disk:8px --virtual-detector adf=ring:10,30px --com

    Example: beamloop reduce examples/recording.h5 --sum --spectrum-window iron=705,735,640,700:ratio -o iron.h5

    Example: beamloop reduce merlin://merlin-pc --scan 256x256 --virtual-detector adf=ring:20,60px --com
    """
    asked = Asked(disks or [], com, total, moments, windows or [], others or [])
    is_live = live.is_live(source)
    file = Path(f"{live.scheme(source)}.h5") if is_live else Path(source)
    target = output or file.with_name(f"{file.stem}.reduced.h5")
    picture = plot or target.with_suffix(".png")
    console = Console(stderr=True, quiet=as_json)
    if is_live:
        if detector is not None:
            raise SettingsInvalid(
                "--detector is for files; a stream's channel stands behind its port, HOST:PORT/CHANNEL"
            )
        shape = None if scan is None else live.shape_spelt(scan)
        waiting = Waiting(wait, patience, shape, None if step is None else step * 1e-9)
        _live(source, asked, waiting, target, picture, console, as_json)
    else:
        if scan is not None or step is not None:
            raise SettingsInvalid(
                f"--scan and --step are for streams; {file} tells its own scan. A stream is spelt merlin://HOST:PORT"
            )
        _recorded(file, detector, asked, target, picture, console, as_json)


@dataclass(frozen=True)
class Asked:
    """Which reductions a person asked for."""

    disks: list[str]
    com: bool
    total: bool
    moments: bool
    windows: list[str]
    others: list[str]

    def wanted(self, axes: tuple[Axis, ...]) -> list[Wanted]:
        """Return them for frames with these axes."""
        found = [virtual_detector(words, axes) for words in self.disks]
        found += [spectrum_window(words, axes) for words in self.windows]
        found += [centre_of_mass(axes)] if self.com else []
        found += [Wanted("sum", "sum", {}, "--sum")] if self.total else []
        found += [Wanted("moments", "moments", {}, "--moments")] if self.moments else []
        return numbered(found + [any_reduction(words) for words in self.others])


@dataclass(frozen=True)
class Pass:
    """One pass that is over: what to tell of it."""

    header: Scan
    frames: int
    took_s: float
    notes: tuple[str, ...]
    lacks: str = ""


def _recorded(
    file: Path, detector: str | None, asked: Asked, target: Path, picture: Path, console: Console, as_json: bool
) -> None:
    with open_recording(file) as recording:
        recorded = recording.main if detector is None else recording.detector(detector)
        wanted = asked.wanted(recorded.frame_axes)
        if not wanted:
            raise SettingsInvalid(_nothing_asked(recording))
        refuse_existing([target, picture])
        with compilations(_compiling(recorded.dtype, console)):
            growing = begin(recorded, wanted)
        took_s = _pass(recorded, growing, console)
        notes = tuple(note for note in (*recorded.notes, recorded.place) if note)
        done = Pass(header(recorded), int(recorded.valid.sum()), took_s, notes)
        title = f"{file.name}, {recorded.name}"
        _write(growing, wanted, Source.of(file, recorded), title, done, target, picture, as_json)


def _live(
    source: str, asked: Asked, waiting: Waiting, target: Path, picture: Path, console: Console, as_json: bool
) -> None:
    if asked == Asked([], False, False, False, [], []):
        raise SettingsInvalid(
            f"say what to compute, for example --sum; reductions: {', '.join(sorted(known(REDUCTIONS)))}"
        )
    refuse_existing([target, picture])
    if not target.parent.is_dir():
        raise SettingsInvalid(f"there is no folder {target.parent} for the results; choose another place with -o")
    console.print(f"waiting for frames from {source}; Ctrl-C leaves", markup=False, highlight=False)
    with live.awaited(source, waiting) as scan:
        wanted = asked.wanted(scan.header.frame_axes)
        with compilations(_compiling(scan.header.dtype, console)):
            growing = reducing(scan.header, wanted)
        name = scan.header.detector
        ny, nx = scan.header.scan_shape
        with Progress(
            TextColumn("{task.description}"), BarColumn(), console=console, disable=not console.is_terminal
        ) as shown:
            task = shown.add_task(name, total=scan.header.n_frames)
            start_s, size = time.perf_counter(), scan.header.frame_bytes

            def told(frames: int) -> None:
                done = shown.tasks[0].completed + frames
                rate = done / max(time.perf_counter() - start_s, 1e-9)
                words = f"{name}: {done:.0f} of {ny} x {nx} frames, {rate:.0f} frames/s, {rate * size / 1e9:.3f} GB/s"
                shown.update(task, description=words, completed=done)

            took_s, is_over = live.reduced(scan, growing, waiting.patience_s, told)
        notes = scan.notices.lines()
        if waiting.step_m is None:
            notes = (*notes, "the distance of scan positions is not told; one stands for 1 nm (--step NM)")
        done = Pass(scan.header, int(scan.valid.sum()), took_s, notes, scan.lack())
        title = f"{name}, {scan.began.series}"
        _write(growing, wanted, live.origin(source, scan), title, done, target, picture, as_json)
    if not is_over:
        raise typer.Exit(INTERRUPTED)
    if done.lacks:
        raise typer.Exit(1)


def _compiling(dtype: str, console: Console) -> Callable[[str], None]:
    return lambda kernel: console.print(f"compiling {kernel} for {dtype}, once on this machine")


def _write(
    growing: Reducing, wanted: list[Wanted], origin: Source, title: str, done: Pass, target: Path, picture: Path,
    as_json: bool,
) -> None:  # fmt: skip
    results = growing.results()
    write_results(target, results, wanted, origin)
    found = kept(results)
    figure = results_figure(title, found)
    if figure is not None:
        save(figure, picture)
    _tell(done, found, target, picture if figure is not None else None, as_json)


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


def _tell(done: Pass, found: Mapping[str, Signal], output: Path, picture: Path | None, as_json: bool) -> None:
    scan, seconds = done.header, max(done.took_s, 1e-9)
    rate = done.frames * scan.frame_bytes / seconds
    if as_json:
        facts = {
            "output": str(output), "picture": None if picture is None else str(picture), "detector": scan.detector,
            "scan_shape": scan.scan_shape, "frame_shape": scan.frame_shape, "dtype": scan.dtype,
            "frames": done.frames, "seconds": done.took_s, "bytes_per_second": rate, "notes": done.notes,
            "lacks": done.lacks, "results": {name: _facts(signal) for name, signal in found.items()},
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    for note in done.notes:
        typer.echo(f"note: {note}")
    shape = " x ".join(map(str, scan.frame_shape)) or "one number"
    speed = f"{done.frames / seconds:.0f} frames/s, {rate / 1e9:.3g} GB/s"
    typer.echo(f"{scan.detector}: {done.frames} frames of {shape}, {done.took_s:.3g} s, {speed}")
    if done.lacks:
        typer.echo(f"it {done.lacks}")
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
