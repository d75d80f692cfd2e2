"""Receives the scans addressed to one name, in memory that is bounded, and acknowledges twice.

Whoever reads a scan and finds nothing there keeps watch at the socket itself, so that no
message waits for another thread to wake; a background thread keeps watch while nobody
reads. A message returns its credit when it has
left this memory, so a slow reader slows the sender and nothing is lost; it is released
at the sender when the reader says `stored`. Every message of a scan nobody reads keeps
its credit: read each scan that was asked for, or `discard` it.

The receiver says hello on each new connection and whenever it heard nothing for
`HEARTBEAT_S`, until it is answered, so that either side may vanish and come back.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from ..core.closing import Closing
from ..core.errors import (
    ChannelClosed,
    InstrumentUnreachable,
    KeyRefused,
    NotInstalled,
    WireDamaged,
    WireInvalid,
    error_named,
)
from ..core.frame import Scan
from .admittance import Admittance, CurveKey
from .channel import Incoming
from .doorbell import Doorbell
from .flow import Inflow
from .incoming import Arrivals, IncomingScan, Item
from .incoming import collect as collect
from .keep_alive import keep_alive
from .kept_memory import keep_large_memory
from .loss import Loss
from .parts import put, take
from .squeezing import CODEC, can_squeeze
from .wire import Batch, Begin, End, Lost, Message, Numbered, Refused, Welcome, decode, encode

HEARTBEAT_S = 0.5
OWED_S = 0.01
"""How long an acknowledgement that is not urgent may wait for company."""
LINGER_S = 0.5
MOST_MESSAGE_BYTES = 2**30
TURN = 64
"""Messages heard before the I/O thread looks at what it must send."""


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """What a receiver counts.

    Attributes
    ----------
    channel
        Counters of the channel.
    scans
        Ids of scans that are not finished here, announced or under way.
    invalid
        Messages ignored because they were not of this protocol.
    unclaimed
        Messages dropped because their scan was discarded or never announced.
    lost_scans, lost_frames
        Scans of which nothing at all came, and the frames that they had.
    """

    channel: Inflow
    scans: tuple[str, ...]
    invalid: int
    unclaimed: int
    lost_scans: int
    lost_frames: int


class Receiver(Closing):
    """The client's end of the data channel; thread-safe.

    Parameters
    ----------
    endpoint
        Where the sender listens; the sender need not be there yet.
    name
        Name under which scans are addressed to this receiver. A second receiver of the
        same name takes the place of the first, for good.
    credit
        Messages held here that nobody has taken, of 0.5-2 MiB each.
    key
        Shown to a sender that wants one; the name must then be `KEY/...`.
    reading
        Its class: `record`, the one recorder of the scans addressed to it; `read` and `live` as `Reader`
        and `Viewer`.
    squeezed
        Whether frames should be squeezed on their way, which pays over a network; needs Blosc2.
    only
        Id of the one scan, or measurement, to be read or viewed; empty for all.

    Raises
    ------
    ChannelClosed
        If the endpoint is malformed.
    NotInstalled
        If frames are to be squeezed and Blosc2 is missing.
    """

    def __init__(
        self, endpoint: str, name: str, credit: int = 64, reading: str = "record", only: str = "",
        key: CurveKey | None = None, squeezed: bool = False,
    ) -> None:  # fmt: skip
        if credit < 1:
            raise ValueError(f"credit of {credit} messages was asked for; at least 1 is needed to receive anything")
        if squeezed and not can_squeeze():
            raise NotInstalled("squeezed frames need Blosc2: pip install 'beamloop[network]'")
        self._endpoint, self._name = endpoint, name
        keep_large_memory()
        self._incoming = Incoming(name, secrets.randbits(62) + 1, credit, reading, only, CODEC if squeezed else "")
        self._scans: dict[str, IncomingScan] = {}
        self._discarded: set[str] = set()
        self._invalid = self._unclaimed = 0
        self._lost_whole = Loss("", 0)
        self._heard_at: float | None = None
        self._asked_at = float("-inf")
        self._closing = self._ended = False
        self._doubt = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer, self._admittance = _connected(self._context, endpoint, key)
        self._bell = Doorbell(self._context)
        self._poller = zmq.Poller()
        for polled in (self._bell.inner, self._dealer, self._admittance.events):
            self._poller.register(polled, zmq.POLLIN)
        # Whoever uses the dealer or polls holds `_watch`, and takes `_news` inside it. With `_news` held,
        # `_watch` may only be tried.
        self._watch = threading.Lock()
        self._news = threading.Condition()
        self._visits = self._visits_seen = self._waiting = 0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"receiver {name}", daemon=True)
        self._thread.start()

    def scan(
        self, scan_id: str, timeout_s: float, is_unwanted: Callable[[Scan], bool] = lambda scan: False
    ) -> IncomingScan:
        """Wait until a scan is announced and return it; asked again, return the same object.

        Parameters
        ----------
        is_unwanted
            Tells of a scan that nobody asked for and that lies in the way whether it is to be discarded.

        Raises
        ------
        InstrumentUnreachable
            If it was not announced in time; the message says what was heard instead.
        ChannelClosed
            After `close`, or if another receiver took this name.
        ProtocolMismatch
            If the sender speaks another version.
        """

        def announced() -> bool:
            for other, waiting in list(self._scans.items()):
                if other != scan_id and waiting.arrivals.begin is not None and is_unwanted(waiting.header):
                    self.discard(other)
            return scan_id in self._scans

        with self._news:
            self._until(announced, f"scan {scan_id!r} was not announced", timeout_s)
            scan = self._scans[scan_id]
            self._claim(scan.arrivals)
            return scan

    def next_scan(self, timeout_s: float) -> IncomingScan:
        """Wait until a scan is announced that nobody asked for yet; return the one announced first.

        Raises
        ------
        InstrumentUnreachable, ChannelClosed, ProtocolMismatch
            As `scan`.
        """
        with self._news:
            scan = self._first(lambda arrivals: arrivals.begin is not None, "no scan was announced", timeout_s)
            self._claim(scan.arrivals)
            return scan

    def any_scan(self, timeout_s: float) -> IncomingScan:
        """Wait until anything came of whichever scan, and return that; of several, the one begun first.

        Raises
        ------
        InstrumentUnreachable, ChannelClosed, ProtocolMismatch
            As `scan`.
        """
        with self._news:
            scan = self._first(lambda arrivals: arrivals.waiting > 0, "nothing came", timeout_s)
            self._claim(scan.arrivals)
            return scan

    def _first(self, claim: Callable[[Arrivals], bool], what: str, timeout_s: float) -> IncomingScan:
        def found() -> IncomingScan | None:
            return next((scan for scan in self._scans.values() if claim(scan.arrivals)), None)

        self._until(lambda: found() is not None, what, timeout_s)
        scan = found()
        assert scan is not None
        return scan

    def discard(self, scan_id: str) -> None:
        """Drop a scan, now and whatever of it still comes; the sender is told that it is settled."""
        with self._news:
            scan = self._scans.pop(scan_id, None)
            if scan is None or not scan.arrivals.whole:
                self._discarded.add(scan_id)
            if scan is not None:
                self._settle(scan.arrivals, f"scan {scan_id!r} was discarded")

    def statistics(self) -> ReceiverStatistics:
        """Return the counters."""
        with self._news:
            lost = self._lost_whole
            return ReceiverStatistics(
                self._incoming.statistics(), tuple(self._scans), self._invalid, self._unclaimed, lost.scans, lost.count
            )

    def close(self) -> None:
        """Send the last acknowledgements and stop, within `LINGER_S`; may be repeated."""
        with self._news:
            if not self._closing and not self._ended:
                self._closing = True
                self._leaving.set()
                self._bell.ring()
            self._news.notify_all()
        self._thread.join()
        with self._news:
            self._bell.close()
        self._context.term()

    def next_message(self, arrivals: Arrivals, timeout_s: float) -> Item:
        """Take the next message of a scan, for `IncomingScan.batches`.

        Raises
        ------
        InstrumentUnreachable, ChannelClosed, ProtocolMismatch
            As `scan`.
        """
        what = f"no further message of scan {arrivals.scan_id!r} came"
        with self._news:
            self._until(lambda: bool(arrivals.queue or arrivals.broken), what, timeout_s)
            if not arrivals.queue:
                raise ChannelClosed(arrivals.broken)
            message, urgent = self._take(arrivals)
        if urgent:
            self._speak()
        return message

    def acknowledge(self, arrivals: Arrivals) -> None:
        """Tell the sender that everything taken of a scan is stored, for `IncomingScan.stored`."""
        with self._news:
            urgent = self._store(arrivals)
            scan = self._scans.get(arrivals.scan_id)
            if arrivals.over and scan is not None and scan.arrivals is arrivals:
                del self._scans[arrivals.scan_id]
        if urgent:
            self._speak()

    def _take(self, arrivals: Arrivals) -> tuple[Item, bool]:
        """Return the next message, and whether the sender should hear at once that it was taken."""
        message = arrivals.queue.popleft()
        arrivals.over = isinstance(message, End)
        return message, self._return_credit(arrivals, message.seq)

    def _claim(self, arrivals: Arrivals) -> None:
        if arrivals.begin is not None:
            if self._return_credit(arrivals, arrivals.begin):
                self._ring()
            arrivals.begin = None

    def _return_credit(self, arrivals: Arrivals, seq: int) -> bool:
        arrivals.unstored.append(seq)
        return self._incoming.take(arrivals.session)

    def _store(self, arrivals: Arrivals) -> bool:
        urgent = self._incoming.store(arrivals.session, arrivals.unstored)
        arrivals.unstored.clear()
        return urgent

    def _settle(self, arrivals: Arrivals, reason: str) -> None:
        """Take and acknowledge all that came of a scan; whoever reads it gets the reason."""
        arrivals.broken = reason
        self._claim(arrivals)
        while arrivals.queue:
            self._take(arrivals)
        self._store(arrivals)
        self._ring()
        self._news.notify_all()

    def _ring(self) -> None:
        if not self._ended:
            self._bell.ring()

    def _speak(self) -> None:
        """Put on the wire what is due, from the caller's thread if the socket is free."""
        if self._watch.acquire(blocking=False):
            try:
                if not self._dealer.closed:
                    self._put_due(flush=False)
            finally:
                self._leave_watch()
        else:
            with self._news:
                self._ring()

    def _until(self, came: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Return once `came`; call with `_news` held, which is given up while waiting."""
        deadline = time.monotonic() + timeout_s
        self._visits += 1
        while not came():
            self._raise_if_over()
            left = deadline - time.monotonic()
            if left <= 0:
                raise InstrumentUnreachable(self._silence(what, timeout_s))
            if self._watch.acquire(blocking=False):
                self._news.release()
                try:
                    self._keep_watch(left, came)
                finally:
                    self._watch.release()
                    self._news.acquire()
            else:
                self._waiting += 1
                self._news.wait(left)
                self._waiting -= 1
        if self._waiting:
            # This reader no longer keeps watch, so one of those who wait must.
            self._news.notify_all()

    def _leave_watch(self) -> None:
        self._watch.release()
        with self._news:
            if self._waiting:
                # They found the watch taken, and wait for news that nobody looks for now.
                self._news.notify_all()

    def _keep_watch(self, wait_s: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Hear the sender until `enough`, waiting once at most, and say what is due; hold `_watch`."""
        if self._dealer.closed:
            return
        if self._hear_all(enough):
            self._put_due(flush=False)
            return
        patience_s = min(wait_s, OWED_S if self._incoming.owes else HEARTBEAT_S)
        ready = dict(self._poller.poll(max(1, int(patience_s * 1000))))
        if self._bell.inner in ready:
            with self._news:
                self._bell.answer()
        if self._dealer in ready:
            self._hear_all(enough)
        if self._admittance.events in ready:
            self._heed()
            if len(ready) == 1:
                # A hello now would be sent twice: the sender knocks on a new connection.
                return
        self._put_due(flush=not ready)

    def _raise_if_over(self) -> None:
        refused = self._incoming.refused
        if refused is not None:
            raise error_named(refused.error)(f"{refused.reason} (sender at {self._endpoint})")
        if self._closing or self._ended:
            raise ChannelClosed(f"the receiver {self._name!r} of {self._endpoint} is closed")

    def _silence(self, what: str, timeout_s: float) -> str:
        within = f"{what} within {timeout_s:g} s"
        if self._heard_at is None and self._doubt:
            return f"{within}: {self._endpoint} was connected to, but {self._doubt}"
        if self._heard_at is None:
            return (
                f"{within}: no answer at all from {self._endpoint}; check the address, that the instrument server "
                "runs, and that no firewall is between"
            )
        ago = time.monotonic() - self._heard_at
        waiting = {scan_id: scan.arrivals.waiting for scan_id, scan in self._scans.items()}
        full = ", ".join(f"{scan_id!r} ({count})" for scan_id, count in waiting.items() if count)
        blocked = f"; messages that nobody read wait here, read or discard their scans: {full}" if full else ""
        return f"{within}; the sender at {self._endpoint} was heard {ago:.1f} s ago{blocked}"

    def _serve(self) -> None:
        try:
            while not self._closing:
                if self._watch.acquire(blocking=False):
                    try:
                        self._keep_watch(HEARTBEAT_S)
                    finally:
                        self._leave_watch()
                else:
                    self._leaving.wait(OWED_S)
                self._step_back()
            with self._watch:
                self._put_due(flush=True)
        finally:
            with self._watch, self._news:
                self._admittance.close()
                self._dealer.close(linger=int(LINGER_S * 1000))
                self._ended = True
                self._news.notify_all()

    def _step_back(self) -> None:
        """Leave the watch to readers as long as they come within `OWED_S` of each other."""
        while self._visits != self._visits_seen and not self._closing:
            self._visits_seen = self._visits
            self._leaving.wait(OWED_S)

    def _heed(self) -> None:
        refusal = self._admittance.refusal()
        self._doubt = refusal or self._admittance.doubt()
        if refusal:
            with self._news:
                self._incoming.hear(Refused(refusal, KeyRefused.__name__))
                self._news.notify_all()

    def _hear_all(self, enough: Callable[[], bool]) -> bool:
        """Hear what came, until `enough`; tell whether anything came."""
        for heard in range(TURN):
            try:
                parts = take(self._dealer)
            except zmq.Again:
                return heard > 0
            try:
                message = decode(parts)
            except WireDamaged:
                with self._news:
                    self._incoming.damaged()
                continue
            except WireInvalid:
                self._invalid += 1
                continue
            with self._news:
                self._hear(message)
                if enough():
                    return True
        return True

    def _hear(self, message: Message) -> None:
        self._heard_at = time.monotonic()
        session = self._incoming.session
        delivered = self._incoming.hear(message)
        if isinstance(message, Welcome) and self._incoming.session == message.session:
            if session not in (0, message.session):
                self._break_scans()
            for scan in message.scans:
                if scan.scan_id not in self._scans:
                    self._announce(scan, None)
        if delivered is not None:
            self._deliver(delivered)
        if delivered is not None or self._incoming.refused:
            self._news.notify_all()

    def _break_scans(self) -> None:
        """Give up the scans of a numbering that is gone; those wholly here stay readable."""
        for scan_id, scan in list(self._scans.items()):
            if not scan.arrivals.whole:
                scan.arrivals.broken = (
                    f"the sender at {self._endpoint} restarted or forgot receiver {self._name!r}; the rest of scan "
                    f"{scan_id!r} will not come"
                )
                del self._scans[scan_id]
        self._discarded.clear()
        self._news.notify_all()

    def _announce(self, scan: Scan, begin: int | None) -> None:
        old = self._scans.get(scan.scan_id)
        if old is not None:
            self._settle(old.arrivals, f"scan {scan.scan_id!r} was announced anew")
        arrivals = Arrivals(scan.scan_id, self._incoming.session, begin)
        self._scans[scan.scan_id] = IncomingScan(scan, arrivals, self)
        self._news.notify_all()

    def _deliver(self, message: Numbered) -> None:
        scan_id = _scan_id(message)
        if not scan_id:
            self._note(message)
        elif scan_id in self._discarded:
            self._drop(message)
        elif isinstance(message, Begin):
            self._announce(message.scan, message.seq)
        elif isinstance(message, Batch | Lost | End) and self._expects(scan_id):
            self._scans[scan_id].arrivals.queue.append(message)
        else:
            self._drop(message)

    def _expects(self, scan_id: str) -> bool:
        return scan_id in self._scans and not self._scans[scan_id].arrivals.whole

    def _note(self, message: Numbered) -> None:
        """Take in what belongs to no scan: whole scans that are lost, or a number that stands for nothing."""
        if isinstance(message, Lost):
            scans, count = self._lost_whole.scans + message.loss.scans, self._lost_whole.count + message.loss.count
            self._lost_whole = Loss("", count, (), scans)
        self._settle_one(message)

    def _drop(self, message: Numbered) -> None:
        self._unclaimed += 1
        self._settle_one(message)
        if isinstance(message, End):
            self._discarded.discard(message.end.scan_id)

    def _settle_one(self, message: Numbered) -> None:
        self._incoming.take(self._incoming.session)
        self._incoming.store(self._incoming.session, [message.seq])

    def _put_due(self, flush: bool) -> None:
        now = time.monotonic()
        with self._news:
            if now - max(self._heard_at or float("-inf"), self._asked_at) >= HEARTBEAT_S:
                self._asked_at = now
                self._incoming.ask()
            due = self._incoming.due(flush)
        for message in due:
            try:
                put(self._dealer, encode(message))
            except zmq.Again:
                # Not connected; the hello on the next connection says all of it again.
                return


def _scan_id(message: Numbered) -> str:
    match message:
        case Begin(scan=scan):
            return scan.scan_id
        case Batch(batch=batch):
            return batch.scan_id
        case Lost(loss=loss):
            return loss.scan_id
        case End(end=end):
            return end.scan_id


def _connected(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, key: CurveKey | None
) -> tuple[zmq.Socket[bytes], Admittance]:
    dealer = context.socket(zmq.DEALER)
    # Nothing may queue for a connection that does not exist: it would be stale when sent.
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    dealer.setsockopt(zmq.RECONNECT_IVL, 50)
    dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    dealer.setsockopt(zmq.MAXMSGSIZE, MOST_MESSAGE_BYTES)
    keep_alive(dealer)
    admittance = Admittance(context, dealer, key)
    try:
        dealer.connect(endpoint)
    except zmq.ZMQError as error:
        admittance.close()
        dealer.close(linger=0)
        context.term()
        raise ChannelClosed(f"cannot connect to {endpoint!r}: {error}; it must be like tcp://host:7441") from None
    return dealer, admittance
