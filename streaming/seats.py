"""Who watches an instrument, each in a seat of their own: one recorder, readers, viewers.

Two classes of delivery are declared, *record* and *live*. Behind each seat is a channel that
loses nothing it was given; the seats differ in what they do when that channel is full.

| class | gets | when it does not keep up |
|---|---|---|
| `record` | the scans addressed to it | the source waits; one that cannot wait loses, and the loss is numbered |
| `read` | what is given after it came | it alone loses, and the loss is numbered |
| `live` | the same, newest frames first | older frames are passed over, and counted |

So neither readers nor viewers hold up a source or take memory beyond their bound. No socket,
clock or thread is in here; whoever owns a seat guards it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ..core.frame import FrameBatch, Scan, ScanEnd
from .channel import Outgoing
from .flow import Outflow
from .loss import Losses
from .retention import weight_bytes
from .wire import Batch

MOST_UNSEEN = 64
"""Scans of which a viewer was shown nothing yet, before whole ones are passed over."""


class Seat(Protocol):
    """What a sender needs of whichever class."""

    channel: Outgoing

    def has_room(self, batch: FrameBatch) -> bool:
        """Tell whether a batch would be taken; False asks a source that can wait to wait."""
        ...

    def begin(self, scan: Scan, given: int = 0) -> None:
        """Announce a scan, of which so many frames were given before this seat was taken."""
        ...

    def give(self, batch: FrameBatch) -> bool:
        """Give frames; tell whether they were taken and not lost."""
        ...

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended."""
        ...

    def fill(self) -> None:
        """Move into the channel what waits in front of it; call before `channel.due`."""
        ...

    def statistics(self) -> Outflow:
        """Return the counters."""
        ...


class RecorderSeat:
    """The one that keeps a scan: what it is given waits for it, in memory and on disk, until stored."""

    def __init__(self, channel: Outgoing) -> None:
        self.channel = channel
        self._losses = Losses()

    def has_room(self, batch: FrameBatch) -> bool:
        """Tell whether retention takes this batch."""
        return self.channel.has_room(batch)

    def begin(self, scan: Scan, given: int = 0) -> None:
        """Announce a scan."""
        self._losses.count(scan.scan_id, given)
        self.channel.offer(scan)

    def give(self, batch: FrameBatch) -> bool:
        """Give frames; without room they are lost, and told as such before what follows."""
        if not self.has_room(batch):
            self._losses.add(batch.scan_id, batch.indices)
            return False
        self._tell(batch.scan_id)
        self.channel.offer(batch)
        return True

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended, after what was lost of it."""
        self._tell(end.scan_id)
        self.channel.offer(end)

    def fill(self) -> None:
        """Do nothing: everything given is in the channel."""

    def statistics(self) -> Outflow:
        """Return the counters of the channel."""
        return self.channel.statistics()

    def _tell(self, scan_id: str) -> None:
        loss = self._losses.take(scan_id)
        if loss is not None:
            self.channel.offer(loss)


class ReaderSeat:
    """A lossless reader of its own, that slows nobody: at its bound it loses, and is told exactly what.

    A scan that begins while there is no room is lost whole, so that many small ones cannot outgrow the bound.
    """

    def __init__(self, channel: Outgoing) -> None:
        self.channel = channel
        self._seat = RecorderSeat(channel)
        self._missed: dict[str, int] = {}
        self._losses = Losses()

    def has_room(self, batch: FrameBatch) -> bool:
        """Say yes: a reader holds nobody up."""
        return True

    def begin(self, scan: Scan, given: int = 0) -> None:
        """Announce a scan; what was given before counts as lost."""
        if self.channel.takes(0):
            self._seat.begin(scan, given)
        else:
            self._missed[scan.scan_id] = given

    def give(self, batch: FrameBatch) -> bool:
        """Give frames, or note that they are lost."""
        if batch.scan_id not in self._missed:
            return self._seat.give(batch)
        self._missed[batch.scan_id] += len(batch.indices)
        return False

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended, after what was lost of it."""
        if end.scan_id in self._missed:
            self._losses.whole(self._missed.pop(end.scan_id))
        else:
            self._seat.end(end)

    def fill(self) -> None:
        """Tell of whole scans that were lost as soon as there is room."""
        if self.channel.takes(0) and (lost := self._losses.take_whole()) is not None:
            self.channel.offer(lost)

    def statistics(self) -> Outflow:
        """Return the counters of the channel."""
        return self.channel.statistics()


@dataclass(eq=False, slots=True)
class _Shown:
    """A scan that has not come to its end for a viewer, and how many of its batches wait."""

    scan: Scan
    begun: bool = False
    end: ScanEnd | None = None
    waiting: int = 0


