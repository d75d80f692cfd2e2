"""Reductions of a detector's own stream: `merlin://HOST:PORT`, `dectris://HOST:PORT`, or any registered detector."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...core import SettingsInvalid
from ...core.registry import DETECTORS, find
from ...streaming.detectors import Connection, LiveScan
from ...streaming.files import NOMINAL_M
from ...streaming.reduce import Reducing
from .output import Source

_ADDRESS = re.compile(r"(?P<scheme>[a-z][\w-]*)://(?P<rest>.*)")
_SHAPE = re.compile(r"(\d{1,6})x(\d{1,6})")
MOST_POSITIONS = 1 << 28


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a detector's series is waited for, and what scan it is.

    Attributes
    ----------
    wait_s, patience_s
        Longest wait for the first frame, and for each that follows.
    scan_shape
        Positions `(y, x)`; None leaves it to the detector.
    step_m
        Distance of neighbouring positions; None if nobody knows it.
    """

    wait_s: float
    patience_s: float
    scan_shape: tuple[int, int] | None
    step_m: float | None


def is_live(source: str) -> bool:
    """Tell whether a person named a detector's stream and not a file."""
    return _ADDRESS.fullmatch(source) is not None


def scheme(source: str) -> str:
    """Return which kind of detector was named."""
    return source.partition("://")[0]


def shape_spelt(text: str) -> tuple[int, int]:
    """Return the scan's shape that a person spelt.

    >>> shape_spelt("256x128")
    (256, 128)

    Raises
    ------
    SettingsInvalid
        If it is spelt wrongly, empty or too large.
    """
    found = _SHAPE.fullmatch(text)
    ny, nx = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 0 < ny * nx <= MOST_POSITIONS:
        raise SettingsInvalid(
            f"--scan {text}: not understood; write NYxNX, for example 256x256, with {MOST_POSITIONS} positions at most"
        )
    return ny, nx


def awaited(source: str, waiting: Waiting) -> LiveScan:
    """Connect to a detector and return its next series, once its first frame came.

    Raises
    ------
    UnknownName, NotInstalled
        If no such detector is registered, or it lacks a package.
    SettingsInvalid
        If the address is none, or the scan's shape is needed and not known.
    InstrumentUnreachable
        If nobody listens there, or no frame came in time.
    """
    kind, _, rest = source.partition("://")
    connection: Connection = find(DETECTORS, kind)(rest.rstrip("/"))
    try:
        return LiveScan.awaited(connection, waiting.wait_s, waiting.scan_shape, waiting.step_m or NOMINAL_M)
    except BaseException:
        connection.close()
        raise


def reduced(live: LiveScan, reducing: Reducing, patience_s: float, told: Callable[[int], None]) -> tuple[float, bool]:
    """Reduce a series to its end, or to Ctrl-C; return the seconds it took and whether it came to its end.

    `told` is called with the number of frames of each batch.
    """
    start_s = last_s = time.perf_counter()
    try:
        for batch in live.batches(patience_s):
            reducing.add(batch)
            told(len(batch.indices))
            # What is waited for after the last frame is no part of the rate.
            last_s = time.perf_counter()
    except KeyboardInterrupt:
        live.ended = "Ctrl-C"
        return last_s - start_s, False
    return last_s - start_s, True


def origin(source: str, live: LiveScan) -> Source:
    """Return what tells a series."""
    header = live.header
    told = {"source_stream": source, "source_series": live.began.series, "source_frames": int(live.valid.sum())}
    told |= {"source_lacks": live.lack(), "source_notices": "; ".join(live.notices.lines())}
    return Source(header.detector, header.simulated, told)
