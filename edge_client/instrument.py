"""An instrument somewhere else, as an object: read, move, acquire, stop.

A new connection only reads. Commands need the lease, which a heartbeat keeps; when this
process dies the heartbeat stops, the lease runs out and the beam blanks by itself.
Commands outside the limits raise and do nothing.
"""

from __future__ import annotations

import getpass
import itertools
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from ..core import (
    Acquisition,
    BeamBlanked,
    BeamloopError,
    Description,
    DriverFailed,
    GuardReport,
    InstrumentInfo,
    InstrumentState,
    InstrumentUnreachable,
    LeaseHeld,
    LeaseInfo,
    Plan,
    Proof,
    ProtocolMismatch,
    Region,
    Scan,
    ScanIncomplete,
    SetParameters,
    Signal,
    plan_from,
)
from ..core.closing import Closing
from ..core.control import PLANS, PROTOCOL
from ..core.dry_run import DryRun, TrialStep
from ..core.hearing import heard
from ..streaming.incoming import IncomingScan, collect
from ..streaming.reader import Reader
from ..streaming.receiver import Receiver
from ..streaming.relay import Gate
from ..streaming.squeezing import can_squeeze
from ..streaming.viewer import Viewer
from .connection.address import Address
from .connection.clock_offset import ClockOffset, measured_offset
from .connection.control_line import ControlLine
from .connection.guard_line import say
from .connection.patience import Patience
from .connection.reached import reached
from .connection.safety import Safety
from .connection.shown_key import ShownKey, key_from
from .connection.tenure import Tenure

ANNOUNCED_WITHIN_S = 10.0
LONGEST_WAIT_S = 600.0
"""Bound on the wait for the next frames, even while the instrument says that it is acquiring."""


