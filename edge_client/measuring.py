"""The worker that does one measurement after another, so that deciding overlaps measuring.

Acquire, receive, reduce, store; then the news goes into a queue for the thread that
decides. The worker decides nothing itself: it says what happened, and after news of a
halt it does nothing more.

A measurement that an earlier process asked for is looked for before it is asked for again:
in the run file, then at the instrument, which answers a repeated request as it did the
first time. If nobody knows how it ended, it is told as interrupted.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..core import (
    BeamBlanked,
    BeamloopError,
    ChannelClosed,
    DoseRefused,
    DriverFailed,
    FrameBatch,
    GuardReport,
    InstrumentOutside,
    InstrumentState,
    InstrumentUnreachable,
    Interrupted,
    KeyRefused,
    LeaseHeld,
    LeaseTaken,
    LimitRefused,
    LocalOverride,
    Measurement,
    NotArmed,
    NotRecorded,
    PlanInvalid,
    PointScan,
    ProofFailed,
    ProtocolMismatch,
    RoleLacking,
    ScanEnd,
    ScanIncomplete,
    StorageFailed,
    UnknownName,
    ValueUnusable,
)
from ..streaming.incoming import IncomingScan
from .charge import Charge
from .dose_left import DoseLeft
from .preparation import Preparation
from .received import Received, receive, reduced
from .record import events
from .record.events import Arrived, Budget, Closed, Commanded, Declined, Framed
from .record.keeping import Keeping, Kept
from .record.run_file import RunFile, StoredRow

REFUSALS = (LimitRefused, NotRecorded, PlanInvalid, UnknownName)
"""Errors after which nothing was exposed and another place may do."""

HALTS = (
    LeaseHeld, InstrumentUnreachable, ChannelClosed, KeyRefused, ProofFailed, ProtocolMismatch, RoleLacking,
    StorageFailed,
)  # fmt: skip
"""Errors after which, as after a blanked beam, nothing can succeed until a person has looked."""


WISHES = (LeaseTaken, LocalOverride)
"""Those of them behind which a person stands, and no fault."""

CUT_OFF = (BeamBlanked, ChannelClosed, DriverFailed, InstrumentUnreachable, Interrupted, ScanIncomplete)
"""Errors after which a measurement that an earlier process asked for has to be repeated."""

NEVER_BEGUN = (LeaseHeld, NotArmed, ProofFailed)
"""Refusals that were right when they were given: a request that got one is never done, another may be."""


class Acquiring(Protocol):
    """What the worker needs of an instrument: `RemoteInstrument`."""

    def start(self, plan: PointScan, measurement_id: str, request_id: str | None = None) -> IncomingScan:
        """Begin an acquisition."""
        ...

    def discard(self, incoming: IncomingScan) -> None:
        """Drop what still comes of a scan."""
        ...

    def require_whole(self, incoming: IncomingScan) -> None:
        """Raise what kept a scan from being complete."""
        ...

    def state(self) -> InstrumentState:
        """Say what the instrument is doing."""
        ...

    def guard(self) -> GuardReport:
        """Say whether the instrument may expose, and why not."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """A measurement ended with a value; `row` is where the run file keeps it."""

    framed: tuple[Framed, ...]
    arrived: Arrived
    row: int
    told_s: float


@dataclass(frozen=True, slots=True)
class NoValue:
    """A measurement was refused or failed."""

    declined: Declined
    told_s: float


@dataclass(frozen=True, slots=True)
class Broken:
    """A measurement was cut off, and nobody knows whether it was done."""

    interrupted: events.Interrupted
    told_s: float


@dataclass(frozen=True, slots=True)
class NoDose:
    """Candidates have no dose left for a measurement."""

    closed: Closed
    told_s: float


@dataclass(frozen=True, slots=True)
class Halted:
    """The instrument will not measure any more; `lost` if that is a fault and no person's wish.

    `interrupted` is the measurement that was under way, if it is known what it cost.
    """

    reason: str
    lost: bool
    interrupted: events.Interrupted | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a person should know while the worker waits or goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker itself failed; for the other thread to raise."""

    error: BaseException


News = Value | NoValue | Broken | NoDose | Halted | Told | Crashed


