"""Sends scans to their receivers, keeps every frame until it is stored, pauses the source.

Any thread may call, and puts its own frames on the wire: handing each message to another
thread would cost more than the message. A background thread hears the receivers, and
speaks when a caller finds the socket in use. Frames of a scan go to `Scan.receiver` only,
whether or not that receiver is connected yet. Frames are not copied: the arrays of a batch
belong to the channel once they are given to `send`, and must not be written to afterwards.

A receiver that died keeps its unstored frames here, so that it can come back under the
same name and lose nothing. Whoever learns that it will not come back (its lease ran out,
another client took over) must call `forget`, or the memory stays taken and the next scan
for that name pauses at the bound.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import zmq

from ..core.closing import Closing
from ..core.errors import ChannelClosed, UnknownName, WireInvalid
from ..core.frame import FrameBatch, Scan, ScanEnd
from .channel import MOST_CREDIT, Outflow, Outgoing
from .doorbell import Doorbell
from .keep_alive import keep_alive
from .parts import put, take
from .wire import VERSION, Hello, Knock, Message, Received, Refused, Stored, decode, encode

MOST_RECEIVERS = 256
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
        Counters of each receiver, by name.
    invalid
        Messages ignored because they were not of this protocol.
    """

    receivers: Mapping[str, Outflow]
    invalid: int


