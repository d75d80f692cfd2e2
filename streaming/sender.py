"""Sends scans to their recorder, keeps every frame until it is stored, pauses the source.

Any thread may call, and puts its own frames on the wire: handing each message to another
thread would cost more than the message. A background thread hears the receivers, and
speaks when a caller finds the socket in use. Frames of a scan go to its recorder,
`Scan.receiver`, whether or not that is connected yet, and to every reader and viewer that is
there (`seats`). Frames are not copied: the arrays of a batch belong to the channel once they
are given to `send`, and must not be written to afterwards.

A recorder that died keeps its unstored frames here, so that it can come back under the
same name and lose nothing. Whoever learns that its lease has ended must call `lapse`, or memory
and disk stay taken; from then on they are shared with other former recorders (`lapsed`).
Readers and viewers are forgotten when they fall silent.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import zmq

from ..core.closing import Closing
from ..core.errors import ChannelClosed, UnknownName, WireInvalid
from ..core.frame import FrameBatch, Scan, ScanEnd
from .armour import Armour
from .channel import Outgoing
from .doorbell import Doorbell
from .flow import Outflow
from .gatehouse import LOOK_S, Gatehouse
from .lapsed import Lapsed
from .left import offer_left
from .listening import listening
from .parts import put, take_routed, waits
from .seats import ReaderSeat, RecorderSeat, Seat, ViewerSeat
from .spill import Spill
from .wire import READINGS, VERSION, Hello, Knock, Message, Received, Refused, Stored, decode, encode

MOST_RECEIVERS = 256
MOST_WATCHERS = 32
"""Readers and viewers at a time; each may take memory up to its bound."""

SILENCE_S = 10.0
"""After this a reader or viewer that was not heard is forgotten; a living one is heard every 0.5 s."""

SHOW_S = 0.02
"""How often a viewer is shown something new, one after another, so that many cost the recorder no more than one."""

LINGER_S = 1.0
POLL_S = 0.02
TURN = 64
"""Messages heard before the I/O thread looks at what it must send."""


@dataclass(frozen=True, slots=True)
class SenderStatistics:
    """What a sender counts.

    Attributes
    ----------
    receivers
        Counters of each receiver, by name; readers and viewers as `NAME (read)` and `NAME (live)`.
    invalid
        Messages ignored because they were not of this protocol.
    """

    receivers: Mapping[str, Outflow]
    invalid: int


@dataclass(eq=False, slots=True)
class _Given:
    """A scan under way: to whom, and how much of it was given."""

    scan: Scan
    pausable: bool
    frames: int = 0
    watchers: set[str] = field(default_factory=set)
    lapsed: bool = False


class Sender(Closing):
    """The instrument's end of the data channel; thread-safe.

    Parameters
    ----------
    endpoint
        Where to listen; `*` takes a free port.
    retention_bytes
        Bytes kept in memory for one recorder, and for all together whose lease has ended.
    armour
        The keys that let receivers in, each to names of its own; None lets everybody in.
    spill_bytes, spill_folder
        Bytes kept for a recorder on disk, in this folder, once memory is full; at both bounds `send` pauses.
        What an earlier sender has left there is offered to its recorders.
    reader_bytes, viewer_bytes
        Bytes kept for one reader and one viewer, in memory.

    Attributes
    ----------
    endpoint
        Where it listens, with the real port.

    Raises
    ------
    ChannelClosed
        If the endpoint cannot be listened at.
    StorageFailed
        If what was left in the folder can neither be read nor be put aside.
    """

    def __init__(
        self, endpoint: str = "tcp://127.0.0.1:*", retention_bytes: int = 256 * 2**20, armour: Armour | None = None,
        spill_bytes: int = 0, spill_folder: Path | None = None, reader_bytes: int = 64 * 2**20,
        viewer_bytes: int = 16 * 2**20,
    ) -> None:  # fmt: skip
        self._retention_bytes, self._reader_bytes, self._viewer_bytes = retention_bytes, reader_bytes, viewer_bytes
        self._spill_bytes, self._spill_folder = spill_bytes, spill_folder
        self._lapsed = Lapsed(retention_bytes, spill_bytes)
        self._gatehouse = None if armour is None else Gatehouse(armour)
        self._seats: dict[str, Seat] = {}
        self._routes: dict[bytes, str] = {}
        # Of readers and viewers: which scan they want, empty for all, and when they were heard.
        self._wants: dict[str, str] = {}
        self._heard_s: dict[str, float] = {}
        self._shown_s, self._turns = float("-inf"), 0
        self._scans: dict[str, _Given] = {}
        self._stalled = False
        self._invalid = 0
        self._closing_at: float | None = None
        self._ended = False
        if spill_folder is not None and spill_bytes:
            self._take_up(spill_folder)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = listening(self._context, endpoint, armour)
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._bell = Doorbell(self._context)
        # Whoever uses the router holds `_speaking`, and takes `_changed` inside it, never the other way round.
        self._speaking = threading.Lock()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=f"sender {self.endpoint}", daemon=True)
        self._thread.start()

    def begin(self, scan: Scan, pausable: bool = True) -> None:
        """Announce a scan to its recorder, and to whoever watches.

        Parameters
        ----------
        pausable
            Whether its source can wait. If not, `send` never does: frames without room are lost, and told.

        Raises
        ------
        ValueError
            If a scan of this id is under way.
        ChannelClosed
            After `close`.
        """
        with self._changed:
            self._refuse_if_closed()
            if scan.scan_id in self._scans:
                raise ValueError(f"scan {scan.scan_id!r} is under way already; every scan needs an id of its own")
            self._lapsed.back(scan.receiver)
            given = self._scans[scan.scan_id] = _Given(scan, pausable)
            self._recorder(scan.receiver).begin(scan)
            for key in self._seats:
                self._show(key, given)
        self._speak()

    def send(self, batch: FrameBatch, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Send frames of a scan; wait while its recorder's retention is at its bound, if the source can.

        Parameters
        ----------
        batch
            The frames; its arrays must not be written to afterwards.
        give_up
            Asked at least every 20 ms while waiting, from this thread; True ends the wait.

        Returns
        -------
        bool
            False if the source cannot wait and the frames are lost, which the recorder is told.

        Raises
        ------
        UnknownName
            If the scan was not begun.
        FrameShapeWrong
            If the frames are not what the scan header announced.
        ChannelClosed
            After `close`, if the recorder's lease ended, or if `give_up` said so.
        """
        batch = _contiguous(batch)
        while True:
            with self._changed:
                given = self._given(batch.scan_id)
                batch.check(given.scan)
                recorder = self._recorder(given.scan.receiver)
                placed = not given.pausable or recorder.has_room(batch)
                taken = placed and self._give(given, recorder, batch)
            if placed:
                self._speak()
                return taken
            if give_up():
                raise ChannelClosed(
                    f"sending to {given.scan.receiver!r} was given up: {self.waits_for(given.scan.receiver)}"
                )
            with self._changed:
                # Room made since the look above has already been notified, so look again before waiting.
                if not recorder.has_room(batch):
                    self._changed.wait(POLL_S)

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended; never waits.

        Raises
        ------
        UnknownName
            If the scan was not begun.
        ChannelClosed
            After `close`.
        """
        with self._changed:
            self._refuse_if_closed()
            given = self._known(end.scan_id)
            self._recorder(given.scan.receiver).end(end)
            for key in given.watchers:
                self._seats[key].end(end)
            del self._scans[end.scan_id]
        self._speak()

    def lapse(self, receiver: str) -> None:
        """Note that a recorder's lease has ended: sending its open scans raises from now on.

        What waits for it is there when it comes back under its name, or is told by number; see `lapsed`.
        """
        with self._changed:
            if receiver not in self._seats or self._ended:
                return
            self._lapsed.add(receiver, self._seats[receiver].channel)
            for given in self._scans.values():
                given.lapsed = given.lapsed or given.scan.receiver == receiver
            self._bell.ring()
            self._changed.notify_all()

    def waits_for(self, receiver: str) -> str:
        """Say in a few words what a source waits for that sends to this recorder, with the bounds."""
        with self._changed:
            kept = self._recorder(receiver).statistics()
        disk = f", {kept.spilled_bytes} on disk, where it is {self._spill_bytes}" if self._spill_bytes else ""
        fault = f"; {kept.fault}" if kept.fault else ""
        return (
            f"{kept.retained_bytes} bytes wait to be stored there, the bound is {self._retention_bytes}{disk}{fault}; "
            "it is slow, gone, or never says 'stored'"
        )

    def statistics(self) -> SenderStatistics:
        """Return the counters of all receivers."""
        with self._changed:
            receivers = {name: seat.statistics() for name, seat in self._seats.items()}
            return SenderStatistics(receivers, self._invalid)

    def close(self) -> None:
        """Deliver what connected receivers can take within `LINGER_S`, then stop; may be repeated."""
        with self._changed:
            if self._closing_at is None and not self._ended:
                self._closing_at = time.monotonic() + LINGER_S
                self._bell.ring()
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            self._bell.close()
            for seat in self._seats.values():
                seat.channel.close()
        self._context.term()

    def _refuse_if_closed(self) -> None:
        if self._ended or self._closing_at is not None:
            raise ChannelClosed(f"the sender at {self.endpoint} is closed")

    def _known(self, scan_id: str) -> _Given:
        if scan_id not in self._scans:
            known = ", ".join(map(repr, self._scans)) or "none"
            raise UnknownName(f"no scan {scan_id!r} was begun here; under way: {known}")
        return self._scans[scan_id]

    def _given(self, scan_id: str) -> _Given:
        self._refuse_if_closed()
        given = self._known(scan_id)
        if given.lapsed:
            raise ChannelClosed(f"the lease of {given.scan.receiver!r}, who asked for scan {scan_id!r}, has ended")
        return given

    def _give(self, given: _Given, recorder: Seat, batch: FrameBatch) -> bool:
        taken = recorder.give(batch)
        for key in given.watchers:
            self._seats[key].give(batch)
        given.frames += len(batch.indices)
        return taken

    def _recorder(self, receiver: str) -> Seat:
        if receiver not in self._seats:
            channel, _ = self._kept()
            self._seats[receiver] = RecorderSeat(channel)
        return self._seats[receiver]

    def _kept(self) -> tuple[Outgoing, Spill | None]:
        """Return a new recorder's channel, and where that keeps what memory has no room for."""
        session, store = _random(), None
        if self._spill_folder is not None and self._spill_bytes:
            store = Spill(self._spill_folder, f"{session:016x}", self._spill_bytes)
        return Outgoing(session, self._retention_bytes, "record", store), store

    def _take_up(self, folder: Path) -> None:
        """Offer what a sender that died has left on the disk; its recorders hold no lease."""
        for name, channel in offer_left(folder, self._kept).items():
            self._seats[name] = RecorderSeat(channel)
            self._lapsed.add(name, channel)

    def _watcher(self, key: str, hello: Hello) -> Seat:
        """Return the seat of a reader or viewer; a new one if it is a new object, which begins anew."""
        seat = self._seats.get(key)
        channel = None if seat is None else seat.channel
        if seat is not None and channel is not None:
            if channel.incarnation == hello.incarnation or channel.displaced(hello.incarnation):
                return seat
            # The channel stays, for it knows whom it displaces.
            channel.forget(_random())
        self._leave(key)
        if hello.reading == "read":
            seat = ReaderSeat(channel or Outgoing(_random(), self._reader_bytes, "read"))
        else:
            half = self._viewer_bytes // 2
            seat = ViewerSeat(channel or Outgoing(_random(), half, "live"), half)
        self._seats[key], self._wants[key] = seat, hello.only
        for given in self._scans.values():
            self._show(key, given)
        return seat

    def _show(self, key: str, given: _Given) -> None:
        """Announce a scan under way to a reader or viewer that wants it."""
        wants = self._wants.get(key)
        if wants is not None and wants in ("", given.scan.scan_id, given.scan.measurement_id):
            given.watchers.add(key)
            self._seats[key].begin(given.scan, given.frames)

    def _leave(self, key: str) -> None:
        """Give up the seat of a reader or viewer."""
        if self._seats.pop(key, None) is not None:
            del self._wants[key], self._heard_s[key]
        for given in self._scans.values():
            given.watchers.discard(key)
        self._routes = {route: name for route, name in self._routes.items() if name != key}

    def _speak(self) -> None:
        """Put on the wire what is due, from the caller's thread if the socket is free."""
        if self._speaking.acquire(blocking=False):
            try:
                if not self._router.closed:
                    self._turn()
            finally:
                self._speaking.release()
        else:
            with self._changed:
                if not self._ended:
                    self._bell.ring()

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._bell.inner, zmq.POLLIN)
        # Its descriptor and not the socket itself, which other threads use meanwhile.
        poller.register(self._router.getsockopt(zmq.FD), zmq.POLLIN)
        try:
            while not self._finished():
                ready = dict(poller.poll(self._patience_ms()))
                with self._speaking:
                    if self._bell.inner in ready:
                        with self._changed:
                            self._bell.answer()
                    self._turn()
        finally:
            with self._speaking:
                self._router.close(linger=0)
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _patience_ms(self) -> int | None:
        """Return how long to wait for news; None where nothing happens without any."""
        if self._wants or self._stalled or self._closing_at is not None:
            return int(POLL_S * 1000)
        return None if self._gatehouse is None else int(LOOK_S * 1000)

    def _finished(self) -> bool:
        if self._closing_at is None:
            return False
        with self._changed:
            delivered = all(seat.channel.delivered for seat in self._seats.values() if seat.channel.linked)
        return delivered or time.monotonic() > self._closing_at

    def _turn(self) -> None:
        """Hear what came and say what is due, for whoever holds `_speaking`."""
        self._put_due()
        if waits(self._router):
            self._hear_all()
            self._put_due()
            # The descriptor tells of each arrival once, and speaking may have swallowed it.
            if waits(self._router):
                with self._changed:
                    self._bell.ring()

    def _put_due(self) -> None:
        if self._gatehouse is not None:
            for route, refused in self._gatehouse.expelled(self._routes):
                self._put(route, refused)
                self._unlink(route)
        with self._changed:
            due = self._due()
        for route, messages in due:
            for message in messages:
                self._put(route, message)

    def _due(self) -> list[tuple[bytes, list[Message]]]:
        """Return what goes on the wire now, to recorders first."""
        now_s = time.monotonic()
        self._forget_silent(now_s)
        turn = self._next_viewer(now_s)
        due = []
        for route, key in sorted(self._routes.items(), key=lambda routed: routed[1] in self._wants):
            seat = self._seats[key]
            if key == turn or not isinstance(seat, ViewerSeat):
                seat.fill()
            due.append((route, seat.channel.due()))
        self._stalled = any(seat.channel.stalled for seat in self._seats.values())
        return due

    def _next_viewer(self, now_s: float) -> str | None:
        """Return whose turn it is to be shown something new; nobody's most of the time."""
        viewers = [key for key in self._wants if isinstance(self._seats[key], ViewerSeat)]
        if not viewers or now_s - self._shown_s < SHOW_S:
            return None
        self._shown_s, self._turns = now_s, self._turns + 1
        return viewers[self._turns % len(viewers)]

    def _forget_silent(self, now_s: float) -> None:
        for key, heard_s in list(self._heard_s.items()):
            if now_s - heard_s > SILENCE_S:
                self._leave(key)

    def _hear_all(self) -> None:
        for _ in range(TURN):
            try:
                route, parts = take_routed(self._router)
            except zmq.Again:
                return
            try:
                message = decode(parts)
            except WireInvalid:
                self._invalid += 1
                continue
            refused = None if self._gatehouse is None else self._gatehouse.heard(route, message)
            if refused is None:
                self._hear(route.bytes, message)
            else:
                self._put(route.bytes, refused)
                self._unlink(route.bytes)

    def _hear(self, route: bytes, message: Message) -> None:
        match message:
            case Hello():
                self._greet(route, message)
            case Received() | Stored():
                with self._changed:
                    key = self._routes.get(route)
                    if key is not None:
                        self._seats[key].channel.hear(message)
                        self._note_heard(key)
                        self._changed.notify_all()
                if key is None:
                    self._put(route, Knock())
            case Knock():
                pass
            case _:
                self._invalid += 1

    def _greet(self, route: bytes, hello: Hello) -> None:
        refusal = self._refusal(hello)
        if refusal is not None:
            self._put(route, refusal)
            return
        with self._changed:
            lost = self._seat(route, hello)
            self._changed.notify_all()
        for known in lost:
            self._put(known, Refused(f"another receiver of the name {hello.receiver!r} connected and took its place"))

    def _seat(self, route: bytes, hello: Hello) -> list[bytes]:
        """Give the seat to this route; return the routes of receivers that have no place."""
        key = _key(hello)
        seat = self._recorder(key) if _records(hello) else self._watcher(key, hello)
        channel = seat.channel
        if channel.displaced(hello.incarnation):
            # A late hello of a replaced receiver must not win the place back.
            return [route]
        replaced = channel.incarnation != hello.incarnation
        old = [known for known, name in self._routes.items() if name == key and known != route]
        for known in old:
            del self._routes[known]
        self._routes[route] = key
        channel.hear(hello)
        self._note_heard(key)
        return old if replaced else []

    def _note_heard(self, key: str) -> None:
        if key in self._wants:
            self._heard_s[key] = time.monotonic()

    def _refusal(self, hello: Hello) -> Refused | None:
        if hello.protocol != VERSION:
            return Refused(
                f"the sender at {self.endpoint} speaks data protocol {VERSION}, receiver {hello.receiver!r} speaks "
                f"{hello.protocol}; install the same minor version of beamloop on both sides",
                "ProtocolMismatch",
            )
        if hello.reading not in ("", *READINGS):
            return Refused(
                f"receiver {hello.receiver!r} wants class {hello.reading!r:.40}; the sender at {self.endpoint} knows "
                f"{', '.join(READINGS)}",
                "ProtocolMismatch",
            )
        with self._changed:
            if _key(hello) in self._seats:
                return None
            if not _records(hello):
                return self._crowded()
            if len(self._seats) - len(self._wants) < MOST_RECEIVERS or self._evict():
                return None
        return Refused(f"the sender at {self.endpoint} serves {MOST_RECEIVERS} receivers, all of them with frames kept")

    def _crowded(self) -> Refused | None:
        if len(self._wants) < MOST_WATCHERS:
            return None
        return Refused(f"{MOST_WATCHERS} readers and viewers watch the sender at {self.endpoint}, which is the most")

    def _evict(self) -> bool:
        """Make room by dropping a channel that holds nothing, or that of the recorder whose lease ended first."""
        idle = (key for key, seat in self._seats.items() if key not in self._wants and seat.channel.idle)
        gone = next(idle, self._lapsed.oldest)
        if gone is None:
            return False
        self._lapsed.back(gone)
        self._seats.pop(gone).channel.forget(_random())
        self._routes = {route: key for route, key in self._routes.items() if key != gone}
        return True

    def _put(self, route: bytes, message: Message) -> None:
        try:
            put(self._router, [route, *encode(message)])
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self._unlink(route)

    def _unlink(self, route: bytes) -> None:
        with self._changed:
            key = self._routes.pop(route, None)
            if key is None:
                return
            if isinstance(self._seats[key], ViewerSeat):
                # Whoever looks again begins anew.
                self._leave(key)
            else:
                self._seats[key].channel.unlink()


def _records(hello: Hello) -> bool:
    return hello.reading in ("", "record")


def _key(hello: Hello) -> str:
    """Return under which name a receiver is known; a recorder's is its own, so that scans find it."""
    return hello.receiver if _records(hello) else f"{hello.receiver} ({hello.reading})"


def _random() -> int:
    return secrets.randbits(62) + 1


def _contiguous(batch: FrameBatch) -> FrameBatch:
    """Return the batch with frames that can go on the wire as they lie, copied only if they cannot."""
    frames = np.ascontiguousarray(batch.frames)
    return batch if frames is batch.frames else replace(batch, frames=frames)
