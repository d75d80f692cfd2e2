"""The lossless channel as two state machines: messages in, messages out, nothing else.

No socket, clock, thread or random source is in here, so thousands of schedules of loss,
duplication, reordering and reconnects can be simulated and each replays from its seed.

Each receiver has its own numbering, a *session*. It acknowledges twice: *received*
returns credit, *stored* releases what the sender retains, also beyond a message that is
never stored, so that one scan nobody settles holds back no other. A receiver that sees
a new connection or a gap starts a new *link*: its hello asks to go on from the message
after the last it received, and whatever still arrives under the old link is ignored.
Every hello carries the receiver's whole state, so a lost acknowledgement costs no more
than the time to the next hello, and a hello repeated on the same link is answered with
the number sent so far, which shows a lost tail. A message that fails its checksum is asked
for again in the same way. Frames that could not be kept are told as a `Loss`, in order with
the others, so both sides count the same and nothing is guessed.

What happens at the bound (wait, lose, or pass over) is decided by `seats`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..core.errors import StorageFailed
from ..core.frame import FrameBatch, Scan, ScanEnd
from .flow import Inflow, Outflow
from .loss import Loss
from .retention import Retention, Store, weight_bytes
from .runs import Run, Runs
from .wire import Batch, Begin, End, Hello, Knock, Lost, Message, Numbered, Received, Refused, Stored, Welcome

Content = Scan | FrameBatch | Loss | ScanEnd
"""What a numbered message carries."""

MOST_CREDIT = 256
"""Messages in flight that a sender allows, whatever credit a receiver claims."""

MOST_BEYOND = 1024
"""Runs of stored messages, beyond one that is not, that a receiver tells at a time."""

MOST_DISPLACED = 64
"""Earlier incarnations of a receiver that a sender remembers, to refuse them if they speak again."""


class Outgoing:
    """The sender's half, for one receiver. Not thread-safe.

    Parameters
    ----------
    session
        Random number, not 0, of this numbering.
    bound_bytes
        Bytes retained in memory before they go to the store.
    reading
        Class that the receiver is served as.
    store
        Takes what memory has no room for; None: nothing does, and `has_room` says no.
    """

    def __init__(self, session: int, bound_bytes: int, reading: str = "record", store: Store | None = None) -> None:
        self._retention = Retention(bound_bytes, store)
        self._reading = reading
        self._links = self._sent = self._resent = self._lost = self._forgotten = self._invalid = 0
        self._incarnation = 0
        # Until it says hello, a receiver is taken for one that knows of no losses.
        self._knows_losses, self._codec = False, ""
        self._displaced: list[int] = []
        self._start(session)

    def _start(self, session: int) -> None:
        self._session = session
        self._offered = self._received = self._stored = 0
        self._link = self._until = self._highest = 0
        self._first = self._cursor = 1
        # Numbers above `stored` that were released.
        self._beyond = Runs()
        self._linked = False
        self._replies: list[Message] = []
        self._headers: dict[str, tuple[int, Scan]] = {}

    @property
    def linked(self) -> bool:
        """Whether messages may be sent now."""
        return self._linked

    @property
    def credit(self) -> int:
        """How many messages more would go on the wire at once."""
        return self._until - self._offered if self._linked else 0

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
        return self.takes(weight_bytes(Batch(0, batch)))

    def takes(self, size_bytes: int) -> bool:
        """Tell whether retention can take so many bytes."""
        return self._retention.has_room(size_bytes)

    def close(self) -> None:
        """Close the store's files; what it holds stays on the disk."""
        if self._retention.store is not None:
            self._retention.store.close()

    def offer(self, content: Content) -> int:
        """Number a header, batch, loss or end, and retain it until stored; return its number."""
        self._offered += 1
        match content:
            case Scan():
                message: Numbered = Begin(self._offered, content)
                self._headers[content.scan_id] = (self._offered, content)
            case FrameBatch():
                message = Batch(self._offered, content)
            case Loss():
                message = Lost(self._offered, content)
                self._lost += content.count
            case ScanEnd():
                message = End(self._offered, content)
        self._retention.keep(message)
        return self._offered

    def offer_stored(self) -> int:
        """Number a batch that the store will hold under that number, and return it."""
        self._offered += 1
        self._retention.keep_stored(self._offered)
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
                self._release_beyond(message.beyond)

    def _hello(self, hello: Hello) -> None:
        known = hello.incarnation == self._incarnation
        if self.displaced(hello.incarnation) or (known and hello.link < self._link):
            return
        resumes = hello.session == self._session
        self._knows_losses, self._codec = bool(hello.reading), hello.codec
        if resumes:
            self._release(hello.stored)
            self._release_beyond(hello.beyond)
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
        missed = tuple(
            scan
            for seq, scan in self._headers.values()
            if received < seq and (seq < self._first or seq not in self._retention)
        )
        return Welcome(self._session, self._link, self._first, self._cursor - 1, missed, self._reading)

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
        self._beyond.drop_up_to(self._stored)
        for message in self._retention.release(stored):
            self._settle(message)

    def _release_beyond(self, runs: Iterable[Run]) -> None:
        for first, last in runs:
            if last > self._highest:
                self._invalid += 1
                return
            # Only what is new: a receiver tells all of it each time.
            for start, end in self._beyond.outside(max(first, self._stored + 1), last):
                for seq in range(start, end + 1):
                    self._settle(self._retention.release_one(seq))
                self._beyond.add(start, end)

    def _settle(self, released: Numbered | None) -> None:
        if isinstance(released, End):
            self._headers.pop(released.end.scan_id, None)

    def due(self) -> list[Message]:
        """Return what must go on the wire now, in order; each call returns it once."""
        messages, self._replies = self._replies, []
        if not self._linked:
            return messages
        self._cursor = max(self._cursor, self._stored + 1)
        while self._cursor <= min(self._until, self._offered):
            try:
                messages.append(self._stamped(self._message(self._cursor)))
            except StorageFailed:
                # The disk does not give it now; what follows waits, for order is kept.
                break
            if self._cursor > self._highest:
                self._highest = self._cursor
                self._sent += 1
            else:
                self._resent += 1
            self._cursor += 1
        return messages

    @property
    def stalled(self) -> bool:
        """Whether something could go on the wire now that the disk did not give."""
        return self._linked and self._cursor <= min(self._until, self._offered)

    def _message(self, seq: int) -> Numbered:
        # A number that was stored and released, which another incarnation meets: nothing stands for it.
        return self._retention.message(seq) if seq in self._retention else _nothing(seq)

    def _stamped(self, message: Numbered) -> Message:
        match message:
            case Begin(seq=seq, scan=scan):
                return Begin(seq, scan, self._session, self._link)
            case Batch(seq=seq, batch=batch):
                return Batch(seq, batch, self._session, self._link, self._codec)
            case Lost(seq=seq, loss=loss) if self._knows_losses:
                return Lost(seq, loss, self._session, self._link)
            case Lost(seq=seq, loss=loss):
                _, scan = self._headers.get(loss.scan_id, (0, None))
                return Batch(seq, _nothing(seq, scan).batch, self._session, self._link)
            case End(seq=seq, end=end):
                return End(seq, end, self._session, self._link)

    def unlink(self) -> None:
        """Note that the connection is gone; nothing is sent until the next hello."""
        self._linked = False

    def lose(self) -> None:
        """Let go of every batch that is not stored; whoever comes for it is told which frames it lacks."""
        self._retention.lose()

    def forget(self, session: int) -> None:
        """Drop everything retained and start a new numbering; a connected receiver is told.

        Parameters
        ----------
        session
            Random number of the new numbering, other than the one before.
        """
        linked, self._forgotten = self._linked, self._forgotten + len(self._retention)
        self._retention.clear()
        self._start(session)
        self._replies = [Knock()] if linked else []

    def statistics(self) -> Outflow:
        """Return the counters."""
        held = self._retention
        return Outflow(
            reading=self._reading, linked=self._linked, offered=self._offered, received=self._received,
            stored=self._stored, sent=self._sent, resent=self._resent, links=self._links,
            retained=len(held), retained_bytes=held.held_bytes,
            spilled=held.spilled, spilled_bytes=held.spilled_bytes, fault=held.fault, lost=self._lost + held.lost,
            forgotten=self._forgotten, invalid=self._invalid,
        )  # fmt: skip


