"""The frames of one measurement and the value they give, reduced as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..core import FrameBatch, Scan
from ..streaming.incoming import IncomingScan
from .instrument import LONGEST_WAIT_S
from .target_value import TargetValue


@dataclass(frozen=True, slots=True)
class Received:
    """The frames of one measurement, the value they gave and how long reducing them took."""

    batches: tuple[FrameBatch, ...]
    value: float
    std: float | None
    reduce_s: float


def receive(incoming: IncomingScan, target: TargetValue, clock: Callable[[], float]) -> Received:
    """Read a one-point scan to its end, reducing as frames come.

    Raises
    ------
    BeamloopError
        As `IncomingScan.batches`.
    """
    return reduced(target, incoming.header, incoming.batches(LONGEST_WAIT_S), clock)


def reduced(target: TargetValue, scan: Scan, frames: Iterable[FrameBatch], clock: Callable[[], float]) -> Received:
    """Reduce the frames of a one-point scan as they come."""
    reducing, batches, reduce_s = target.begin(scan), [], 0.0
    for batch in frames:
        start_s = clock()
        reducing.add(batch)
        batches.append(batch)
        reduce_s += clock() - start_s
    start_s = clock()
    values, errors = target.values(reducing)
    reduce_s += clock() - start_s
    std = float(errors[0])
    return Received(tuple(batches), float(values[0]), std if math.isfinite(std) else None, reduce_s)
