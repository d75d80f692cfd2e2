"""Looks at scans while they are taken: the newest frames first, and how many were passed over.

A viewer slows nobody and keeps nothing. It may come and go at any time; of a scan that was
under way when it came, the frames before count as passed over. At the end of every scan,
frames seen and frames passed over make up all that were given.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.closing import Closing
from ..core.frame import FrameBatch, Scan, ScanEnd
from .admittance import CurveKey
from .receiver import Receiver, ReceiverStatistics


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer sees at a time.

    Attributes
    ----------
    scan
        Header of the scan.
    batch
        Frames; None if the scan only began, ended, or passed on.
    seen, passed
        Frames of this scan seen and passed over so far, exact; frames that may still be shown are in neither.
    end
        How the scan ended, in its last sight; None before.
    """

    scan: Scan
    batch: FrameBatch | None
    seen: int
    passed: int
    end: ScanEnd | None


class Viewer(Closing):
    """Looks at what somebody else records; for one thread.

    Parameters
    ----------
    endpoint
        Where the sender listens.
    name
        A name of its own among the viewers of this sender; a second of that name takes its place.
    credit
        Batches on their way at a time; more are smoother on a long line, and older.
    only
        Id of the one scan, or measurement, to look at; empty for all.
    key
        Shown to a sender that wants one; the name must then be `KEY/...`.

    Raises
    ------
    ChannelClosed
        If the endpoint is malformed.
    """

    def __init__(self, endpoint: str, name: str, credit: int = 2, only: str = "", key: CurveKey | None = None) -> None:
        self._receiver = Receiver(endpoint, name, credit, "live", only, key)

    def look(self, timeout_s: float) -> Sight:
        """Wait for the next sight of whichever scan.

        Raises
        ------
        InstrumentUnreachable
            If nothing came in time: no scan is under way, or the instrument is gone.
        ChannelClosed
            After `close`, or if another viewer took this name.
        ProtocolMismatch
            If the sender is too old for viewers.
        FrameShapeWrong
            If frames are not what the header announced.
        """
        scan = self._receiver.any_scan(timeout_s)
        batch = scan.take(0.0) if scan.arrivals.queue else None
        scan.stored()
        return Sight(scan.header, batch, scan.taken, scan.lost, scan.end)

    @property
    def heard(self) -> bool:
        """Whether the sender has answered."""
        return self._receiver.statistics().channel.session != 0

    def statistics(self) -> ReceiverStatistics:
        """Return the counters; `lost_scans` were passed over whole."""
        return self._receiver.statistics()

    def close(self) -> None:
        """Stop looking; may be repeated."""
        self._receiver.close()