def _nothing(seq: int, scan: Scan | None = None) -> Batch:
    """Return a batch without frames, of this scan or of none."""
    shape, dtype = ((0,), "<u2") if scan is None else ((0, *scan.frame_shape), scan.dtype)
    scan_id = "" if scan is None else scan.scan_id
    return Batch(seq, FrameBatch(scan_id, np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(shape, dtype)))


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
    reading, only, codec
        Its class, the one scan or measurement that it wants, and how frames may be squeezed; see `wire.Hello`.
    """

    def __init__(
        self, receiver: str, incarnation: int, credit: int, reading: str = "record", only: str = "", codec: str = ""
    ) -> None:  # fmt: skip
        self._name, self._incarnation = receiver, incarnation
        self._reading, self._only, self._codec = reading, only, codec
        self._credit = min(credit, MOST_CREDIT)
        self._quarter = max(1, self._credit // 4)
        self._session = self._sessions = self._delivered = 0
        self._duplicates = self._stale = self._gaps = self._skipped = self._overrun = self._damaged = 0
        self._link = 1
        self._welcomed = self._asks = False
        self._refused: Refused | None = None
        self._start(0, 0)

    def _start(self, session: int, received: int) -> None:
        self._session = session
        self._received = self._stored = received
        # The last hello told the credit of another numbering, so tell this one's anew.
        self._told_received = self._told_until = received
        self._held = 0
        # Delivered and not stored, in order; a dict because any of them may be stored first.
        self._unstored: dict[int, None] = {}
        self._beyond = Runs()
        # How many were stored since the sender was last told.
        self._untold = 0

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
        return self._welcomed and (self._untold > 0 or self._owes_credit)

    @property
    def _owes_credit(self) -> bool:
        return (self._received, self._until) != (self._told_received, self._told_until)

    @property
    def _until(self) -> int:
        return self._received + self._credit - self._held

    @property
    def _urgent(self) -> bool:
        return self._welcomed and (self._credit_urgent or self._stored_urgent)

    # A quarter of the window at a time: enough to keep the sender busy, few wake-ups.

    @property
    def _credit_urgent(self) -> bool:
        return self._until - self._told_until >= self._quarter

    @property
    def _stored_urgent(self) -> bool:
        # Or at once if nothing waits here: the source may be waiting for just these.
        return self._untold >= self._quarter or (self._untold > 0 and not self._held)

    def hear(self, message: Message) -> Numbered | None:
        """Take in a message; return it if it is the next in order, to be delivered once."""
        match message:
            case Knock():
                self._relink()
            case Welcome():
                self._welcome(message)
            case Refused():
                self._refused = message
            case Begin() | Batch() | Lost() | End():
                return self._numbered(message)
        return None

    def damaged(self) -> None:
        """Note that a message came and failed its checksum; it is asked for again."""
        self._damaged += 1
        # While a new link is being asked for, what is damaged on the old one comes again anyway.
        if self._welcomed:
            self._relink()

    def _relink(self) -> None:
        self._link += 1
        self._welcomed, self._asks = False, True

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.link != self._link:
            self._stale += 1
            return
        if self._reading != "record" and welcome.reading != self._reading:
            self._refused = Refused(
                f"the sender is older than this beamloop and knows no {self._reading!r} receivers; install the same "
                "version on both sides",
                "ProtocolMismatch",
            )
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
        """Note that messages are stored; tell whether `due` should be sent at once."""
        if session != self._session:
            return False
        for number in numbers:
            if number in self._unstored:
                del self._unstored[number]
                self._beyond.add(number, number)
                self._untold += 1
        self._stored = next(iter(self._unstored), self._received + 1) - 1
        self._beyond.drop_up_to(self._stored)
        return self._urgent

    def ask(self) -> None:
        """Say hello again: nothing was heard for a while."""
        self._asks = True

    def due(self, flush: bool = False) -> list[Message]:
        """Return what must go on the wire now; with `flush`, also what is not urgent."""
        if self._refused:
            return []
        if self._asks:
            self._asks, self._untold = False, 0
            return [self._told(self._hello())]
        if not (self._urgent or (flush and self.owes)):
            return []
        messages: list[Message] = []
        if self._credit_urgent or (flush and self._owes_credit):
            credit = self._credit - self._held
            messages.append(self._told(Received(self._received, credit, self._session)))
        if self._untold:
            self._untold = 0
            messages.append(Stored(self._stored, self._session, self._beyond.pairs(MOST_BEYOND)))
        return messages

    def _told(self, message: Message) -> Message:
        self._told_received, self._told_until = self._received, self._until
        return message

    def _hello(self) -> Hello:
        return Hello(
            receiver=self._name, incarnation=self._incarnation, link=self._link, session=self._session,
            received=self._received, stored=self._stored, credit=self._credit - self._held,
            reading=self._reading, only=self._only, beyond=self._beyond.pairs(MOST_BEYOND),
            codec=self._codec,
        )  # fmt: skip

    def statistics(self) -> Inflow:
        """Return the counters."""
        return Inflow(
            session=self._session, sessions=self._sessions, links=self._link, received=self._received,
            stored=self._stored, held=self._held, delivered=self._delivered, duplicates=self._duplicates,
            stale=self._stale, gaps=self._gaps, skipped=self._skipped, overrun=self._overrun,
            damaged=self._damaged,
        )  # fmt: skip