class Sender(Closing):
    """The instrument's end of the data channel; thread-safe.

    Parameters
    ----------
    endpoint
        Where to listen; `*` takes a free port.
    retention_bytes
        Bytes kept for one receiver before `send` pauses.

    Attributes
    ----------
    endpoint
        Where it listens, with the real port.

    Raises
    ------
    ChannelClosed
        If the endpoint cannot be listened at.
    """

    def __init__(self, endpoint: str = "tcp://127.0.0.1:*", retention_bytes: int = 256 * 2**20) -> None:
        self._retention_bytes = retention_bytes
        self._channels: dict[str, Outgoing] = {}
        self._routes: dict[bytes, str] = {}
        self._scans: dict[str, Scan] = {}
        self._forgotten: set[str] = set()
        self._invalid = 0
        self._closing_at: float | None = None
        self._ended = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = _listening(self._context, endpoint)
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._bell = Doorbell(self._context)
        # Whoever uses the router holds `_speaking`, and takes `_changed` inside it, never the other way round.
        self._speaking = threading.Lock()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=f"sender {self.endpoint}", daemon=True)
        self._thread.start()

    def begin(self, scan: Scan) -> None:
        """Announce a scan to its receiver.

        Raises
        ------
        ValueError
            If a scan of this id is under way.
        ChannelClosed
            After `close`.
        """
        with self._changed:
            self._refuse_if_closed()
            if scan.scan_id in self._scans or scan.scan_id in self._forgotten:
                raise ValueError(f"scan {scan.scan_id!r} is under way already; every scan needs an id of its own")
            self._scans[scan.scan_id] = scan
            self._channel(scan.receiver).offer(scan)
        self._speak()

    def send(self, batch: FrameBatch, give_up: Callable[[], bool] = lambda: False) -> None:
        """Send frames of a scan; wait while the receiver's retention is at its bound.

        Parameters
        ----------
        batch
            The frames; its arrays must not be written to afterwards.
        give_up
            Asked at least every 20 ms while waiting, from this thread; True ends the wait.

        Raises
        ------
        UnknownName
            If the scan was not begun.
        FrameShapeWrong
            If the frames are not what the scan header announced.
        ChannelClosed
            After `close`, if the receiver was forgotten, or if `give_up` said so.
        """
        batch = _contiguous(batch)
        while True:
            with self._changed:
                scan = self._scan_of(batch.scan_id)
                batch.check(scan)
                channel = self._channel(scan.receiver)
                room = channel.has_room(batch)
                if room:
                    channel.offer(batch)
            if room:
                self._speak()
                return
            if give_up():
                raise ChannelClosed(
                    f"sending to {scan.receiver!r} was given up: {channel.statistics().retained_bytes} bytes wait to "
                    f"be stored there, the bound is {self._retention_bytes}; it is slow, gone, or never says 'stored'"
                )
            with self._changed:
                # Room made since the look above has already been notified, so look again before waiting.
                if not channel.has_room(batch):
                    self._changed.wait(POLL_S)

    def end(self, end: ScanEnd) -> None:
        """Say how a scan ended; never waits. The end of a forgotten receiver's scan is dropped.

        Raises
        ------
        UnknownName
            If the scan was not begun.
        ChannelClosed
            After `close`.
        """
        with self._changed:
            self._refuse_if_closed()
            if end.scan_id in self._forgotten:
                self._forgotten.remove(end.scan_id)
                return
            self._channel(self._scan_of(end.scan_id).receiver).offer(end)
            del self._scans[end.scan_id]
        self._speak()

    def forget(self, receiver: str) -> None:
        """Drop everything retained for a receiver; sending its open scans raises from now on.

        The receiver may say hello again later and gets what is begun after this.
        """
        with self._changed:
            if receiver not in self._channels or self._ended:
                return
            self._channels[receiver].forget(_random())
            lost = [scan.scan_id for scan in self._scans.values() if scan.receiver == receiver]
            for scan_id in lost:
                del self._scans[scan_id]
            self._forgotten.update(lost)
            self._bell.ring()
            self._changed.notify_all()

    def statistics(self) -> SenderStatistics:
        """Return the counters of all receivers."""
        with self._changed:
            receivers = {name: channel.statistics() for name, channel in self._channels.items()}
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
        self._context.term()

    def _refuse_if_closed(self) -> None:
        if self._ended or self._closing_at is not None:
            raise ChannelClosed(f"the sender at {self.endpoint} is closed")

    def _scan_of(self, scan_id: str) -> Scan:
        self._refuse_if_closed()
        if scan_id in self._forgotten:
            raise ChannelClosed(f"the receiver of scan {scan_id!r} was forgotten; its frames have nowhere to go")
        if scan_id not in self._scans:
            known = ", ".join(map(repr, self._scans)) or "none"
            raise UnknownName(f"no scan {scan_id!r} was begun here; under way: {known}")
        return self._scans[scan_id]

    def _channel(self, receiver: str) -> Outgoing:
        if receiver not in self._channels:
            self._channels[receiver] = Outgoing(_random(), self._retention_bytes)
        return self._channels[receiver]

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
                ready = dict(poller.poll(None if self._closing_at is None else int(POLL_S * 1000)))
                if self._bell.inner in ready:
                    with self._changed:
                        self._bell.answer()
                with self._speaking:
                    self._turn()
        finally:
            with self._speaking:
                self._router.close(linger=0)
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _finished(self) -> bool:
        if self._closing_at is None:
            return False
        with self._changed:
            delivered = all(channel.delivered for channel in self._channels.values() if channel.linked)
        return delivered or time.monotonic() > self._closing_at

    def _turn(self) -> None:
        """Say what is due and hear what came, for whoever holds `_speaking`."""
        self._put_due()
        if self._router.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            self._hear_all()
            self._put_due()
            # The descriptor tells of each arrival once, and speaking may have swallowed it.
            if self._router.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                with self._changed:
                    self._bell.ring()

    def _put_due(self) -> None:
        with self._changed:
            due = [(route, self._channels[name].due()) for route, name in self._routes.items()]
        for route, messages in due:
            for message in messages:
                self._put(route, message)

    def _hear_all(self) -> None:
        for _ in range(TURN):
            try:
                route, *parts = take(self._router)
            except zmq.Again:
                return
            try:
                message = decode(parts)
            except WireInvalid:
                self._invalid += 1
                continue
            self._hear(bytes(route), message)

    def _hear(self, route: bytes, message: Message) -> None:
        match message:
            case Hello():
                self._greet(route, message)
            case Received() | Stored():
                with self._changed:
                    name = self._routes.get(route)
                    if name is not None:
                        self._channels[name].hear(message)
                        self._changed.notify_all()
                if name is None:
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
        """Give the name to this route; return the routes of receivers that have no place."""
        channel = self._channel(hello.receiver)
        if channel.displaced(hello.incarnation):
            # A late hello of a replaced receiver must not win the place back.
            return [route]
        replaced = channel.incarnation != hello.incarnation
        old = [known for known, name in self._routes.items() if name == hello.receiver and known != route]
        for known in old:
            del self._routes[known]
        self._routes[route] = hello.receiver
        channel.hear(hello)
        return old if replaced else []

    def _refusal(self, hello: Hello) -> Refused | None:
        if hello.protocol != VERSION:
            return Refused(
                f"the sender at {self.endpoint} speaks data protocol {VERSION}, receiver {hello.receiver!r} speaks "
                f"{hello.protocol}; install the same minor version of beamloop on both sides",
                "ProtocolMismatch",
            )
        with self._changed:
            if hello.receiver in self._channels or len(self._channels) < MOST_RECEIVERS or self._evict():
                return None
        return Refused(f"the sender at {self.endpoint} serves {MOST_RECEIVERS} receivers, all of them with frames kept")

    def _evict(self) -> bool:
        """Make room by dropping a channel that holds nothing; its receiver loses nothing."""
        idle = next((name for name, channel in self._channels.items() if channel.idle), None)
        if idle is None:
            return False
        del self._channels[idle]
        self._routes = {route: name for route, name in self._routes.items() if name != idle}
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
            name = self._routes.pop(route, None)
            if name is not None:
                self._channels[name].unlink()


def _random() -> int:
    return secrets.randbits(62) + 1


def _contiguous(batch: FrameBatch) -> FrameBatch:
    """Return the batch with frames that can go on the wire as they lie, copied only if they cannot."""
    frames = np.ascontiguousarray(batch.frames)
    return batch if frames is batch.frames else replace(batch, frames=frames)


def _listening(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    # A send to a peer that is gone must fail, or its frames would vanish inside the socket.
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.PROBE_ROUTER, 1)
    router.setsockopt(zmq.SNDHWM, 2 * MOST_CREDIT)
    router.setsockopt(zmq.MAXMSGSIZE, 2**16)
    keep_alive(router)
    try:
        router.bind(endpoint)
    except zmq.ZMQError as error:
        router.close(linger=0)
        context.term()
        raise ChannelClosed(f"cannot listen at {endpoint!r}: {error}; name a free port of this machine") from None
    return router
