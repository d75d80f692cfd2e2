"""The worker that does one measurement after another, so that deciding overlaps measuring.

Acquire, receive, reduce, store; then the news goes into a queue for the thread that
decides. The worker decides nothing itself: it says what happened, and after news of a
halt it does nothing more.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..core import (
    BeamBlanked,
    BeamloopError,
    ChannelClosed,
    FrameBatch,
    GuardReport,
    InstrumentState,
    InstrumentUnreachable,
    LeaseHeld,
    LimitRefused,
    Measurement,
    NotArmed,
    NotRecorded,
    PlanInvalid,
    PointScan,
    ProtocolMismatch,
    UnknownName,
    ValueUnusable,
)
from ..streaming.incoming import IncomingScan
from .instrument import LONGEST_WAIT_S, raise_unless_whole
from .preparation import Preparation
from .record.events import Arrived, Budget, Commanded, Declined, Framed
from .record.run_file import RunFile
from .target_value import TargetValue

REFUSALS = (LimitRefused, NotRecorded, PlanInvalid, UnknownName)
"""Errors after which nothing was exposed and another place may do."""

HALTS = (LeaseHeld, InstrumentUnreachable, ChannelClosed, ProtocolMismatch)
"""Errors after which, as after a blanked beam, nothing can succeed until a person has looked."""


class Acquiring(Protocol):
    """What the worker needs of an instrument: `RemoteInstrument`."""

    def start(self, plan: PointScan, measurement_id: str, request_id: str | None = None) -> IncomingScan:
        """Begin an acquisition."""
        ...

    def discard(self, incoming: IncomingScan) -> None:
        """Drop what still comes of a scan."""
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
class Halted:
    """The instrument will not measure any more; `lost` if that is a fault and no person's wish."""

    reason: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker itself failed; for the other thread to raise."""

    error: BaseException


News = Value | NoValue | Halted | Crashed


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
    """

    def __init__(
        self,
        instrument: Acquiring,
        prepared: Preparation,
        file: RunFile,
        news: Callable[[News], None],
        clock: Callable[[], float],
    ) -> None:
        self._instrument, self._prepared, self._file = instrument, prepared, file
        self._news, self._clock = news, clock
        self._orders: queue.SimpleQueue[Commanded | None] = queue.SimpleQueue()
        self._over = threading.Event()
        # A daemon, so that an abort does not wait for an instrument that hangs.
        self._thread = threading.Thread(target=self._work, name="measuring", daemon=True)
        self._thread.start()

    def measure(self, order: Commanded) -> None:
        """Put a measurement into the queue; any thread may call."""
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
                self._news(news)
                if isinstance(news, Halted):
                    return
        except Exception as error:  # the border of the thread: the other one raises it
            self._news(Crashed(error))

    def _one(self, order: Commanded, wait_s: float) -> News:
        try:
            return self._value(order, wait_s)
        except (NotArmed, BeamBlanked) as error:
            return self._blanked(error)
        except HALTS as error:
            return Halted(f"{type(error).__name__}: {error}", lost=True)
        except BeamloopError as error:
            outcome = "refused" if isinstance(error, REFUSALS) else "failed"
            declined = Declined(
                measurement_id=order.measurement_id, outcome=outcome, error=type(error).__name__, message=str(error)
            )
            return NoValue(declined, self._clock())

    def _blanked(self, error: BeamloopError) -> Halted:
        """Ask the guard who or what has blanked the beam: a person's wish is no fault."""
        told = f"{type(error).__name__}: {error}"
        try:
            reason, activity = self._instrument.guard().reason, self._instrument.state().activity
        except BeamloopError as silence:
            return Halted(f"{told}; then {silence}", lost=True)
        return Halted(f"{reason} ({told})" if reason else told, lost=activity == "lost")

    def _value(self, order: Commanded, wait_s: float) -> Value:
        plan = self._prepared.point(order.suggestion.position)
        asked_s = self._clock()
        incoming = self._instrument.start(plan, order.measurement_id, order.request_id)
        try:
            received = receive(incoming, self._prepared.target, self._clock)
            raise_unless_whole(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        arrived_s = self._clock()
        row = self._file.add(incoming.header, received.batches)
        incoming.stored()
        told_s = self._clock()
        if not math.isfinite(received.value):
            raise ValueUnusable(
                f"the target of {order.measurement_id} is not finite or outside [target] plausible; "
                f"its frame is kept as row {row} of the run file"
            )
        end = incoming.end
        assert end is not None
        exposed_s = plan.dwell_s * len(plan.points)
        budget = Budget(
            wait_s=wait_s, move_s=max(0.0, end.duration_s - exposed_s), acquire_s=exposed_s, produce_s=end.produced_s,
            transfer_s=max(0.0, arrived_s - asked_s - end.produced_s - received.reduce_s),
            reduce_s=received.reduce_s, store_s=told_s - arrived_s,
        )  # fmt: skip
        measurement = Measurement(
            measurement_id=order.measurement_id, candidate=order.suggestion.candidate,
            position=order.suggestion.position, value=received.value, std=received.std,
            electrons=end.electrons, duration_s=end.duration_s,
        )  # fmt: skip
        arrived = Arrived(measurement=measurement, scan_id=incoming.header.scan_id, budget=budget)
        return Value(_rows(order.measurement_id, received.batches), arrived, row, told_s)


@dataclass(frozen=True, slots=True)
class Received:
    """The frames of one measurement, the value they gave and how long reducing them took."""

    batches: tuple[FrameBatch, ...]
    value: float
    std: float | None
    reduce_s: float


def receive(incoming: IncomingScan, target: TargetValue, clock: Callable[[], float]) -> Received:
    """Read a one-point scan to its end, reducing as frames come.

    Raises
    ------
    BeamloopError
        As `IncomingScan.batches`.
    """
    reducing, batches, reduce_s = target.begin(incoming.header), [], 0.0
    for batch in incoming.batches(LONGEST_WAIT_S):
        start_s = clock()
        reducing.add(batch)
        batches.append(batch)
        reduce_s += clock() - start_s
    start_s = clock()
    values, errors = target.values(reducing)
    reduce_s += clock() - start_s
    std = float(errors[0])
    return Received(tuple(batches), float(values[0]), std if math.isfinite(std) else None, reduce_s)


def _rows(measurement_id: str, batches: tuple[FrameBatch, ...]) -> tuple[Framed, ...]:
    return tuple(
        Framed(measurement_id=measurement_id, scan_id=b.scan_id, frames=len(b.indices), nbytes=b.frames.nbytes)
        for b in batches
    )