class RemoteInstrument(Closing):
    """One instrument, over its three lines; any thread may call any method. Made by `connect`.

    Parameters
    ----------
    address
        Where it answers.
    client
        This side's unique name; its frames are addressed to it.
    purpose
        Said with the lease where none is given.
    gate
        The way to it, if it is reached through a relay; closed with this connection.
    key
        Shown on all lines; None shows none, as an instrument on this computer may want none.

    Attributes
    ----------
    safety
        Questions about limits and dose.

    Raises
    ------
    InstrumentUnreachable, ProtocolMismatch
        If nobody, or somebody of another version, answers.
    KeyRefused
        If a key is wanted, or this one is not let in.
    """

    def __init__(
        self, address: Address, client: str, purpose: str = "", gate: Gate | None = None, key: ShownKey | None = None
    ) -> None:
        self.address, self.client, self._purpose = address, client, purpose
        self._gate, self._key = gate, key
        self._control = ControlLine(address, client, key=key)
        self.safety = Safety(self._control)
        self._lock = threading.Lock()
        self._receiver: Receiver | None = None
        self._tenure = Tenure(self._control)
        self._numbers = itertools.count(1)
        # Names of the measurements that this object asked for.
        self._asked: set[str] = set()
        try:
            self.description = self._describe()
        except BaseException:
            self._close_lines()
            raise

    @property
    def info(self) -> InstrumentInfo:
        """What the instrument is, as it said on connecting."""
        return self.description.info

    def state(self) -> InstrumentState:
        """Return what the instrument is doing now, who holds the lease and the present values."""
        return heard(InstrumentState, self._control.ask("state"))

    def clock_offset(self) -> ClockOffset | None:
        """Measure by how much the time of day there is ahead of here; None if the server is too old to be asked."""
        try:
            return measured_offset(lambda: float(self._control.ask("clock")["now_s"]))
        except ProtocolMismatch:
            return None

    def read(self, name: str) -> float:
        """Return the present value of a parameter, SI units.

        Raises
        ------
        UnknownName
            If there is no such parameter; the message names the nearest.
        """
        return self.state().parameters[self.info.parameter(name).name]

    def dose(self, everywhere: bool = False) -> Signal:
        """Return the largest dose in each part of the specimen, electrons per square metre, shape (ny, nx).

        Its axes are specimen coordinates, scan position plus stage position. It shows the field of view, or
        `everywhere` that ever took any; `safety.dose()` tells more.

        Raises
        ------
        DoseUncounted
            If the instrument's beam current is not known.
        """
        return self.safety.dose(everywhere).map()

    def check(self, *plans: Plan) -> DryRun:
        """Return what would come of some plans, one after another; nothing is moved or exposed. Needs no lease."""
        return self.safety.check(TrialStep(name=f"plan {i}", plan=plan) for i, plan in enumerate(plans, start=1))

    def take_lease(self, purpose: str = "", break_glass: str = "") -> LeaseInfo:
        """Take the lease and keep it until `release`; asked again, say the new purpose.

        Parameters
        ----------
        purpose
            Why the instrument is commanded; others see it.
        break_glass
            Why the lease is taken from whoever holds it, if they do not answer or will not give it: the beam
            is blanked and their scan halted first, they are told who took it and why, and so is the audit.

        Raises
        ------
        LeaseHeld
            If somebody else holds it; the message says who and why.
        LocalOverride
            If somebody at the instrument has turned the switch.
        """
        return self._tenure.take(purpose or self._purpose, break_glass)

    def wait_for_lease(
        self,
        purpose: str = "",
        timeout_s: float | None = None,
        waiting: Callable[[LeaseInfo, int], None] | None = None,
    ) -> LeaseInfo:
        """Stand in the queue until the lease is ours, and keep it then until `release`.

        The queue is in order of asking and visible to all. Whatever ends the wait, Ctrl-C too, leaves it.

        Parameters
        ----------
        purpose
            Why the instrument will be commanded; others see it.
        timeout_s
            How long to wait; None for ever.
        waiting
            Told who holds the lease and our place in the queue, 1 for next, whenever either changes.

        Raises
        ------
        LeaseHeld
            If it was not ours within `timeout_s`.
        LocalOverride
            If somebody at the instrument has turned the switch.
        """
        return self._tenure.wait(purpose or self._purpose, timeout_s, waiting)

    def hand_over(self, to: str) -> LeaseInfo:
        """Give the lease to a client that waits for it, without a gap; a scan under way goes on. Needs the lease.

        It can also be given back to one that has lost it to another. They hold it from now on, and lose it again
        unless they take it (`take_lease`, `wait_for_lease`) within its length.

        Raises
        ------
        LeaseHeld
            If it is not ours to give.
        UnknownName
            If nobody of this name waits for it or has lost it; the message names those who do.
        """
        return self._tenure.hand_over(to)

    def release(self) -> None:
        """Give the lease back, if it is held."""
        self._tenure.release()

    @contextmanager
    def lease(
        self, purpose: str = "", wait: bool = False, waiting: Callable[[LeaseInfo, int], None] | None = None
    ) -> Iterator[LeaseInfo]:
        """Hold the lease for a block; it is given back however the block ends.

        Parameters
        ----------
        purpose
            Why the instrument is commanded.
        wait, waiting
            Whether to stand in the queue for it, and who is told of our place; see `wait_for_lease`.

        Raises
        ------
        LeaseHeld
            If somebody else holds it and `wait` is false.
        """
        lease = self.wait_for_lease(purpose, waiting=waiting) if wait else self.take_lease(purpose)
        try:
            yield lease
        finally:
            # An instrument that is gone lets the lease run out by itself.
            with suppress(InstrumentUnreachable):
                self.release()

    def prove(self) -> Proof:
        """Prove the chain that stops the instrument: a few tenths of a second. Needs the lease.

        Raises
        ------
        ProofFailed
            If something did not happen as promised; nothing is exposed until a proof passes.
        NotArmed
            If a person has stopped the instrument.
        """
        return heard(Proof, self._control.ask("prove"))

    def arm(self) -> None:
        """Allow exposures again after a stop or pause. Needs the lease."""
        self._control.ask("arm")

    def write(self, values: Mapping[str, float]) -> float:
        """Set parameters, all or none, and wait until they are reached. Needs the lease.

        Returns
        -------
        float
            Instrument seconds it took.

        Raises
        ------
        LimitRefused
            If one is outside its limits; nothing is set.
        UnknownName
            If there is no such parameter.
        PlanInvalid
            If a value is no number.
        """
        plan = plan_from({"kind": "set", "values": dict(values)})
        assert isinstance(plan, SetParameters)
        return float(self._control.ask("set", {"plan": plan.model_dump()})["duration_s"])

    def move(self, **values: float) -> float:
        """Set parameters by name, for example `move(stage_x_m=1e-6)`; see `write`."""
        return self.write(values)

    def scan(
        self,
        detector: str,
        shape: tuple[int, int],
        dwell_s: float,
        region: Region | None = None,
        expected: bool = False,
    ) -> Signal:
        """Scan a grid and return it, shape (ny, nx, *frame_shape). Needs the lease.

        Parameters
        ----------
        detector
            Which detector.
        shape
            Pixels (ny, nx).
        dwell_s
            Exposure of one pixel.
        region
            Rectangle to scan; None for the whole field of view.
        expected
            Ask a simulator or recording for the noise-free expectation.

        Raises
        ------
        LimitRefused, UnknownName, NotRecorded, NotArmed, LeaseHeld
            If it is refused; nothing was exposed.
        BeamBlanked, DriverFailed, ScanIncomplete
            If it did not come to its end.
        """
        plan = {
            "kind": "grid", "detector": detector, "shape": shape, "dwell_s": dwell_s,
            "region": None if region is None else region.model_dump(), "expected": expected,
        }  # fmt: skip
        return self.acquire(_acquisition(plan))

    def points(
        self, detector: str, positions: Iterable[tuple[float, float]], dwell_s: float, expected: bool = False
    ) -> Signal:
        """Measure at positions `(y, x)` in metres, in order; shape (n, *frame_shape). See `scan`."""
        points = [(float(y), float(x)) for y, x in positions]
        plan = {"kind": "points", "detector": detector, "points": points, "dwell_s": dwell_s, "expected": expected}
        return self.acquire(_acquisition(plan))

    def spectrum(self, detector: str, y_m: float, x_m: float, dwell_s: float) -> Signal:
        """Measure at one position and return the frame there, shape frame_shape. See `scan`."""
        point = self.points(detector, [(y_m, x_m)], dwell_s)
        facts = {**point.metadata, "y_m": y_m, "x_m": x_m}
        return Signal(point.data[0], point.axes[1:], point.quantity, point.units, metadata=facts)

    def acquire(self, plan: Acquisition, measurement_id: str | None = None) -> Signal:
        """Carry out a plan and return all its frames; see `scan`."""
        incoming = self.start(plan, measurement_id or f"{self.client}#{next(self._numbers)}")
        try:
            signal = collect(incoming, LONGEST_WAIT_S, allow_incomplete=True, keeps=True)
            self.require_whole(incoming)
        except BeamBlanked as error:
            self.discard(incoming)
            raise BeamBlanked("; ".join(filter(None, (str(error), self.state().notice)))) from None
        except BaseException:
            self.discard(incoming)
            raise
        incoming.stored()
        return signal

    def start(self, plan: Acquisition, measurement_id: str, request_id: str | None = None) -> IncomingScan:
        """Begin an acquisition and return the scan whose frames now come in. Needs the lease.

        Read it to its end and call `stored()`, or `discard` it. Frames that wait for an earlier process of this
        name come if their request is asked again, or by `left_scan`; those still there when something new comes
        are given up, or they would lie in the way.

        Parameters
        ----------
        plan
            What to acquire.
        measurement_id
            Name of the measurement; a simulator's noise depends on it and on nothing else.
        request_id
            Unique name of the request, if it must be known beforehand; asking again with
            the same one begins nothing new.

        Raises
        ------
        BeamloopError
            As `scan`.
        """
        # The receiver must be there before the scan is, or its frames wait at the sender.
        receiver = self._receiving()
        arguments: dict[str, object] = {"plan": plan.model_dump(), "measurement_id": measurement_id}
        self._asked.add(measurement_id)
        header = heard(Scan, self._control.ask("acquire", arguments, request_id)["scan"])
        announced = receiver.scan(
            header.scan_id, ANNOUNCED_WITHIN_S, lambda scan: scan.measurement_id not in self._asked
        )
        return IncomingScan(announced.header, announced.arrivals, Patience(receiver, self.state))

    def left_scan(self, timeout_s: float = ANNOUNCED_WITHIN_S) -> IncomingScan:
        """Return a scan that waits for this name and was not asked for here, the oldest first. Needs no lease.

        An earlier process of this name asked for it and has not stored it; what lacks of it is told by number.

        Raises
        ------
        InstrumentUnreachable
            If none was announced in time.
        """
        receiver = self._receiving()
        announced = receiver.next_scan(timeout_s)
        return IncomingScan(announced.header, announced.arrivals, Patience(receiver, self.state))

    def discard(self, incoming: IncomingScan) -> None:
        """Drop what still comes of a scan, so that it blocks nothing."""
        self._receiving().discard(incoming.header.scan_id)

    def settled(self, scan_ids: Iterable[str]) -> None:
        """Say that scans are kept already, if an earlier process of this name could not say so any more."""
        for scan_id in scan_ids:
            self._receiving().discard(scan_id)

    def watch(self, only: str = "", credit: int = 2) -> Viewer:
        """Look at what is measured here, whoever asked for it; needs no lease and slows nobody. Close it at the end.

        Parameters
        ----------
        only
            Id of the one scan, or measurement, to look at; empty for all.
        credit
            Batches on their way at a time; more are smoother on a long line, and older.
        """
        return Viewer(self.address.frames, self.client, credit, only, self._key and self._key.frames)

    def read_along(self, only: str = "", credit: int = 32) -> Reader:
        """Read what somebody else records, every frame or exactly which were lost. Close it at the end.

        Parameters
        ----------
        only
            Id of the one scan, or measurement, to be read; empty for all.
        credit
            Messages held here that nobody has taken.
        """
        return Reader(self.address.frames, self.client, credit, only, self._key and self._key.frames)

    def stop(self, timeout_s: float = 2.0) -> GuardReport:
        """Halt and blank; the instrument needs `arm` to go on. Needs no lease.

        Both are done at once; the report comes when all is read back at rest, or when the instrument's
        stopping time is over (`connection.guard_line.reports` gives the first answer too).

        Raises
        ------
        InstrumentUnreachable
            If the guard does not answer in time.
        """
        return say(self.address, "stop", timeout_s, self._key)

    def blank(self, timeout_s: float = 2.0) -> GuardReport:
        """Blank the beam now. Needs no lease; see `stop`."""
        return say(self.address, "blank", timeout_s, self._key)

    def pause(self, timeout_s: float = 2.0) -> GuardReport:
        """Hold and blank; `arm` to continue. Needs no lease; see `stop`."""
        return say(self.address, "pause", timeout_s, self._key)

    def guard(self, timeout_s: float = 2.0) -> GuardReport:
        """Return what the guard knows: whether the instrument may expose, and why not. Changes nothing."""
        return say(self.address, "state", timeout_s, self._key)

    def lease_lost(self) -> BeamloopError | None:
        """Return what ended the lease, or None while it is held or was never taken."""
        return self._tenure.lost

    def require_whole(self, incoming: IncomingScan) -> None:
        """Raise the error that says why a scan read to its end is not complete; see `raise_unless_whole`.

        A beam that was blanked because the lease was lost is told with who took it and why.
        """
        try:
            raise_unless_whole(incoming)
        except BeamBlanked as blanked:
            ended = self._tenure.look()
            if not isinstance(ended, LeaseHeld):
                raise
            raise BeamBlanked(f"{blanked}; {ended}") from None

    def close(self) -> None:
        """Give the lease back and close all lines; an instrument that is gone is no error here."""
        # The lease runs out by itself; closing must not hide what went wrong before.
        with suppress(BeamloopError):
            self.release()
        with self._lock:
            receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()
        self._close_lines()

    def _close_lines(self) -> None:
        self._control.close()
        if self._gate is not None:
            self._gate.close()

    def _describe(self) -> Description:
        answer = self._control.ask("describe")
        if answer.get("protocol") != PROTOCOL:
            raise ProtocolMismatch(
                f"{self.address} speaks control protocol {answer.get('protocol')}, this side {PROTOCOL}; "
                "install the same beamloop on both sides"
            )
        try:
            there = heard(Description, answer)
        except ValidationError as error:
            raise ProtocolMismatch(
                f"{self.address} describes itself in a way this version does not know: {error}"
            ) from None
        if there.plans < PLANS:
            raise ProtocolMismatch(
                f"{self.address} takes plans up to version {there.plans}, this side makes version {PLANS}; "
                "install a newer beamloop there"
            )
        return there

    def _receiving(self) -> Receiver:
        with self._lock:
            if self._receiver is None:
                self._receiver = Receiver(
                    self.address.frames, self.client, key=self._key and self._key.frames,
                    squeezed=self.address.is_far and can_squeeze(),
                )  # fmt: skip
            return self._receiver


