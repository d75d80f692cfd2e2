"""A detector's series seen as a scan: numbered frames at scan positions, and an account of what is lacking.

A detector knows numbers, not positions: frame `i` is taken to be position `i` of the scan, lines along x one after
another. The number alone decides, so frames may come in any order; what comes twice is dropped, what never comes
is a gap in the results, and neither ends a scan.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ...core.closing import Closing
from ...core.errors import InstrumentUnreachable, SettingsInvalid, WireInvalid
from ...core.frame import FrameBatch, Scan
from ...core.signal import Axis
from ..runs import runs_of, told
from .events import Began, Came, Ended, Event, Odd
from .notices import Notices

BATCH_BYTES = 1 << 20
"""What is reduced at once; it stays in the processor's cache."""

MOST_FRAMES = 1 << 24
"""What a detector may announce; a person may ask for more."""

END_S = 0.5
"""How long the end of a series is waited for when every frame came."""


class Connection(Protocol):
    """A connection to a detector's stream; for one thread.

    Attributes
    ----------
    address
        What it leads to, for a person.
    tells_end
        Whether the protocol says when a series ended.
    is_over
        Whether nothing more can come, because the other side closed it.
    """

    address: str
    tells_end: bool
    is_over: bool

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what comes next, about `BATCH_BYTES` at most; nothing if nothing came in time."""
        ...

    def close(self) -> None:
        """Close it; may be called twice."""
        ...


class LiveScan(Closing):
    """One series as a scan; for one thread. Close it, or use it as a context.

    Attributes
    ----------
    header
        The scan.
    began
        What the detector announced.
    notices
        What was odd so far.
    valid
        Which frames came, by flat scan index, shape (n_frames,).
    ended
        Why no more will come; empty while more may.
    """

    def __init__(
        self, connection: Connection, began: Began, header: Scan, notices: Notices, rest: Sequence[Event]
    ) -> None:
        self.header = header
        self.began = began
        self.notices = notices
        self.valid: NDArray[np.bool_] = np.zeros(header.n_frames, np.bool_)
        self.ended = ""
        self._connection = connection
        self._rest = list(rest)
        self._y, self._x = (axis.coordinates() for axis in header.scan_axes)

    @classmethod
    def awaited(
        cls, connection: Connection, wait_s: float, scan_shape: tuple[int, int] | None = None, step_m: float = 1.0
    ) -> Self:
        """Return the next series, once its first frame came.

        Parameters
        ----------
        connection
            Where it comes from; closed with the scan.
        wait_s
            Longest wait for the first frame.
        scan_shape
            Positions `(y, x)`; as the detector tells if None.
        step_m
            Distance of neighbouring positions.

        Raises
        ------
        InstrumentUnreachable
            If no frame came in time, or the other side closed the connection.
        SettingsInvalid
            If the scan's shape is needed and not known, or not to be believed.
        """
        notices = Notices()
        until = _Wait(wait_s)
        while True:
            events = list(connection.events(until.left_s()))
            for i, event in enumerate(events):
                if isinstance(event, Began):
                    header = _header(event, scan_shape, step_m, notices)
                    return cls(connection, event, header, notices, events[i + 1 :])
                if isinstance(event, Odd):
                    notices.add(event.kind, event.words)
            if connection.is_over or until.left_s() == 0:
                how = "it closed the connection" if connection.is_over else f"within {wait_s:g} s"
                odd = "".join(f"; {line}" for line in notices.lines())
                raise InstrumentUnreachable(
                    f"no frame of a series came from {connection.address}: {how}{odd}. See that the detector is armed "
                    "after this has connected"
                )

    def batches(self, patience_s: float) -> Iterator[FrameBatch]:
        """Yield frames as they come, about `BATCH_BYTES` at a time, until the series is over.

        Parameters
        ----------
        patience_s
            Longest time in which nothing comes, after which the series is taken to be over.
        """
        while not self.ended:
            events, self._rest = self._rest, []
            if not events:
                timeout_s = END_S if self.valid.all() else patience_s
                events = list(self._connection.events(timeout_s))
                if not events:
                    self._fell_silent(timeout_s)
            came: list[Came] = []
            for event in events:
                if self.ended:
                    break
                match event:
                    case Came():
                        came.append(event)
                    case Ended():
                        self.ended = "the detector ended it"
                    case Began(series=series):
                        self.notices.add("series begun early", f"{series} began before the end of {self.began.series}")
                        self.ended = f"{series} began"
                    case Odd(kind=kind, words=words):
                        self.notices.add(kind, words)
            yield from self._opened(came)
            if self.valid.all() and not self._connection.tells_end:
                self.ended = self.ended or "every frame came"

    @property
    def complete(self) -> bool:
        """Whether every frame of the scan came."""
        return bool(self.valid.all())

    def lack(self) -> str:
        """Say in a few words which frames never came; empty if all did."""
        missing = np.flatnonzero(~self.valid)
        if not len(missing):
            return ""
        return f"lacks {len(missing)} of {len(self.valid)} frames: {told(runs_of(missing))} ({self.ended or 'so far'})"

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._connection.close()

    def _fell_silent(self, timeout_s: float) -> None:
        if self._connection.is_over:
            self.ended = "the detector closed the connection"
        elif self.valid.all():
            self.notices.add(
                "no end", f"every frame of {self.began.series} came, and within {timeout_s:g} s no end of it"
            )
            self.ended = "every frame came"
        else:
            self.ended = f"nothing came for {timeout_s:g} s"

    def _opened(self, came: list[Came]) -> Iterator[FrameBatch]:
        together = max(1, BATCH_BYTES // self.header.frame_bytes)
        part: list[Came] = []
        for i, each in enumerate(came):
            part.append(each)
            if i + 1 == len(came) or sum(len(one.numbers) for one in part) >= together:
                batch = self._batch(part)
                part = []
                if batch is not None:
                    yield batch

    def _batch(self, came: list[Came]) -> FrameBatch | None:
        n = sum(len(each.numbers) for each in came)
        frames = np.empty((n, *self.header.frame_shape), self.header.dtype)
        indices: list[NDArray[np.int64]] = []
        at = 0
        for each in came:
            is_new = self._new(each.numbers)
            if not is_new.any():
                continue
            here = frames[at : at + len(is_new)]
            try:
                each.open(here)
            except WireInvalid as error:
                self.notices.add("frames damaged", str(error), int(is_new.sum()))
                continue
            if not is_new.all():
                here[: is_new.sum()] = here[is_new]
            indices.append(each.numbers[is_new])
            self.valid[indices[-1]] = True
            at += len(indices[-1])
        if not at:
            return None
        flat = np.concatenate(indices)
        rows, columns = np.divmod(flat, len(self._x))
        positions = np.column_stack([self._y[rows], self._x[columns]])
        return FrameBatch(self.header.scan_id, flat, positions, frames[:at])

    def _new(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these frames are of the scan and come for the first time."""
        n = len(self.valid)
        is_inside = (numbers >= 0) & (numbers < n)
        is_new = is_inside & ~self.valid[np.where(is_inside, numbers, 0)]
        if is_new.any():
            firsts = np.zeros(len(numbers), np.bool_)
            firsts[np.unique(numbers, return_index=True)[1]] = True
            is_new &= firsts
        if not is_inside.all():
            first, times = int(numbers[~is_inside][0]), int((~is_inside).sum())
            self.notices.add("frames beyond the scan", f"frame {first} came; the scan has {n}, from 0", times)
        repeated = is_inside & ~is_new
        if repeated.any():
            self.notices.add("frames repeated", f"frame {int(numbers[repeated][0])} came again", int(repeated.sum()))
        return is_new


