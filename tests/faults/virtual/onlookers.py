"""Who looks on while others measure: a viewer, which counts what passes, and a reader, which keeps every frame.

They need no lease, slow nobody, and begin anew whenever they lose the instrument. Each holds what it was told of a
scan against what the instrument gave, as soon as the scan has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from beamloop.core import BeamloopError, InstrumentUnreachable
from beamloop.core.frame import FrameBatch, Scan, ScanEnd
from beamloop.edge_client.instrument import RemoteInstrument, connect
from beamloop.streaming.incoming import IncomingScan
from beamloop.streaming.reader import Reader
from beamloop.streaming.viewer import Viewer

from .bench import frame_of
from .hub import current_task
from .site import PORT
from .witness import Broken, Witness

PATIENCE_S = 5.0
T = TypeVar("T", Viewer, Reader)


def look_on(name: str, witness: Witness, met: Counter[str]) -> None:
    """Look at whatever is measured, newest first, for as long as the world lasts."""
    _again_and_again(name, RemoteInstrument.watch, lambda viewer: _see(viewer, witness, met))


def read_along(name: str, witness: Witness, met: Counter[str]) -> None:
    """Read whatever is measured, every frame, for as long as the world lasts."""
    _again_and_again(name, RemoteInstrument.read_along, lambda reader: _read(reader, witness, met))


def _again_and_again(name: str, sit_down: Callable[[RemoteInstrument], T], take: Callable[[T], None]) -> None:
    while True:
        try:
            with connect(f"127.0.0.1:{PORT}", name=name) as instrument, sit_down(instrument) as seat:
                while True:
                    take(seat)
        except BeamloopError:
            current_task().block(0.2)


def _see(viewer: Viewer, witness: Witness, met: Counter[str]) -> None:
    try:
        sight = viewer.look(PATIENCE_S)
    except InstrumentUnreachable:
        return
    if sight.batch is not None:
        _require_true(sight.scan, sight.batch)
    if sight.end is not None:
        met["seen to its end"] += 1
        met["passed over"] += sight.passed
        _require_sum(f"a viewer saw {sight.seen} and passed over {sight.passed}", sight.seen + sight.passed,
                     witness, sight.end)  # fmt: skip


def _read(reader: Reader, witness: Witness, met: Counter[str]) -> None:
    try:
        scan = reader.next_scan(PATIENCE_S)
    except InstrumentUnreachable:
        return
    came: Counter[int] = Counter()
    for batch in scan.batches(PATIENCE_S):
        _require_true(scan.header, batch)
        came.update(batch.indices.tolist())
        scan.stored()
    scan.stored()
    assert scan.end is not None
    met["read to its end"] += 1
    _require_account(scan, came, witness, scan.end)


def _require_true(scan: Scan, batch: FrameBatch) -> None:
    for index, frame in zip(batch.indices.tolist(), batch.frames, strict=True):
        if int(frame[0]) != frame_of(scan.measurement_id, index):
            raise Broken(f"an onlooker got {frame} as frame {index} of {scan.measurement_id}")


def _require_account(scan: IncomingScan, came: Counter[int], witness: Witness, end: ScanEnd) -> None:
    lost = {index for first, last in scan.lost_frames.pairs() for index in range(first, last + 1)}
    twice = [index for index, times in came.items() if times > 1]
    # Frames that were given before it came are told by their number.
    if twice or lost & set(came) or len(lost) > scan.lost:
        raise Broken(f"a reader got {twice} of {scan.header.scan_id} twice, and {lost} as lost")
    _require_sum(f"a reader got {len(came)} and was told of {scan.lost} lost", len(came) + scan.lost, witness, end)


def _require_sum(told: str, accounted: int, witness: Witness, end: ScanEnd) -> None:
    """Hold a count against the frames given; the last exposed one of a scan that was cut off may not have been."""
    exposed = len(witness.frames[end.scan_id])
    if accounted != exposed and (end.status == "complete" or accounted != exposed - 1):
        raise Broken(f"{told} of scan {end.scan_id}, {end.status}, of which {exposed} frames were exposed")
