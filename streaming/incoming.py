"""A scan as its receiver sees it: header, frames as they arrive, and an account of what is there.

A scan is complete only when the counts agree: the sender says `complete`, names as many
frames as the header announced, and each of them was taken here once. Frames that will not
come are counted as they are told, so that at the end of every scan, whoever reads it,
frames taken and frames lost make up all that were given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ScanIncomplete
from ..core.frame import FrameBatch, Scan, ScanEnd
from ..core.signal import Signal
from .runs import Runs, runs_of, told
from .wire import Batch, End, Lost

Item = Batch | Lost | End
"""What comes of a scan after its header."""


@dataclass(eq=False, slots=True)
class Arrivals:
    """Messages of one scan between the I/O thread and its reader, under the receiver's lock.

    Attributes
    ----------
    scan_id, session
        Which scan, in which numbering of the sender.
    begin
        Number of the scan's header while nobody asked for the scan; then None.
    queue
        Batches, losses and end, arrived and not taken.
    unstored
        Numbers taken and not acknowledged as stored.
    over
        Whether the end was taken.
    broken
        Why no more will come; empty while more may.
    """

    scan_id: str
    session: int
    begin: int | None
    queue: deque[Item] = field(default_factory=deque)
    unstored: list[int] = field(default_factory=list)
    over: bool = False
    broken: str = ""

    @property
    def waiting(self) -> int:
        """Messages that arrived and were not taken."""
        return len(self.queue) + (self.begin is not None)

    @property
    def whole(self) -> bool:
        """Whether the end has arrived."""
        return self.over or (bool(self.queue) and isinstance(self.queue[-1], End))


class Inlet(Protocol):
    """What an incoming scan needs of its receiver."""

    def next_message(self, arrivals: Arrivals, timeout_s: float) -> Item:
        """Take the next message of the scan, waiting for it."""
        ...

    def acknowledge(self, arrivals: Arrivals) -> None:
        """Tell the sender that everything taken is stored."""
        ...


class IncomingScan:
    """One scan being received; for one reading thread.

    Attributes
    ----------
    header
        What was announced.
    end
        How it ended; None until the end message was taken.
    valid
        Which frames were taken, by flat scan index, shape (n_frames,).
    taken
        Frames taken, those that came twice counted twice.
    lost
        Frames of which was said that they will not come.
    lost_frames
        Which they are, by flat scan index, as far as that was said; a viewer is told the number only.
    """

    def __init__(self, header: Scan, arrivals: Arrivals, inlet: Inlet) -> None:
        self.header = header
        self.arrivals = arrivals
        self.end: ScanEnd | None = None
        self.valid: NDArray[np.bool_] = np.zeros(header.n_frames, dtype=np.bool_)
        self.taken = self.lost = 0
        self.lost_frames = Runs()
        self._inlet = inlet

    def batches(self, timeout_s: float) -> Iterator[FrameBatch]:
        """Yield batches as they arrive until the scan ends; its arrays are read-only.

        Parameters
        ----------
        timeout_s
            Longest wait for the next message.

        Raises
        ------
        InstrumentUnreachable
            If no message came in time.
        ChannelClosed
            If the receiver was closed or displaced, or the sender restarted or forgot it.
        FrameShapeWrong
            If frames are not what the header announced.
        """
        while self.end is None:
            batch = self.take(timeout_s)
            if batch is not None:
                yield batch

    def take(self, timeout_s: float) -> FrameBatch | None:
        """Take the next message, and return its frames; None if it told of a loss, or the end.

        Raises
        ------
        InstrumentUnreachable, ChannelClosed, FrameShapeWrong
            As `batches`.
        """
        match self._inlet.next_message(self.arrivals, timeout_s):
            case Batch(batch=batch):
                batch.check(self.header)
                self.valid[batch.indices] = True
                self.taken += len(batch.indices)
                return batch
            case Lost(loss=loss):
                self.lost += loss.count
                for first, last in loss.runs:
                    self.lost_frames.add(first, last)
            case End(end=end):
                self.end = end
        return None

    @property
    def complete(self) -> bool:
        """Whether every frame announced was sent and taken, once."""
        n = self.header.n_frames
        ended = self.end is not None and self.end.status == "complete" and self.end.n_frames == n
        return ended and self.taken == n and bool(self.valid.all())

    def stored(self) -> None:
        """Acknowledge everything taken so far as stored; until then the sender keeps it.

        Call it after the file was flushed. Once the end was taken and acknowledged, the
        receiver forgets the scan.
        """
        self._inlet.acknowledge(self.arrivals)

    def lack(self, there: NDArray[np.bool_] | None = None) -> str:
        """Say in a few words what keeps the scan from being complete; empty if nothing does.

        Parameters
        ----------
        there
            Which frames to count, shape (n_frames,), where they are not all that were taken.
        """
        if self.complete and there is None:
            return ""
        n = self.header.n_frames
        missing = np.flatnonzero(~(self.valid if there is None else there))
        frames = (
            f"lacks {len(missing)} of {n} frames: {ranges(missing)}" if len(missing) else f"took {self.taken} of {n}"
        )
        if self.lost:
            frames += f" ({self.lost} of them lost before they were sent)"
        if self.end is None:
            return f"{frames}; its end has not come"
        return f"{frames}; its end says {self.end.status}, {self.end.n_frames} frames {self.end.reason}".rstrip()


def collect(incoming: IncomingScan, timeout_s: float, allow_incomplete: bool = False, keeps: bool = False) -> Signal:
    """Return a whole scan as one array, shape (*scan_shape, *frame_shape), with calibrated axes.

    Unless `keeps`, the scan is not acknowledged: call `incoming.stored()` once the array is where it must be. Until
    then all of it waits at the sender, whose source pauses at its bound.

    Parameters
    ----------
    incoming
        The scan, of which nothing was taken yet.
    timeout_s
        Longest wait for the next message.
    allow_incomplete
        Return what came, with zeros where `valid` is False, instead of raising.
    keeps
        Acknowledge frames as they come, because the array is all that is wanted of them.

    Raises
    ------
    ScanIncomplete
        If frames lack; the message names them, for example `1041-1056`.
    InstrumentUnreachable, ChannelClosed, FrameShapeWrong
        As `IncomingScan.batches`.
    """
    scan = incoming.header
    data = np.zeros((scan.n_frames, *scan.frame_shape), dtype=scan.dtype)
    for batch in incoming.batches(timeout_s):
        data[batch.indices] = batch.frames
        if keeps:
            incoming.stored()
    if not (incoming.complete or allow_incomplete):
        raise ScanIncomplete(
            f"scan {scan.scan_id!r} {incoming.lack()}; ask for it with allow_incomplete to get the rest"
        )
    valid = None if incoming.complete else incoming.valid.reshape(scan.scan_shape)
    axes = (*scan.scan_axes, *scan.frame_axes)
    facts = scan.model_dump(mode="json", exclude={"scan_axes", "frame_axes", "quantity", "units"})
    return Signal(data.reshape(*scan.scan_shape, *scan.frame_shape), axes, scan.quantity, scan.units, valid, facts)


def ranges(indices: NDArray[np.integer]) -> str:
    """Write indices as ranges for a person.

    >>> ranges(np.array([3, 4, 5, 9]))
    '3-5, 9'
    """
    return told(runs_of(indices))
