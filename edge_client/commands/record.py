"""`beamloop record`: keep in a file what an instrument measures, whoever asked for it, without a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ...core import InstrumentUnreachable, OutputExists, RecordingUnreadable, Scan, StorageFailed
from ...streaming.files import Recorded, open_recording
from ...streaming.files import record as record_scan
from ...streaming.incoming import IncomingScan
from ...streaming.reader import Reader
from ..connection.patience import Patience
from ..instrument import LONGEST_WAIT_S, RemoteInstrument, connect

LOOK_S = 1.0
"""How long nothing may come before the instrument is asked whether it is still there."""

INTERRUPTED = 130
"""Status after Ctrl-C, as a shell counts it."""


def record(
    host: Annotated[str, typer.Argument(help="HOST or HOST:PORT of the instrument.")] = "localhost:7440",
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="New HDF5 file, NSID.")],
    only: Annotated[
        str, typer.Option("--only", help="Id of the one scan, or measurement, to record; else the first that comes.")
    ] = "",
    key: Annotated[
        str | None, typer.Option(help="The key file to show, where the instrument wants one; else BEAMLOOP_KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was recorded as JSON and nothing else.")] = False,
) -> None:
    """Record one scan to a file while it is taken: the one under way, or the next to begin. Needs no lease.

    It slows nobody. Frames that were given before it came, or that this disk did not keep up with, are lacking in the
    file and named. Ctrl-C leaves a file of what came until then. Leaves with status 1 if anything lacks.

    Example: beamloop record stem:7440 -o scan.h5

    Example: beamloop record stem:7440 --only 3f2a9c-000012 -o scan.h5 --json
    """
    _require_new(output)
    console = Console(stderr=True, quiet=as_json)
    with connect(host, key=key) as instrument, instrument.read_along(only) as reader:
        try:
            incoming = _next_scan(instrument, reader, only, console)
        except KeyboardInterrupt:
            console.print("left before a scan came; nothing was written", markup=False)
            raise typer.Exit(INTERRUPTED) from None
        console.print(_told(incoming.header), markup=False, highlight=False, soft_wrap=True)
        recorded = _recorded(incoming, output, instrument, console)
    _tell(incoming, recorded, output, as_json)
    if recorded is None:
        raise typer.Exit(INTERRUPTED)
    if recorded.lacks:
        raise typer.Exit(1)


def _require_new(output: Path) -> None:
    """Raise unless the file can be made, before a scan is waited for."""
    if output.exists():
        raise OutputExists(f"{output} already exists; a scan is recorded into a new file, choose another name")
    if not output.parent.is_dir():
        raise StorageFailed(f"{output} cannot be made: there is no folder {output.parent}; make it, or choose another")


def _next_scan(instrument: RemoteInstrument, reader: Reader, only: str, console: Console) -> IncomingScan:
    what = f"scan or measurement {only!r}" if only else "a scan"
    console.print(f"waiting for {what} at {instrument.address}; Ctrl-C leaves", markup=False, highlight=False)
    while True:
        try:
            found = reader.next_scan(LOOK_S)
        except InstrumentUnreachable:
            # Silent on the data channel; if it is gone, this raises with its address.
            instrument.state()
            continue
        return IncomingScan(found.header, found.arrivals, Patience(reader, instrument.state))


def _recorded(incoming: IncomingScan, file: Path, instrument: RemoteInstrument, console: Console) -> Recorded | None:
    """Record a scan to its end and say what there is; None if Ctrl-C ended it, which leaves what came until then."""
    scan = incoming.header
    size = math.prod(scan.frame_shape) * np.dtype(scan.dtype).itemsize
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(f"recording {scan.detector}", total=scan.n_frames * size)
        try:
            return record_scan(
                incoming, file, LONGEST_WAIT_S, {"source": instrument.info.name},
                stored=lambda: shown.update(task, completed=(incoming.taken + incoming.lost) * size),
            )  # fmt: skip
        except KeyboardInterrupt:
            return None


def _in(file: Path, scan: Scan) -> NDArray[np.bool_]:
    """Return which frames are in a file that Ctrl-C left: the last that were taken may not have reached it."""
    try:
        with open_recording(file) as there:
            return there.main.valid.reshape(-1)
    except RecordingUnreadable:
        # It was left before it could hold anything.
        return np.zeros(scan.n_frames, np.bool_)


def _told(scan: Scan) -> str:
    frames = f"frames of {' x '.join(map(str, scan.frame_shape))}" if scan.frame_shape else "pixels"
    kind = f"SIMULATED {scan.detector}" if scan.simulated else scan.detector
    return f"{kind} scan {scan.scan_id} for {scan.receiver}: {' x '.join(map(str, scan.scan_shape))} {frames}"


def _tell(incoming: IncomingScan, recorded: Recorded | None, file: Path, as_json: bool) -> None:
    scan = incoming.header
    if recorded is None:
        there = _in(file, scan)
        frames, lacks = int(there.sum()), incoming.lack(there)
    else:
        frames, lacks = recorded.frames, recorded.lacks
    if as_json:
        facts = {
            "output": str(file), "scan": scan.scan_id, "measurement": scan.measurement_id, "detector": scan.detector,
            "frames": frames, "of": scan.n_frames, "interrupted": recorded is None, "lacks": lacks,
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    left = "interrupted; " if recorded is None else ""
    typer.echo(f"{left}{frames} of {scan.n_frames} frames recorded{f': it {lacks}' if lacks else ''}")
    typer.echo(f"output: {file}")
