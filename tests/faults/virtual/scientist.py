"""A client of the virtual world: it measures a list of things, whatever happens, and keeps a notebook.

It is a `RemoteInstrument` as everybody's, with heartbeat, retries and receiver. The notebook is its disk: it
survives the process. A request is noted before it is sent and keeps its name until its outcome is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from beamloop.core import (
    BeamBlanked,
    BeamloopError,
    ChannelClosed,
    DriverFailed,
    DriverSilent,
    InstrumentUnreachable,
    Interrupted,
    LeaseHeld,
    LimitRefused,
    MotionHalted,
    NotArmed,
    PointScan,
    ProofFailed,
    ScanIncomplete,
    StorageFailed,
)
from beamloop.edge_client.instrument import RemoteInstrument, connect, raise_unless_whole
from beamloop.streaming.incoming import IncomingScan

from .bench import duration_of
from .hub import current_task
from .site import PORT

TRIES = 12
"""Names under which one thing is asked for before it counts as impossible."""


@dataclass
class Notebook:
    """What a client has on its disk.

    Attributes
    ----------
    name
        The client's name.
    wanted
        What to do: number of frames of each scan, 0 for a move.
    asked
        Names of requests, by the number of the thing.
    breaks_glass
        Why the lease is taken from whoever holds it; empty if it is asked for.
    full_since_s
        Since when this disk takes nothing, None if it does: what comes waits.
    scans
        Scan of each measurement that was begun, as far as it was told.
    lost
        Frames of which it was said that they will not come, by measurement.
    dwell_s
        Seconds for each frame of each scan, by its name: a request that is sent again says the same.
    outcomes
        How each request ended, as far as the client knows.
    kept
        Frames that were flushed, by measurement and index.
    whole
        Measurements that the client was told are complete.
    wrong
        What could not be, and was.
    """

    name: str
    wanted: list[int]
    asked: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    breaks_glass: str = ""
    full_since_s: float | None = None
    scans: dict[str, str] = field(default_factory=dict)
    lost: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    dwell_s: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    kept: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    whole: set[str] = field(default_factory=set)
    lacks: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    silences: Counter[str] = field(default_factory=Counter)
    missed: set[str] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    born: int = 0

    @property
    def is_done(self) -> bool:
        """Whether everything was done, or was found impossible."""
        return len(self.settled) == len(self.wanted)

    def is_open(self, number: int) -> bool:
        """Tell whether this was asked for and nobody knows yet how it ended."""
        names = self.asked.get(number)
        return bool(names) and names[-1] not in self.outcomes

    def request(self, number: int) -> str:
        """Return the name under which a thing is asked for now; noted before it is sent."""
        names = self.asked[number]
        if not names or names[-1] in self.outcomes:
            names.append(f"{self.name}/{number}-{len(names)}")
        return names[-1]


def scientist(book: Notebook, dwell_s: Callable[[], float]) -> None:
    """Measure until all is done, each scan with the dwell of the moment; start again after every failure."""
    book.born += 1
    while not book.is_done:
        try:
            with connect(f"127.0.0.1:{PORT}", name=book.name) as instrument:
                if book.breaks_glass:
                    instrument.take_lease("virtual", break_glass=book.breaks_glass)
                    book.breaks_glass = ""
                with instrument.lease("virtual"):
                    _do_all(book, instrument, dwell_s)
        except BeamloopError:
            current_task().block(0.2)


def _do_all(book: Notebook, instrument: RemoteInstrument, dwell_s: Callable[[], float]) -> None:
    # As `beamloop resume` does: of what is settled no frame is read any more, and none may wait for that.
    instrument.settled(book.scans[name] for name in book.outcomes if name in book.scans)
    # What was begun comes first: frames that nobody reads would hold up those of the next scan.
    for number in sorted(range(len(book.wanted)), key=lambda number: not book.is_open(number)):
        if number not in book.settled:
            _do(book, number, instrument, dwell_s)


def _do(book: Notebook, number: int, instrument: RemoteInstrument, dwell_s: Callable[[], float]) -> None:
    name, frames = book.request(number), book.wanted[number]
    try:
        if frames:
            _measure(book, name, frames, instrument, book.dwell_s.setdefault(name, dwell_s()))
        else:
            _move(book, number, name, instrument)
        book.outcomes[name] = "done"
        book.settled.add(number)
    except DriverSilent as unknown:
        book.outcomes[name] = f"unknown: {unknown}"
    except (Interrupted, BeamBlanked, ScanIncomplete, DriverFailed, MotionHalted, StorageFailed) as cut:
        book.outcomes[name] = f"cut: {cut}"
    except ProofFailed as refused:
        # Whoever sees to the instrument proves it again; until then nothing is exposed.
        book.outcomes[name] = f"refused: {refused}"
        if instrument.state().activity in ("stopped", "paused"):
            instrument.arm()
        instrument.prove()
    except NotArmed as refused:
        book.outcomes[name] = f"refused: {refused}"
        instrument.arm()
    except (LimitRefused, LeaseHeld) as refused:
        book.outcomes[name] = f"refused: {refused}"
        raise
    if len(book.asked[number]) >= TRIES:
        book.settled.add(number)


def _move(book: Notebook, number: int, name: str, instrument: RemoteInstrument) -> None:
    # Each request has a value of its own, so that nobody can take its reply for another's.
    tilt = float(sum(book.name.encode()) * 100 + 10 * number + len(book.asked[number]))
    plan = {"plan": {"kind": "set", "values": {"tilt": tilt}}}
    took = instrument._control.ask("set", plan, name)["duration_s"]
    if took != duration_of(tilt):
        book.wrong.append(f"{name}: moved to {tilt}, reply {took}")


def _measure(book: Notebook, name: str, frames: int, instrument: RemoteInstrument, dwell_s: float) -> None:
    if _has_all(book, name, frames):
        return
    plan = PointScan(detector="camera", points=tuple((1e-9 * (i % 900), 0.0) for i in range(frames)), dwell_s=dwell_s)
    incoming = _started(book, name, plan, instrument)
    book.scans[name] = incoming.header.scan_id
    if incoming.header.measurement_id != name:
        book.wrong.append(f"{name}: got the scan of {incoming.header.measurement_id}")
    waiting: dict[int, int] = {}
    try:
        for batch in incoming.batches(30.0):
            waiting |= {int(i): int(f[0]) for i, f in zip(batch.indices, batch.frames, strict=True)}
            if len(waiting) % 3 == 0:
                _keep(book, name, waiting, incoming)
        _keep(book, name, waiting, incoming)
        if incoming.taken > frames:
            book.wrong.append(f"{name}: {incoming.taken} frames came of {frames}")
        if not _has_all(book, name, frames):
            book.lacks[name] = incoming.lack()
            raise_unless_whole(incoming)
    except (InstrumentUnreachable, ChannelClosed):
        # The sender keeps it for the next time that it is asked for under this name.
        raise
    except BaseException:
        instrument.discard(incoming)
        raise


def _started(book: Notebook, name: str, plan: PointScan, instrument: RemoteInstrument) -> IncomingScan:
    try:
        return instrument.start(plan, name, name)
    except InstrumentUnreachable as silence:
        if "was not announced" not in str(silence):
            raise
        book.silences[name] += 1
        book.missed.add(name)
        if book.silences[name] < 2:
            raise
        raise ScanIncomplete(f"it was done, and its frames do not come any more: {silence}") from None


def _has_all(book: Notebook, name: str, frames: int) -> bool:
    if set(book.kept[name]) != set(range(frames)):
        return False
    book.whole.add(name)
    return True


def _keep(book: Notebook, name: str, waiting: dict[int, int], incoming: IncomingScan) -> None:
    current_task().block(0.002)
    while book.full_since_s is not None:
        current_task().block(0.05)
    for index, value in waiting.items():
        if index in book.kept[name] and book.kept[name][index] != value:
            book.wrong.append(f"{name}: frame {index} came twice and was not the same")
    book.kept[name] |= waiting
    book.lost[name].update(i for first, last in incoming.lost_frames.pairs() for i in range(first, last + 1))
    waiting.clear()
    incoming.stored()
