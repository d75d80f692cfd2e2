"""One pass over a recorded detector for several reductions, a batch at a time.

Memory holds one batch and the results, however long the file is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...core import FrameBatch, FrameShapeWrong, Reduction, Scan
from ...core.registry import REDUCTIONS
from ...streaming.files import RecordedDetector
from ...streaming.reduce import Reducing
from ..plugins import made
from .spelling import Wanted

BATCH_BYTES = 1 << 20
"""About what is read at once."""

SCAN_ID = "recorded"


def begin(recorded: RecordedDetector, wanted: Sequence[Wanted]) -> Reducing:
    """Return the growing results of what is wanted of a recorded detector.

    Raises
    ------
    BeamloopError
        `UnknownName`, `SettingsInvalid` or `FrameShapeWrong`, with how the reduction was spelt.
    """
    scan = header(recorded)
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
    """Yield every recorded frame, in order, about `BATCH_BYTES` at a time.

    Raises
    ------
    RecordingUnreadable
        If the file is damaged.
    """
    y, x = recorded.y.coordinates(), recorded.x.coordinates()
    for indices in _parts(recorded):
        rows, columns = np.divmod(indices, len(x))
        yield FrameBatch(SCAN_ID, indices, np.column_stack([y[rows], x[columns]]), recorded.frames(indices))


def frame_bytes(recorded: RecordedDetector) -> int:
    """Return the size of one frame."""
    return math.prod(recorded.frame_shape) * np.dtype(recorded.dtype).itemsize


def _parts(recorded: RecordedDetector) -> Iterator[np.ndarray]:
    together = max(1, BATCH_BYTES // max(1, frame_bytes(recorded)))
    ny, nx = recorded.shape
    # Whole rows where they fit, since a row is what files keep together.
    together = together // nx * nx if together >= nx else together
    length = nx if together < nx else together
    for start in range(0, ny * nx, length):
        for first in range(start, min(start + length, ny * nx), together):
            indices = np.arange(first, min(first + together, start + length, ny * nx), dtype=np.int64)
            recorded_here = indices[recorded.valid.ravel()[indices]]
            if len(recorded_here):
                yield recorded_here


def _fitting(one: Wanted, scan: Scan) -> Reduction:
    reduction: Reduction = made(REDUCTIONS, one.plugin, one.settings, one.words)
    try:
        reduction.result(scan, reduction.empty(scan))
    except FrameShapeWrong as error:
        raise FrameShapeWrong(f"{one.words}: {error}") from None
    return reduction