def connect(
    address: str = "localhost:7440", purpose: str = "", name: str | None = None, key: str | Path | None = None
) -> RemoteInstrument:
    """Connect to an instrument server.

    Parameters
    ----------
    address
        `HOST`, `HOST:PORT`, or `relay://HOST:PORT/NAME` for an instrument that dials out to a relay.
    purpose
        Why it is to be commanded: takes the lease at once. Empty only looks.
    name
        This client's name, unique among those connected; made of user, host and process where None.
        With a key it begins with the key's.
    key
        The key file to show; `none` shows none. Where None, the file that BEAMLOOP_KEY names, if it does.

    Raises
    ------
    KeyRefused
        If a key is wanted, or this one is not let in.
    InstrumentUnreachable
        If nobody answers there.
    ProtocolMismatch
        If the two sides are of versions that do not fit.
    LeaseHeld
        If a purpose was given and somebody else holds the lease.
    """
    shown, client = key_from(key), name or _own_name()
    where, gate = reached(address)
    instrument = RemoteInstrument(where, client if shown is None else shown.own(client), purpose, gate, shown)
    if purpose:
        try:
            instrument.take_lease(purpose)
        except BaseException:
            instrument.close()
            raise
    return instrument


def raise_unless_whole(incoming: IncomingScan) -> None:
    """Raise the error that says why a scan read to its end is not complete.

    Raises
    ------
    BeamBlanked
        If it was stopped, by a person or the guard.
    DriverFailed
        If the driver raised.
    ScanIncomplete
        If frames were lost, or lack although its end says otherwise.
    """
    if incoming.complete:
        return
    end, what = incoming.end, f"scan {incoming.header.scan_id} {incoming.lack()}"
    if end is not None and end.status == "stopped":
        raise BeamBlanked(what)
    if end is not None and end.status == "failed" and not incoming.lost:
        raise DriverFailed(what)
    raise ScanIncomplete(what)


def _acquisition(data: dict[str, object]) -> Acquisition:
    plan = plan_from(data)
    assert not isinstance(plan, SetParameters)
    return plan


def _own_name() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}/{os.getpid()}-{secrets.token_hex(3)}"
