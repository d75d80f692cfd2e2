"""One pass over a recorded detector for several reductions, a block at a time.

Memory holds one block of frames and the results, however long the file is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...core import FrameBatch, FrameShapeWrong, Reduction, Scan
from ...core.registry import REDUCTIONS
from ...streaming.files import RecordedDetector
from ...streaming.reduce import Reducing
from ..plugins import made
from .spelling import Wanted

BLOCK_BYTES = 1 << 25
"""What is read at once. Files keep several rows together, which should not be decompressed for each row anew."""

SCAN_ID = "recorded"


def begin(recorded: RecordedDetector, wanted: Sequence[Wanted]) -> Reducing:
    """Return the growing results of what is wanted of a recorded detector.

    Raises
    ------
    BeamloopError
        `UnknownName`, `SettingsInvalid` or `FrameShapeWrong`, with how the reduction was spelt.
    """
    return reducing(header(recorded), wanted)


def reducing(scan: Scan, wanted: Sequence[Wanted]) -> Reducing:
    """Return the growing results of what is wanted of a scan.

    Raises
    ------
    BeamloopError
        As `begin`.
    """
    return Reducing(scan, {one.name: _fitting(one, scan) for one in wanted})


def numbered(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return the same with names that differ: a second `disk` becomes `disk_2`."""
    times: Counter[str] = Counter()
    found = []
    for one in wanted:
        times[one.name] += 1
        found.append(one if times[one.name] == 1 else replace(one, name=f"{one.name}_{times[one.name]}"))
    return found


def header(recorded: RecordedDetector) -> Scan:
    """Return the header of a scan that would give what was recorded."""
    scanned = recorded.metadata.get("scan")
    facts = {**(scanned if isinstance(scanned, Mapping) else {}), **recorded.metadata}
    dwell = facts.get("dwell_s")
    return Scan(
        scan_id=SCAN_ID, measurement_id=SCAN_ID, receiver="", detector=recorded.name,
        scan_axes=(recorded.y, recorded.x), frame_axes=recorded.frame_axes, dtype=recorded.dtype,
        dwell_s=float(dwell) if isinstance(dwell, (int, float)) else 0.0, quantity=recorded.quantity,
        units=recorded.units, expected=facts.get("expected") is True, simulated=recorded.simulated,
    )  # fmt: skip


def batches(recorded: RecordedDetector) -> Iterator[FrameBatch]:
    """Yield every recorded frame, in order, about `BLOCK_BYTES` at a time.

    Raises
    ------
    RecordingUnreadable
        If the file is damaged.
    """
    y, x, valid = recorded.y.coordinates(), recorded.x.coordinates(), recorded.valid.ravel()
    for first, frames in _blocks(recorded):
        here = valid[first : first + len(frames)]
        indices = first + np.flatnonzero(here)
        rows, columns = np.divmod(indices, len(x))
        frames = frames if here.all() else frames[here]
        if len(frames):
            yield FrameBatch(SCAN_ID, indices, np.column_stack([y[rows], x[columns]]), frames)


def frame_bytes(recorded: RecordedDetector) -> int:
    """Return the size of one frame."""
    return math.prod(recorded.frame_shape) * np.dtype(recorded.dtype).itemsize


def _blocks(recorded: RecordedDetector) -> Iterator[tuple[int, NDArray]]:
    """Yield frames as a file gives them best, `BLOCK_BYTES` at most, each with the index of its first."""
    (ny, nx), size = recorded.shape, max(1, frame_bytes(recorded))
    height = BLOCK_BYTES // (nx * size)
    if height:
        for row in range(0, ny, height):
            block = recorded.rows(row, min(row + height, ny))
            yield row * nx, block.reshape(-1, *recorded.frame_shape)
        return
    together = max(1, BLOCK_BYTES // size)
    for row in range(ny):
        for column in range(0, nx, together):
            indices = row * nx + np.arange(column, min(column + together, nx), dtype=np.int64)
            yield int(indices[0]), recorded.frames(indices)


def _fitting(one: Wanted, scan: Scan) -> Reduction:
    reduction: Reduction = made(REDUCTIONS, one.plugin, one.settings, one.words)
    try:
        reduction.result(scan, reduction.empty(scan))
    except FrameShapeWrong as error:
        raise FrameShapeWrong(f"{one.words}: {error}") from None
    return reduction
