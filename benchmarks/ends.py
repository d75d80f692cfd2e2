"""The two ends of a measured line: a source in a process of its own, a drain in this one.

`Ours` is the data channel, `Bare` is ZeroMQ with nothing around it (PUSH to PULL, as fast
as it goes): no numbers, no acknowledgements, no checksum, no credit. Both carry messages of
the same size out of the same ring of frames, which is larger than a processor's caches, so
that neither sends the same warm bytes again and again. A line stays open from one passage
to the next; each passage sends so many messages, so ours and bare can take turns.
"""

from __future__ import annotations

import multiprocessing
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Self

import numpy as np
import zmq

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.core.closing import Closing
from beamloop.core.errors import KeyRefused
from beamloop.streaming import IncomingScan, Receiver, Sender
from beamloop.streaming.admittance import CurveKey
from beamloop.streaming.armour import Armour

RING_BYTES = 64 * 2**20
WAIT_S = 60.0
HEADER = bytes(95)
DRAIN = "drain/1"


@dataclass(frozen=True)
class Pair:
    """A CURVE key: its two halves."""

    public: str
    secret: str

    @classmethod
    def new(cls) -> Self:
        """Return a new key."""
        return cls(*(half.decode() for half in zmq.curve_keypair()))


@dataclass(frozen=True)
class Load:
    """What travels: frames of `shape` of uint16, `together` of them in a message, over a transport.

    Attributes
    ----------
    keys
        CURVE keys of the source and of the drain; None goes without.
    """

    shape: tuple[int, ...]
    together: int
    transport: str = "tcp"
    keys: tuple[Pair, Pair] | None = None

    @property
    def message_bytes(self) -> int:
        """Bytes of frames in one message."""
        return int(np.prod(self.shape)) * 2 * self.together

    def messages(self, total_bytes: float) -> int:
        """Return how many messages carry about so many bytes."""
        return max(20, int(total_bytes / self.message_bytes))

    def endpoint(self, name: str) -> str:
        """Return where to listen."""
        return "tcp://127.0.0.1:*" if self.transport == "tcp" else f"ipc:///tmp/beamloop-benchmark-{name}"

    def ring(self) -> list[np.ndarray]:
        """Return frames to send in turn, each of shape (together, *shape): counts of a sparse detector."""
        rng = np.random.default_rng(0)
        count = max(2, min(512, RING_BYTES // self.message_bytes))
        return [rng.poisson(0.4, (self.together, *self.shape)).astype("<u2") for _ in range(count)]


@dataclass(frozen=True)
class Passage:
    """What one passage took.

    Attributes
    ----------
    wall_s
        From the request to the last message in hand.
    source_cpu_s, drain_cpu_s
        Processor time of the whole process at either end.
    messages, total_bytes
        What was carried; bytes are those of the frames alone.
    """

    wall_s: float
    source_cpu_s: float
    drain_cpu_s: float
    messages: int
    total_bytes: int

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.total_bytes / self.wall_s


class Line(Closing):
    """A source in a process of its own and a drain here; `pass_through` measures one passage."""

    def __init__(self, load: Load) -> None:
        self.load = load
        here, there = multiprocessing.Pipe()
        self._told = here
        self._process = multiprocessing.get_context("spawn").Process(
            target=type(self).source, args=(load, there), daemon=True
        )
        self._process.start()
        self.endpoint: str = self._hear()
        self._open()

    @staticmethod
    @abstractmethod
    def source(load: Load, asked: Connection) -> None:
        """Send what is asked for until told None; the other process."""

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _drain(self, messages: int) -> None: ...

    def _hear(self):
        if not self._told.poll(WAIT_S):
            raise TimeoutError(f"the source of {type(self).__name__} said nothing for {WAIT_S:g} s")
        return self._told.recv()

    def pass_through(self, messages: int) -> Passage:
        """Have so many messages sent, take them all, and tell what it took."""
        started, cpu = time.perf_counter(), time.process_time()
        self._told.send(messages)
        self._drain(messages)
        wall_s, drain_cpu_s = time.perf_counter() - started, time.process_time() - cpu
        return Passage(wall_s, self._hear(), drain_cpu_s, messages, messages * self.load.message_bytes)

    def close(self) -> None:
        """End the source."""
        self._told.send(None)
        self._process.join(WAIT_S)
        self._told.close()


def _requests(asked: Connection) -> Iterator[int]:
    """Yield numbers of messages to send until None; answer each with the processor time it took."""
    while True:
        cpu = time.process_time()
        messages = asked.recv()
        if messages is None:
            return
        yield messages
        asked.send(time.process_time() - cpu)


class Bare(Line):
    """ZeroMQ, PUSH to PULL, and nothing else."""

    @staticmethod
    def source(load: Load, asked: Connection) -> None:
        """Send header and frames, as fast as ZeroMQ takes them."""
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.sndhwm = push.rcvhwm = 64
            if load.keys:
                push.curve_server, push.curve_secretkey = True, load.keys[0].secret.encode()
            push.bind(load.endpoint("bare"))
            asked.send(push.getsockopt_string(zmq.LAST_ENDPOINT))
            ring = load.ring()
            for messages in _requests(asked):
                for number in range(messages):
                    push.send_multipart([HEADER, ring[number % len(ring)]], copy=False)

    def _open(self) -> None:
        self._context = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        self._pull.sndhwm = self._pull.rcvhwm = 64
        if self.load.keys:
            source, drain = self.load.keys
            self._pull.curve_publickey, self._pull.curve_secretkey = drain.public.encode(), drain.secret.encode()
            self._pull.curve_serverkey = source.public.encode()
        self._pull.connect(self.endpoint)

    def _drain(self, messages: int) -> None:
        for _ in range(messages):
            self._pull.recv_multipart(copy=False)

    def close(self) -> None:
        """End the source and give the socket back."""
        super().close()
        self._pull.close(0)
        self._context.term()


class Ours(Line):
    """The data channel, record class: every message is numbered, acknowledged and kept until it is stored.

    Attributes
    ----------
    take
        What is done with a scan that arrives; `taken` looks at nothing and says `stored` now and then.
    """

    take: Callable[[IncomingScan], None]

    @staticmethod
    def source(load: Load, asked: Connection) -> None:
        """Send scans of frames."""
        ring = load.ring()
        with Sender(load.endpoint("ours"), armour=_armour(load)) as sender:
            asked.send(sender.endpoint)
            for number, messages in enumerate(_requests(asked)):
                send_scan(sender, load, ring, f"{number}", messages)

    def _open(self) -> None:
        key = None
        if self.load.keys:
            source, drain = self.load.keys
            key = CurveKey(drain.public, drain.secret, source.public)
        self.receiver = Receiver(self.endpoint, DRAIN, key=key)
        self._passages = 0
        self.take = taken

    def _drain(self, messages: int) -> None:
        incoming = self.receiver.scan(f"{self._passages}", WAIT_S)
        self.take(incoming)
        incoming.stored()
        if not incoming.complete:
            raise RuntimeError(f"frames were missed: {incoming.lack()}")
        self._passages += 1

    def close(self) -> None:
        """End both ends."""
        self.receiver.close()
        super().close()


def taken(incoming: IncomingScan) -> None:
    """Take a whole scan, and say `stored` every eight messages."""
    for count, _ in enumerate(incoming.batches(WAIT_S)):
        if count % 8 == 0:
            incoming.stored()


class _OneKey:
    """Admits the drain."""

    def __init__(self, public: str) -> None:
        self._public = public

    def look(self) -> None:
        """Nothing changes here."""

    def admit_new(self, curve: str) -> str:
        """As `admit`."""
        return self.admit(curve)

    def admit(self, curve: str) -> str:
        """Return the name of the key; refuse any other."""
        if curve != self._public:
            raise KeyRefused("that key is not the drain's")
        return DRAIN.partition("/")[0]


def _armour(load: Load) -> Armour | None:
    if load.keys is None:
        return None
    return Armour(load.keys[0].secret, _OneKey(load.keys[1].public), print)


def scan_of(load: Load, scan_id: str, messages: int) -> Scan:
    """Return the header of a scan of so many messages."""
    return Scan(
        scan_id=scan_id, measurement_id="benchmark", receiver=DRAIN, detector="camera",
        scan_axes=(Axis(name="index", size=messages * load.together),),
        frame_axes=tuple(Axis(name=f"axis {n}", size=size) for n, size in enumerate(load.shape)),
        dtype="<u2", dwell_s=1e-4, simulated=True,
    )  # fmt: skip


def send_scan(sender: Sender, load: Load, ring: list[np.ndarray], scan_id: str, messages: int) -> None:
    """Send a whole scan, its frames out of the ring."""
    sender.begin(scan_of(load, scan_id, messages))
    positions = np.zeros((load.together, 2))
    for number in range(messages):
        indices = np.arange(number * load.together, (number + 1) * load.together)
        sender.send(FrameBatch(scan_id, indices, positions, ring[number % len(ring)]))
    sender.end(ScanEnd(scan_id=scan_id, status="complete", n_frames=messages * load.together))
