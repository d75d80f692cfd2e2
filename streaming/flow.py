"""What the two halves of a channel count, so that nothing on it is lost or repeated unseen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outflow:
    """What a sender counts for one receiver.

    Attributes
    ----------
    reading
        Class of the receiver: `record`, `read` or `live`.
    linked
        Whether the receiver is connected and was welcomed.
    offered, received, stored
        Highest message numbers given to the channel and acknowledged.
    sent, resent
        Messages put on the wire for the first time, and again.
    links
        Connections and resend requests of the receiver.
    retained, retained_bytes
        Messages held until stored, and their bytes in memory.
    spilled, spilled_bytes
        How many of them are on disk, and the bytes they take there.
    fault
        Why the disk takes nothing now; empty if it does or is not needed.
    lost
        Frames that were told as lost, passed over, or let go.
    forgotten
        Messages dropped by `forget` before they were stored.
    invalid
        Acknowledgements of messages that were never sent; ignored.
    """

    reading: str
    linked: bool
    offered: int
    received: int
    stored: int
    sent: int
    resent: int
    links: int
    retained: int
    retained_bytes: int
    spilled: int
    spilled_bytes: int
    fault: str
    lost: int
    forgotten: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Inflow:
    """What a receiver counts.

    Attributes
    ----------
    session
        Numbering of the sender in force; 0 before the first welcome.
    sessions, links
        Numberings met (more than one: the sender restarted or forgot), and links opened.
    received, stored
        Highest numbers received and stored without gaps, in this session.
    held
        Messages in memory that nobody has taken.
    delivered
        Messages delivered, over all sessions.
    duplicates, stale
        Messages dropped because they came again, or under an old link.
    gaps
        Times a number was missing, each followed by a resend.
    skipped
        Messages that an earlier incarnation of this receiver had already stored.
    overrun
        Messages dropped because they came without credit.
    damaged
        Messages that failed their checksum, each followed by a resend.
    """

    session: int
    sessions: int
    links: int
    received: int
    stored: int
    held: int
    delivered: int
    duplicates: int
    stale: int
    gaps: int
    skipped: int
    overrun: int
    damaged: int