class _Wait:
    """A wait that ends."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())


def _header(began: Began, asked: tuple[int, int] | None, step_m: float, notices: Notices) -> Scan:
    shape = asked or _told_shape(began, notices)
    if asked and began.n_frames and math.prod(asked) != began.n_frames:
        notices.add(
            "scan shape",
            f"{began.series} announces {began.n_frames} frames, {asked[0]}x{asked[1]} positions were asked",
        )
    y, x = (
        Axis(name=name, size=size, units="m", quantity="length", scale=step_m)
        for name, size in zip("yx", shape, strict=True)
    )
    v, u = (Axis(name=name, size=size) for name, size in zip("vu", began.frame_shape, strict=True))
    return Scan(
        scan_id=began.series, measurement_id=began.series, receiver="", detector=began.detector, scan_axes=(y, x),
        frame_axes=(v, u), dtype=began.dtype, dwell_s=began.dwell_s, simulated=began.simulated,
    )  # fmt: skip


def _told_shape(began: Began, notices: Notices) -> tuple[int, int]:
    """Return the scan's shape as far as the detector tells it."""
    n, shape = began.n_frames, began.scan_shape
    if n == 0:
        raise SettingsInvalid(
            f"{began.series} does not say how many frames it has; give the scan's shape, --scan NYxNX"
        )
    if n > MOST_FRAMES:
        raise SettingsInvalid(
            f"{began.series} announces {n} frames; more than {MOST_FRAMES} are not made room for on a detector's word, "
            "give the scan's shape, --scan NYxNX"
        )
    if shape is not None and math.prod(shape) != n:
        notices.add(
            "scan shape", f"{began.series} tells a scan of {shape[0]}x{shape[1]} and {n} frames; the frames count"
        )
        shape = None
    if shape is None:
        notices.add("scan shape", f"the detector tells {n} frames and no shape; taken as one line (--scan NYxNX)")
    return shape or (1, n)
