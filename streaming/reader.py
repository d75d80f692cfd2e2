"""A lossless reader beside the recorder: every frame given after it came, or exactly which it lost.

It has a numbering, credit and retention of its own, so it slows nobody. If it lags behind its
bound at the sender, it loses what finds no room and is told so in order with the frames, as
`IncomingScan.lost` and `lost_frames`; whole scans that it lost are in `statistics`. A reader
that falls silent for some 10 s is forgotten, and begins anew.
"""

from __future__ import annotations

from .admittance import CurveKey
from .receiver import Receiver


class Reader(Receiver):
    """Reads what somebody else records; thread-safe. Take scans with `next_scan`.

    Parameters
    ----------
    endpoint
        Where the sender listens.
    name
        A name of its own among the readers of this sender; a second of that name takes its place.
    credit
        Messages held here that nobody has taken, of 0.5-2 MiB each.
    only
        Id of the one scan, or measurement, to be read; empty for all.
    key
        Shown to a sender that wants one; the name must then be `KEY/...`.

    Raises
    ------
    ChannelClosed
        If the endpoint is malformed.
    """

    def __init__(self, endpoint: str, name: str, credit: int = 32, only: str = "", key: CurveKey | None = None) -> None:
        super().__init__(endpoint, name, credit, "read", only, key)