class Measuring:
    """One thread that measures what it is told, in order.

    Parameters
    ----------
    instrument
        Where to measure, with the lease held.
    prepared
        The experiment made concrete.
    file
        Where frames are kept; the worker owns it until `close`.
    news
        Takes what happened; called from the worker's thread.
    clock
        Monotonic seconds.
    keeping
        Waits for a disk that is full or gone, the instrument's or this one's; None does not wait.
    charge
        What an interrupted measurement is charged with if nobody tells.
    dose
        Tells which candidates have no dose left; None where nobody counts it.
    """

    def __init__(
        self,
        instrument: Acquiring,
        prepared: Preparation,
        file: RunFile,
        news: Callable[[News], None],
        clock: Callable[[], float],
        keeping: Keeping | None = None,
        charge: Charge | None = None,
        dose: DoseLeft | None = None,
    ) -> None:
        self._instrument, self._prepared, self._file = instrument, prepared, file
        self._news, self._clock = news, clock
        self._keeping = keeping
        self._charge = charge or Charge()
        self._dose = dose
        self._unsettled: frozenset[str] = frozenset()
        self._incoming: IncomingScan | None = None
        self._orders: queue.SimpleQueue[Commanded | None] = queue.SimpleQueue()
        self._over = threading.Event()
        # A daemon, so that an abort does not wait for an instrument that hangs.
        self._thread = threading.Thread(target=self._work, name="measuring", daemon=True)
        self._thread.start()

    def measure(self, order: Commanded) -> None:
        """Put a measurement into the queue; any thread may call."""
        self._orders.put(order)

    def settle(self, orders: Sequence[Commanded]) -> None:
        """Find out how measurements ended that an earlier process asked for; call it before `measure`."""
        self._unsettled = frozenset(order.measurement_id for order in orders)
        for order in orders:
            self._orders.put(order)

    def close(self) -> None:
        """Drop what is queued, let the measurement under way end, and wait for that."""
        self.abandon()
        self._thread.join()

    def abandon(self) -> None:
        """Drop what is queued and wait for nothing."""
        self._over.set()
        self._orders.put(None)

    def _work(self) -> None:
        try:
            while True:
                idle_since = self._clock()
                order = self._orders.get()
                if order is None or self._over.is_set():
                    return
                news = self._one(order, self._clock() - idle_since)
                if not isinstance(news, Halted):
                    # First, so that what is decided next knows of it.
                    self._tell_dose(order, news)
                self._news(news)
                if isinstance(news, Halted):
                    return
        except Exception as error:  # the border of the thread: the other one raises it
            self._news(Crashed(error))

    def _tell_dose(self, order: Commanded, news: News) -> None:
        if self._dose is None:
            return
        self._dose.visit(order.suggestion.candidate)
        if isinstance(news, NoValue) and news.declined.error == DoseRefused.__name__:
            self._dose.bounded()
        # An instrument that cannot be asked now will say so to the next command.
        with suppress(BeamloopError):
            if candidates := self._dose.used_up():
                self._news(NoDose(Closed(candidates=candidates, reason=self._dose.reason), self._clock()))

    def _one(self, order: Commanded, wait_s: float) -> News:
        self._incoming = None
        try:
            return self._value(order, wait_s)
        except BeamloopError as error:
            return self._without_value(order, error)

    def _without_value(self, order: Commanded, error: BeamloopError) -> News:
        is_unsettled = order.measurement_id in self._unsettled
        if isinstance(error, Interrupted) or (is_unsettled and isinstance(error, (*CUT_OFF, *NEVER_BEGUN))):
            return Broken(self._cut_off(order, error), self._clock())
        if isinstance(error, BeamBlanked):
            return self._blanked(error, self._cut_off(order, error))
        if isinstance(error, (NotArmed, InstrumentOutside)):
            return self._blanked(error)
        if isinstance(error, HALTS):
            return Halted(f"{type(error).__name__}: {error}", lost=not isinstance(error, WISHES))
        return self._declined(order, error)

    def _declined(self, order: Commanded, error: BeamloopError) -> NoValue:
        outcome = "refused" if isinstance(error, REFUSALS) else "failed"
        declined = Declined(
            measurement_id=order.measurement_id, outcome=outcome, error=type(error).__name__, message=str(error)
        )
        return NoValue(declined, self._clock())

    def _cut_off(self, order: Commanded, error: BeamloopError) -> events.Interrupted:
        """Return what is known of a measurement that was cut off; it cost what its end told, or the most it can."""
        end = None if self._incoming is None else self._incoming.end
        is_known = end is not None or isinstance(error, NEVER_BEGUN)
        if end is not None:
            electrons, duration_s = end.electrons, end.duration_s
        elif is_known:
            electrons = duration_s = 0.0
        else:
            electrons, duration_s = self._charge.most(self._prepared.experiment.measure.dwell_s, self._instrument)
        return events.Interrupted(
            measurement_id=order.measurement_id, reason=f"{type(error).__name__}: {error}", electrons=electrons,
            duration_s=duration_s, estimated=not is_known,
        )  # fmt: skip

    def _blanked(self, error: BeamloopError, interrupted: events.Interrupted | None = None) -> Halted:
        """Ask the guard who or what has blanked the beam: a person's wish is no fault."""
        told = f"{type(error).__name__}: {error}"
        try:
            reason, state = self._instrument.guard().reason, self._instrument.state()
        except BeamloopError as silence:
            return Halted(f"{told}; then {silence}", lost=True, interrupted=interrupted)
        reason = reason or state.notice
        return Halted(f"{reason} ({told})" if reason else told, lost=state.activity == "lost", interrupted=interrupted)

    def _value(self, order: Commanded, wait_s: float) -> Value:
        if order.measurement_id in self._unsettled:
            stored = self._file.stored(order.measurement_id)
            if stored is not None:
                return self._rescued(order, stored)
        plan = self._prepared.point(order.suggestion.position)
        asked_s = self._clock()
        self._incoming = incoming = self._kept(
            lambda: self._instrument.start(plan, order.measurement_id, order.request_id)
        )
        try:
            received = receive(incoming, self._prepared.target, self._clock)
            self._instrument.require_whole(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        end = incoming.end
        assert end is not None
        arrived_s = self._clock()
        row = self._kept(lambda: self._file.add(incoming.header, received.batches, end))
        incoming.stored()
        told_s = self._clock()
        exposed_s = plan.dwell_s * len(plan.points)
        budget = Budget(
            wait_s=wait_s, move_s=max(0.0, end.duration_s - exposed_s), acquire_s=exposed_s, produce_s=end.produced_s,
            transfer_s=max(0.0, arrived_s - asked_s - end.produced_s - received.reduce_s),
            reduce_s=received.reduce_s, store_s=told_s - arrived_s,
        )  # fmt: skip
        return self._told(order, incoming.header.scan_id, received, row, end, budget)

    def _kept(self, action: Callable[[], Kept]) -> Kept:
        return action() if self._keeping is None else self._keeping(action, lambda text: self._news(Told(text)))

    def _rescued(self, order: Commanded, stored: StoredRow) -> Value:
        """Tell what an earlier process has stored and not written down any more."""
        received = reduced(self._prepared.target, stored.scan, (stored.batch,), self._clock)
        unknown = Budget(
            wait_s=0.0,
            move_s=0.0,
            acquire_s=0.0,
            produce_s=0.0,
            transfer_s=0.0,
            reduce_s=received.reduce_s,
            store_s=0.0,
        )
        return self._told(order, stored.end.scan_id, received, stored.row, stored.end, unknown)

    def _told(
        self, order: Commanded, scan_id: str, received: Received, row: int, end: ScanEnd, budget: Budget
    ) -> Value:
        if not math.isfinite(received.value):
            raise ValueUnusable(
                f"the target of {order.measurement_id} is not finite or outside [target] plausible; "
                f"its frame is kept as row {row} of the run file"
            )
        measurement = Measurement(
            measurement_id=order.measurement_id, candidate=order.suggestion.candidate,
            position=order.suggestion.position, value=received.value, std=received.std,
            electrons=end.electrons, duration_s=end.duration_s,
        )  # fmt: skip
        self._charge.saw(measurement)
        arrived = Arrived(measurement=measurement, scan_id=scan_id, budget=budget)
        return Value(_rows(order.measurement_id, received.batches), arrived, row, self._clock())


def _rows(measurement_id: str, batches: tuple[FrameBatch, ...]) -> tuple[Framed, ...]:
    return tuple(
        Framed(measurement_id=measurement_id, scan_id=b.scan_id, frames=len(b.indices), nbytes=b.frames.nbytes)
        for b in batches
    )
