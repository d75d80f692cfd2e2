"""The lossless channel as two state machines: messages in, messages out, nothing else.

No socket, clock, thread or random source is in here, so thousands of schedules of loss,
duplication, reordering and reconnects can be simulated and each replays from its seed.

Each receiver has its own numbering, a *session*. It acknowledges twice, cumulatively:
*received* returns credit, *stored* releases what the sender retains. A receiver that sees
a new connection or a gap starts a new *link*: its hello asks to go on from the message
after the last it received, and whatever still arrives under the old link is ignored.
Every hello carries the receiver's whole state, so a lost acknowledgement costs no more
than the time to the next hello, and a hello repeated on the same link is answered with
the number sent so far, which shows a lost tail. Numbers that could not be kept are
therefore noticed by both sides and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.frame import FrameBatch, Scan, ScanEnd
from .retention import Retention, weight_bytes
from .wire import Batch, Begin, End, Hello, Knock, Message, Numbered, Received, Refused, Stored, Welcome

MOST_CREDIT = 256
"""Messages in flight that a sender allows, whatever credit a receiver claims."""

MOST_DISPLACED = 64
"""Earlier incarnations of a receiver that a sender remembers, to refuse them if they speak again."""


@dataclass(frozen=True, slots=True)
class Outflow:
    """What a sender counts for one receiver.

    Attributes
    ----------
    linked
        Whether the receiver is connected and was welcomed.
    offered, received, stored
        Highest message numbers given to the channel and acknowledged.
    sent, resent
        Messages put on the wire for the first time, and again.
    links
        Connections and resend requests of the receiver.
    retained, retained_bytes
        Messages and bytes held until stored.
    forgotten
        Messages dropped by `forget` before they were stored.
    invalid
        Acknowledgements of messages that were never sent; ignored.
    """

    linked: bool
    offered: int
    received: int
    stored: int
    sent: int
    resent: int
    links: int
    retained: int
    retained_bytes: int
    forgotten: int
    invalid: int


class Outgoing:
    """The sender's half, for one receiver. Not thread-safe.

    Parameters
    ----------
    session
        Random number, not 0, of this numbering.
    bound_bytes
        Bytes retained before `has_room` says no.
    """

    def __init__(self, session: int, bound_bytes: int) -> None:
        self._retention = Retention(bound_bytes)
        self._links = self._sent = self._resent = self._forgotten = self._invalid = 0
        self._incarnation = 0
        self._displaced: list[int] = []
        self._start(session)

    def _start(self, session: int) -> None:
        self._session = session
        self._offered = self._received = self._stored = 0
        self._link = self._until = self._highest = 0
        self._first = self._cursor = 1
        self._linked = False
        self._replies: list[Message] = []
        self._headers: dict[str, tuple[int, Scan]] = {}

    @property
    def linked(self) -> bool:
        """Whether messages may be sent now."""
        return self._linked

    @property
    def incarnation(self) -> int:
        """Which receiver object is served; 0 before the first hello."""
        return self._incarnation

    def displaced(self, incarnation: int) -> bool:
        """Tell whether this receiver object was replaced by another of its name."""
        return incarnation in self._displaced

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if this channel were dropped."""
        return not self._retention and not self._headers

    @property
    def delivered(self) -> bool:
        """Whether everything offered has reached the receiver's memory."""
        return self._received == self._offered

    def has_room(self, batch: FrameBatch) -> bool:
        """Tell whether retention can take this batch; if not, the source must wait."""
        return self._retention.has_room(weight_bytes(Batch(0, batch)))

    def offer(self, content: Scan | FrameBatch | ScanEnd) -> int:
        """Number a header, batch or end, and retain it until stored; return its number."""
        self._offered += 1
        match content:
            case Scan():
                message: Numbered = Begin(self._offered, content)
                self._headers[content.scan_id] = (self._offered, content)
            case FrameBatch():
                message = Batch(self._offered, content)
            case ScanEnd():
                message = End(self._offered, content)
        self._retention.keep(message)
        return self._offered

    def hear(self, message: Hello | Received | Stored) -> None:
        """Take in what the receiver said."""
        match message:
            case Hello():
                self._hello(message)
            case Received() if message.session == self._session:
                self._acknowledge(message.seq, message.credit)
            case Stored() if message.session == self._session:
                self._release(message.seq)

    def _hello(self, hello: Hello) -> None:
        known = hello.incarnation == self._incarnation
        if self.displaced(hello.incarnation) or (known and hello.link < self._link):
            return
        resumes = hello.session == self._session
        if resumes:
            self._release(hello.stored)
        if not known or hello.link > self._link or not self._linked:
            self._relink(hello, min(hello.received, self._highest) if resumes else 0)
        elif resumes:
            self._acknowledge(hello.received, hello.credit)
        self._replies.append(self._welcome(hello.received if resumes else 0))

    def _relink(self, hello: Hello, received: int) -> None:
        self._links += 1
        if self._incarnation not in (0, hello.incarnation):
            self._displaced = [*self._displaced[1 - MOST_DISPLACED :], self._incarnation]
        self._incarnation, self._link, self._linked = hello.incarnation, hello.link, True
        # What an earlier incarnation stored is released and cannot be sent again.
        self._received = max(received, self._stored)
        self._first = self._cursor = self._received + 1
        self._until = self._received + min(hello.credit, MOST_CREDIT)

    def _welcome(self, received: int) -> Welcome:
        missed = tuple(scan for seq, scan in self._headers.values() if received < seq < self._first)
        return Welcome(self._session, self._link, self._first, self._cursor - 1, missed)

    def _acknowledge(self, received: int, credit: int) -> None:
        if received >= self._cursor:
            self._invalid += 1
            return
        self._received = max(self._received, received)
        self._until = max(self._until, received + min(credit, MOST_CREDIT))

    def _release(self, stored: int) -> None:
        if stored > self._highest:
            self._invalid += 1
            return
        self._stored = max(self._stored, stored)
        self._received = max(self._received, stored)
        for message in self._retention.release(stored):
            if isinstance(message, End):
                self._headers.pop(message.end.scan_id, None)

    def due(self) -> list[Message]:
        """Return what must go on the wire now, in order; each call returns it once."""
        messages, self._replies = self._replies, []
        if not self._linked:
            return messages
        self._cursor = max(self._cursor, self._stored + 1)
        while self._cursor <= min(self._until, self._offered):
            messages.append(self._stamped(self._retention.message(self._cursor)))
            if self._cursor > self._highest:
                self._highest = self._cursor
                self._sent += 1
            else:
                self._resent += 1
            self._cursor += 1
        return messages

    def _stamped(self, message: Numbered) -> Message:
        match message:
            case Begin(seq=seq, scan=scan):
                return Begin(seq, scan, self._session, self._link)
            case Batch(seq=seq, batch=batch):
                return Batch(seq, batch, self._session, self._link)
            case End(seq=seq, end=end):
                return End(seq, end, self._session, self._link)

    def unlink(self) -> None:
        """Note that the connection is gone; nothing is sent until the next hello."""
        self._linked = False

    def forget(self, session: int) -> None:
        """Drop everything retained and start a new numbering; a connected receiver is told.

        Parameters
        ----------
        session
            Random number of the new numbering, other than the one before.
        """
        linked, self._forgotten = self._linked, self._forgotten + len(self._retention)
        self._retention = Retention(self._retention.bound_bytes)
        self._start(session)
        self._replies = [Knock()] if linked else []

    def statistics(self) -> Outflow:
        """Return the counters."""
        return Outflow(
            linked=self._linked, offered=self._offered, received=self._received, stored=self._stored,
            sent=self._sent, resent=self._resent, links=self._links, retained=len(self._retention),
            retained_bytes=self._retention.held_bytes, forgotten=self._forgotten, invalid=self._invalid,
        )  # fmt: skip


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