class ViewerSeat:
    """Shows the newest frames first and passes over what it cannot show; counts exactly how many.

    Only what the viewer has credit for enters the channel, so nothing old waits there. The rest
    lies on a pile, at most `bound_bytes` of it, or one batch that alone is larger.
    """

    def __init__(self, channel: Outgoing, bound_bytes: int) -> None:
        self.channel, self._bound_bytes = channel, bound_bytes
        self._scans: dict[str, _Shown] = {}
        # Scans that are passed over whole, with the frames given of them so far.
        self._missed: dict[str, int] = {}
        # What waits, oldest first, under ascending keys.
        self._pile: dict[int, FrameBatch] = {}
        self._pile_bytes = self._piled = 0
        self._losses = Losses()

    def has_room(self, batch: FrameBatch) -> bool:
        """Say yes: a viewer holds nobody up."""
        return True

    def begin(self, scan: Scan, given: int = 0) -> None:
        """Announce a scan; what was given before counts as passed over."""
        self._scans[scan.scan_id] = _Shown(scan)
        self._losses.count(scan.scan_id, given)
        unseen = [scan_id for scan_id, shown in self._scans.items() if not shown.begun]
        if len(unseen) > MOST_UNSEEN:
            self._pass_over_scan(unseen[0])

    def give(self, batch: FrameBatch) -> bool:
        """Put frames on the pile, in place of the oldest if there is no room."""
        if batch.scan_id in self._missed:
            self._missed[batch.scan_id] += len(batch.indices)
            return False
        self._piled += 1
        self._pile[self._piled] = batch
        self._pile_bytes += _weight(batch)
        self._scans[batch.scan_id].waiting += 1
        while self._pile_bytes > self._bound_bytes and len(self._pile) > 1:
            passed = self._off_the_pile(next(iter(self._pile)))
            self._losses.count(passed.scan_id, len(passed.indices))
        return True

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended; what waits of it may still be shown before."""
        if end.scan_id in self._missed:
            self._losses.whole(self._missed.pop(end.scan_id))
        else:
            self._scans[end.scan_id].end = end

    def fill(self) -> None:
        """Move into the channel what the viewer has credit and room for, newest first."""
        while self.channel.credit > 0 and self.channel.takes(self._next_bytes) and self._show():
            pass

    def statistics(self) -> Outflow:
        """Return the counters of the channel, and the bytes of the pile with those retained."""
        counted = self.channel.statistics()
        return replace(counted, retained_bytes=counted.retained_bytes + self._pile_bytes)

    @property
    def _next_bytes(self) -> int:
        return _weight(next(reversed(self._pile.values()))) if self._pile else 0

    def _show(self) -> bool:
        """Move one thing into the channel; False if nothing waits."""
        whole = self._losses.take_whole()
        if whole is not None:
            self.channel.offer(whole)
            return True
        return self._show_end() or self._show_newest() or self._show_begin()

    def _show_end(self) -> bool:
        for scan_id, shown in self._scans.items():
            if shown.begun and shown.end is not None and not shown.waiting:
                if not self._tell(scan_id):
                    self.channel.offer(shown.end)
                    del self._scans[scan_id]
                return True
        return False

    def _show_newest(self) -> bool:
        if not self._pile:
            return False
        newest = next(reversed(self._pile))
        scan_id = self._pile[newest].scan_id
        if not self._announce(scan_id) and not self._tell(scan_id):
            self.channel.offer(self._off_the_pile(newest))
        return True

    def _show_begin(self) -> bool:
        return any(self._announce(scan_id) for scan_id in reversed(self._scans))

    def _announce(self, scan_id: str) -> bool:
        """Offer the header of a scan that was not begun; tell whether that was needed."""
        shown = self._scans[scan_id]
        if shown.begun:
            return False
        shown.begun = True
        self.channel.offer(shown.scan)
        return True

    def _tell(self, scan_id: str) -> bool:
        """Offer what was passed over of a scan and not told; tell whether that was needed."""
        loss = self._losses.take(scan_id)
        if loss is not None:
            self.channel.offer(loss)
        return loss is not None

    def _pass_over_scan(self, scan_id: str) -> None:
        for key in [key for key, batch in self._pile.items() if batch.scan_id == scan_id]:
            self._losses.count(scan_id, len(self._off_the_pile(key).indices))
        loss, shown = self._losses.take(scan_id), self._scans.pop(scan_id)
        frames = 0 if loss is None else loss.count
        if shown.end is None:
            self._missed[scan_id] = frames
        else:
            self._losses.whole(frames)

    def _off_the_pile(self, key: int) -> FrameBatch:
        batch = self._pile.pop(key)
        self._pile_bytes -= _weight(batch)
        self._scans[batch.scan_id].waiting -= 1
        return batch


def _weight(batch: FrameBatch) -> int:
    return weight_bytes(Batch(0, batch))
