"""One recorder, readers and viewers beside it: every frame is taken, told as lost, or still waits, for each of them.

Simulated from one seed each: messages are lost, doubled and reordered on the way to everybody, connections break, all
of them die and come back, the disk refuses, damages and gives nothing for a while. A failing seed replays.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd, StorageFailed
from beamloop.streaming.channel import Incoming, Outgoing
from beamloop.streaming.loss import Loss
from beamloop.streaming.retention import OVERHEAD_BYTES
from beamloop.streaming.seats import ReaderSeat, RecorderSeat, Seat, ViewerSeat
from beamloop.streaming.wire import Batch, Begin, End, Hello, Knock, Lost, Message, Numbered, Received, Stored

from ..faults.amount import amount, first_seed

BOUND_BYTES = 8 * OVERHEAD_BYTES
SIZE = 3
"""Frames of a batch."""


def _scan(scan_id: str, n: int = 30) -> Scan:
    axes = (Axis(name="index", size=n),)
    return Scan(
        scan_id=scan_id, measurement_id="m", receiver="edge", detector="d", scan_axes=axes, frame_axes=(),
        dtype="<u2", dwell_s=1.0,
    )  # fmt: skip


def _batch(scan_id: str, index: int = 0, size: int = SIZE) -> FrameBatch:
    return FrameBatch(scan_id, np.arange(index, index + size), np.zeros((size, 2)), np.zeros(size, "<u2"))


def _end(scan_id: str, n: int = 30) -> ScanEnd:
    return ScanEnd(scan_id=scan_id, status="complete", n_frames=n)


class Disk:
    """A store that refuses, damages, and gives nothing for a while, as its seed says."""

    def __init__(self, rng: random.Random, bound: int) -> None:
        self.rng, self.bound = rng, bound
        self.batches: dict[int, Batch] = {}
        self.fault, self.calm = "", False
        self.refused = self.stalls = self.most = 0
        self.damaged: Counter[str] = Counter()

    @property
    def held_bytes(self) -> int:
        return len(self.batches) * OVERHEAD_BYTES

    def __len__(self) -> int:
        return len(self.batches)

    def has_room(self, size_bytes: int) -> bool:
        return len(self.batches) < self.bound

    def begin(self, scan: Scan) -> None:
        return

    def end(self, scan_id: str) -> None:
        return

    def put(self, message: Batch) -> bool:
        if not self.calm and self.rng.random() < 0.1:
            self.refused, self.fault = self.refused + 1, "full"
            return False
        self.batches[message.seq], self.fault = message, ""
        self.most = max(self.most, len(self.batches))
        return True

    def get(self, seq: int) -> Batch | Loss:
        if not self.calm and self.rng.random() < 0.1:
            self.stalls += 1
            raise StorageFailed("gone for a moment")
        batch = self.batches[seq].batch
        if not self.calm and self.rng.random() < 0.02:
            self.damaged[batch.scan_id] += len(batch.indices)
            return Loss(batch.scan_id, len(batch.indices))
        return self.batches[seq]

    def drop(self, seq: int) -> None:
        del self.batches[seq]

    def clear(self) -> None:
        self.batches.clear()

    def close(self) -> None:
        return


class Watching:
    """One receiver of any class, its seat, and the wires between them."""

    def __init__(self, world: World, reading: str) -> None:
        self.world, self.rng, self.reading = world, world.rng, reading
        self.disk = Disk(self.rng, 6)
        self.incarnations = 0
        self.account: dict[str, dict[str, int]] = {}
        self.frames: dict[str, Counter[int]] = {}
        self.named: dict[str, set[int]] = {}
        self.archive: dict[int, Numbered] = {}
        self.losses = {}
        self.seat = self.sit()
        self.arrive()

    def sit(self) -> Seat:
        session = self.rng.randrange(1, 1 << 60)
        if self.reading == "record":
            return RecorderSeat(Outgoing(session, BOUND_BYTES, "record", self.disk))
        seat: Seat
        if self.reading == "read":
            seat = ReaderSeat(Outgoing(session, BOUND_BYTES, "read"))
        else:
            seat = ViewerSeat(Outgoing(session, BOUND_BYTES, "live"), BOUND_BYTES)
        for scan, given in self.world.open.values():
            seat.begin(scan, given)
        return seat

    def arrive(self) -> None:
        """Start a new receiver process: everything in its memory and on its wires is gone."""
        self.incarnations += 1
        if self.reading != "record":
            # As the sender does: a new object gets a new seat, and its account begins anew.
            self.seat = self.sit() if self.incarnations > 1 else self.seat
            self.account, self.frames, self.named, self.ended, self.whole = {}, {}, {}, set(), Loss("", 0)
            self.losses: dict[int, int] = {}
            self.first_scan = self.world.begun - len(self.world.open)
        self.credit = self.rng.choice([1, 2, 7])
        self.incoming = Incoming("edge", self.incarnations, self.credit, self.reading)
        self.memory: list[Numbered] = []
        self.taken: list[Numbered] = []
        self.last: int | None = None
        self.up: list[Message] = []
        self.down: list[Message] = []
        self.incoming.ask()

    def carry(self, wire: list[Message], upward: bool, faults: bool) -> None:
        if not wire:
            return
        world = self.world
        place = self.rng.randrange(len(wire)) if faults and self.rng.random() < world.disorder else 0
        message = wire.pop(place)
        if faults and self.rng.random() < world.loss:
            return
        if faults and self.rng.random() < world.doubling:
            wire.append(message)
        if faults and not upward and self.rng.random() < world.damage:
            self.incoming.damaged()
        elif upward:
            assert isinstance(message, Hello | Received | Stored)
            self.seat.channel.hear(message)
        elif (got := self.incoming.hear(message)) is not None:
            assert self.last is None or got.seq == self.last + 1, "delivered out of order, doubled, or with a gap"
            self.last = got.seq
            self.memory.append(got)
            assert len(self.memory) <= self.credit

    def take(self) -> None:
        if self.memory:
            self.taken.append(self.memory.pop(0))
            self.incoming.take(self.incoming.session)
            if self.reading == "live":
                self.store()

    def store(self) -> None:
        """Keep what was taken, or a part of it: what is stored need not be the first."""
        part = [message for message in self.taken if self.world.calming or self.rng.random() < 0.7]
        for message in part:
            if message.seq not in self.archive or self.reading != "record":
                self.note(message)
            if isinstance(message, Lost):
                self.losses[message.seq] = message.loss.count
            self.archive[message.seq] = message
        self.incoming.store(self.incoming.session, [message.seq for message in part])
        self.taken = [message for message in self.taken if message not in part]

    def note(self, message: Numbered) -> None:
        match message:
            case Batch(batch=batch) if batch.scan_id:
                self.frames.setdefault(batch.scan_id, Counter()).update(batch.indices.tolist())
            case Lost(loss=loss) if loss.scans:
                self.whole = Loss("", self.whole.count + loss.count, (), self.whole.scans + loss.scans)
            case Lost(loss=loss):
                counted = self.account.setdefault(loss.scan_id, {"lost": 0})
                counted["lost"] += loss.count
                named = {index for first, last in loss.runs for index in range(first, last + 1)}
                self.named.setdefault(loss.scan_id, set()).update(named)
            case End(end=end):
                self.ended.add(end.scan_id)
            case Batch() | Begin():
                pass

    ended: set[str]
    whole: Loss

    def break_connection(self) -> None:
        self.up, self.down = [], []
        if self.rng.random() < 0.5:
            self.seat.channel.unlink()
        self.incoming.hear(Knock())

    def emit(self, flush: bool) -> None:
        self.up += self.incoming.due(flush)
        self.seat.fill()
        self.down += self.seat.channel.due()

    def quiet(self) -> bool:
        return not (self.up or self.down or self.memory or self.taken)

    def settle(self) -> None:
        """Let the network be perfect until everything is there; assert that it comes to that."""
        self.disk.calm = True
        # A word that was lost on the way is said again in the silence.
        self.incoming.ask()
        for _ in range(60):
            for _ in range(2000):
                self.emit(flush=True)
                if self.quiet():
                    break
                self.carry(self.up, True, False)
                self.carry(self.down, False, False)
                self.take()
                self.store()
            self.seat.fill()
            counted = self.seat.statistics()
            is_empty = (counted.retained, counted.retained_bytes, counted.linked) == (0, 0, True)
            if is_empty and self.incoming.welcomed and not self.seat.channel.stalled:
                return
            self.incoming.ask()
        raise AssertionError(f"{self.reading}: no progress after the faults stopped")

    def check(self) -> None:
        """Compare what was taken and what was told as lost with what was given."""
        scans = {scan_id: n for scan_id, (n, number) in self.world.given.items() if number >= self.first_scan}
        frames = missed = 0
        for scan_id, given in scans.items():
            got, told = self.frames.get(scan_id, Counter()), self.account.get(scan_id, {"lost": 0})["lost"]
            assert not got or max(got.values()) == 1, "a frame was taken twice"
            assert not set(got) & self.named.get(scan_id, set()), "a frame was taken and told as lost"
            if scan_id in self.ended:
                assert len(got) + told == given, (
                    f"{self.reading}: {scan_id}: {len(got)} taken, {told} lost, {given} given"
                )
            else:
                missed += 1
                assert (len(got), told) == (0, 0)
                frames += given
        assert (self.whole.scans, self.whole.count) == (missed, frames)
        counted = self.seat.statistics()
        assert counted.lost == sum(self.losses.values()), "sender and receiver count differently"
        assert counted.invalid == 0

    first_scan = 0


class World:
    """One source, and everybody who listens to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loss, self.doubling, self.disorder, self.damage = (self.rng.choice([0.0, 0.05, 0.3]) for _ in range(4))
        self.breaks, self.deaths = self.rng.choice([0.0, 0.02]), self.rng.choice([0.0, 0.01])
        self.calming = False
        self.pausable = self.rng.random() < 0.5
        self.open: dict[str, tuple[Scan, int]] = {}
        self.given: dict[str, tuple[int, int]] = {}
        self.begun = self.waits = 0
        self.small = self.rng.random() < 0.2
        self.everybody = [Watching(self, reading) for reading in ("record", "read", "live", "live")]
        self.recorder = self.everybody[0]
        self.recorder.ended, self.recorder.whole = set(), Loss("", 0)

    def work(self) -> None:
        """Begin a scan, give frames of it, or end it."""
        if not self.open:
            scan = _scan(f"s{self.begun}")
            self.begun += 1
            self.open[scan.scan_id] = (scan, 0)
            self.given[scan.scan_id] = (0, self.begun - 1)
            for watching in self.everybody:
                watching.seat.begin(scan)
            return
        ((scan_id, (scan, given)),) = self.open.items()
        if given >= (SIZE if self.small else scan.n_frames) or self.rng.random() < 0.03:
            self.finish()
            return
        batch = _batch(scan_id, given)
        if self.pausable and not self.recorder.seat.has_room(batch):
            self.waits += 1
            return
        for watching in self.everybody:
            watching.seat.give(batch)
        self.open[scan_id] = (scan, given + SIZE)
        self.given[scan_id] = (given + SIZE, self.given[scan_id][1])

    def finish(self) -> None:
        for scan_id in list(self.open):
            for watching in self.everybody:
                watching.seat.end(_end(scan_id))
            del self.open[scan_id]

    def step(self) -> None:
        watching = self.rng.choice(self.everybody)
        chance = self.rng.random()
        if chance < self.deaths:
            watching.arrive()
        elif chance < self.deaths + self.breaks:
            watching.break_connection()
        else:
            self.rng.choice([
                self.work, self.work, watching.take, watching.take, watching.store, watching.incoming.ask,
                lambda: watching.carry(watching.up, True, True), lambda: watching.carry(watching.up, True, True),
                lambda: watching.carry(watching.down, False, True), lambda: watching.carry(watching.down, False, True),
                lambda: watching.carry(watching.down, False, True),
            ])()  # fmt: skip
        if self.rng.random() < 0.7:
            watching.emit(self.rng.random() < 0.5)
        self.check_bounds()

    def check_bounds(self) -> None:
        for watching in self.everybody[1:]:
            # Beside the bound: the end and the loss of a scan, which may not wait, of each scan begun within it.
            slack = (2 + 2 * BOUND_BYTES // OVERHEAD_BYTES) * (OVERHEAD_BYTES + 128 * 16)
            twice = 2 if watching.reading == "live" else 1
            assert watching.seat.statistics().retained_bytes <= twice * BOUND_BYTES + slack, watching.reading
        assert self.recorder.disk.most <= self.recorder.disk.bound

    def calm(self) -> None:
        self.calming = True
        self.finish()
        for watching in self.everybody:
            watching.settle()
            watching.check()


def test_schedules_of_faults_leave_every_frame_of_everybody_accounted_for() -> None:
    seen: Counter[str] = Counter()
    for seed in range(first_seed(), first_seed() + amount(150, 5000)):
        world = World(seed)
        try:
            for _ in range(world.rng.choice([200, 1500])):
                world.step()
            world.calm()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        recorder, reader, *viewers = world.everybody
        seen["spilled"] += recorder.disk.most
        seen["refused"] += recorder.disk.refused
        seen["stalls"] += recorder.disk.stalls
        seen["damaged on disk"] += sum(recorder.disk.damaged.values())
        seen["damaged on the way"] += recorder.incoming.statistics().damaged
        seen["lost by the source"] += recorder.seat.statistics().lost
        seen["lost by the reader"] += reader.seat.statistics().lost
        seen["scans lost by the reader"] += reader.whole.scans
        seen["passed over"] += sum(viewer.seat.statistics().lost for viewer in viewers)
        seen["waits"] += world.waits
        seen["deaths"] += sum(watching.incarnations - 1 for watching in world.everybody)
    assert min(seen.values()) > 10, f"the schedules did not reach every fault: {seen}"


def test_the_same_seed_gives_the_same_history() -> None:
    histories = []
    for _ in range(2):
        world = World(23)
        for _ in range(800):
            world.step()
        histories.append([watching.seat.statistics() for watching in world.everybody])
    assert histories[0] == histories[1]