class Incoming:
    """The receiver's half. Not thread-safe.

    Parameters
    ----------
    receiver
        Name under which frames are addressed to it.
    incarnation
        Random number, not 0, of this object.
    credit
        Messages it will hold that nobody has taken.
    """

    def __init__(self, receiver: str, incarnation: int, credit: int) -> None:
        self._name, self._incarnation = receiver, incarnation
        self._credit = min(credit, MOST_CREDIT)
        self._session = self._sessions = self._delivered = 0
        self._duplicates = self._stale = self._gaps = self._skipped = self._overrun = 0
        self._link = 1
        self._welcomed = self._asks = False
        self._refused: Refused | None = None
        self._start(0, 0)

    def _start(self, session: int, received: int) -> None:
        self._session = session
        self._received = self._stored = self._told_stored = received
        # The last hello told the credit of another numbering, so tell this one's anew.
        self._told_received = self._told_until = received
        self._held = 0
        # Delivered and not stored, in order; a dict because any of them may be stored first.
        self._unstored: dict[int, None] = {}

    @property
    def session(self) -> int:
        """The numbering in force; 0 before the first welcome."""
        return self._session

    @property
    def welcomed(self) -> bool:
        """Whether the sender answered on the present link."""
        return self._welcomed

    @property
    def refused(self) -> Refused | None:
        """Why the sender will not serve this receiver, if it said so."""
        return self._refused

    @property
    def owes(self) -> bool:
        """Whether an acknowledgement waits that is not urgent."""
        return self._welcomed and (self._received, self._until) != (self._told_received, self._told_until)

    @property
    def _until(self) -> int:
        return self._received + self._credit - self._held

    @property
    def _urgent(self) -> bool:
        # A quarter of the window at a time: enough to keep the sender busy, few wake-ups.
        return self._welcomed and self._until - self._told_until >= max(1, self._credit // 4)

    def hear(self, message: Message) -> Numbered | None:
        """Take in a message; return it if it is the next in order, to be delivered once."""
        match message:
            case Knock():
                self._relink()
            case Welcome():
                self._welcome(message)
            case Refused():
                self._refused = message
            case Begin() | Batch() | End():
                return self._numbered(message)
        return None

    def _relink(self) -> None:
        self._link += 1
        self._welcomed, self._asks = False, True

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.link != self._link:
            self._stale += 1
            return
        if welcome.session != self._session:
            self._sessions += 1
            self._start(welcome.session, welcome.first - 1)
        elif not self._welcomed and welcome.first > self._received + 1:
            self._skip_to(welcome.first - 1)
        self._welcomed = True
        if welcome.sent > self._received:
            self._gaps += 1
            self._relink()

    def _skip_to(self, received: int) -> None:
        self._skipped += received - self._received
        self._received = received

    def _numbered(self, message: Numbered) -> Numbered | None:
        if not self._welcomed or (message.session, message.link) != (self._session, self._link):
            self._stale += 1
        elif message.seq <= self._received:
            self._duplicates += 1
        elif message.seq > self._received + 1:
            self._gaps += 1
            self._relink()
        elif self._held >= self._credit:
            self._overrun += 1
        else:
            self._received = message.seq
            self._held += 1
            self._delivered += 1
            self._unstored[message.seq] = None
            return message
        return None

    def take(self, session: int, count: int = 1) -> bool:
        """Note that messages left this memory; tell whether `due` should be sent at once."""
        if session == self._session:
            self._held -= count
        return self._urgent

    def store(self, session: int, numbers: Iterable[int]) -> bool:
        """Note that messages are stored; tell whether `due` should be sent at once.

        What is acknowledged is the run of numbers without gaps, so one message that is
        never stored holds back all that follow it.
        """
        if session != self._session:
            return False
        for number in numbers:
            self._unstored.pop(number, None)
        self._stored = next(iter(self._unstored), self._received + 1) - 1
        return self._stored > self._told_stored

    def ask(self) -> None:
        """Say hello again: nothing was heard for a while."""
        self._asks = True

    def due(self, flush: bool = False) -> list[Message]:
        """Return what must go on the wire now; with `flush`, also what is not urgent."""
        if self._refused:
            return []
        if self._asks:
            self._asks, self._told_stored = False, self._stored
            return [self._told(self._hello())]
        messages: list[Message] = []
        if self._urgent or (flush and self.owes):
            credit = self._credit - self._held
            messages.append(self._told(Received(self._received, credit, self._session)))
        if self._stored > self._told_stored:
            self._told_stored = self._stored
            messages.append(Stored(self._stored, self._session))
        return messages

    def _told(self, message: Message) -> Message:
        self._told_received, self._told_until = self._received, self._until
        return message

    def _hello(self) -> Hello:
        return Hello(
            receiver=self._name, incarnation=self._incarnation, link=self._link, session=self._session,
            received=self._received, stored=self._stored, credit=self._credit - self._held,
        )  # fmt: skip

    def statistics(self) -> Inflow:
        """Return the counters."""
        return Inflow(
            session=self._session, sessions=self._sessions, links=self._link, received=self._received,
            stored=self._stored, held=self._held, delivered=self._delivered, duplicates=self._duplicates,
            stale=self._stale, gaps=self._gaps, skipped=self._skipped, overrun=self._overrun,
        )  # fmt: skip
