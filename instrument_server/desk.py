"""The server's front desk: every request passes lease, limits, guard and stored answers here.

One command at a time, under one lock; questions (`describe`, `state`) never wait for it. What it knows
lives in state machines of its own: the `Lease`, the `CommandTable` and the `Beam`. With a driver, a guard, a
clock and a way of waiting given to it, it runs in simulated time as well.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..core import (
    Acquisition,
    BeamloopError,
    Description,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    InstrumentState,
    LimitRefused,
    Plan,
    PlanInvalid,
    ProofFailed,
    ProtocolMismatch,
    Reply,
    Request,
    RequestReused,
    ScanEnd,
    SetParameters,
    Situation,
    StorageFailed,
    plan_from,
)
from ..core.control import MINOR, PLANS, PROTOCOL, Verb
from .audit import Audit
from .beam import Beam
from .command_table import CommandTable, Ledger
from .guard.proofs import Proofs
from .idle import Idle
from .lease.lease import Lease
from .lease.override import NoSwitch, Override, Switch
from .lease.succession import Succession
from .limits.interlock import Interlock
from .limits.safety_desk import SafetyDesk
from .minutes import Minutes
from .outcome import outcome_of, refusal
from .rights import LOOPBACK, RIGHTS, Caller, require_role
from .voices import DriverVoice, GuardVoice

ANSWER_S = 5.0
"""How long the driver may take to accept a command."""

ARRIVE_S = 100.0
"""How long a move may take; a stage can be slow, and its reply comes when it has arrived."""

BUSY_S = 4.0
"""How long a command waits for the scan before it."""

COMMANDS = frozenset({"arm", "prove", "set", "acquire"})
"""What is done at the instrument, one after another; its answers outlive this process."""

ABOUT_THE_LEASE = frozenset({"lease", "release", "hand_over", "break_glass"})
ABOUT_LIMITS = frozenset({"restrict", "specimen"})
"""What waits for no command, so that a hanging driver keeps nobody from taking over or from narrowing a limit."""


class Desk:
    """Answers requests about one instrument; any thread may call `answer` and `beat`.

    Parameters
    ----------
    version
        The program's version, told to clients.
    interlock
        Limits and dose, that refuse.
    driver, guard
        The lines to the other two processes.
    lease, answers, audit
        Who may command, what was answered, what happened.
    blank
        Blanks the beam without the guard, for when the guard is silent.
    clock
        Monotonic seconds.
    idle
        Waits for the end of a scan.
    switch
        The switch at the instrument that wins over any remote.
    proofs
        Proofs of the chain that stops the beam, without which nothing is exposed; None where there is no such chain.
    today
        Time of day, in seconds since 1970, to compare clocks with.

    Attributes
    ----------
    minutes
        Writes into the audit, also for those around the desk.
    """

    def __init__(
        self, version: str, info: InstrumentInfo, interlock: Interlock, driver: DriverVoice, guard: GuardVoice,
        lease: Lease, answers: Ledger, audit: Audit, blank: Callable[[], None],
        clock: Callable[[], float] = time.monotonic, idle: Idle | None = None, switch: Switch | None = None,
        proofs: Proofs | None = None,
        today: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._version, self._info, self._interlock = version, info, interlock
        self._driver, self._lease = driver, lease
        self._clock, self._idle, self._proofs = clock, idle or Idle(), proofs
        self._beam = Beam(guard, blank, self._guard_is_silent, lambda word: self.minutes.said(word))
        self.minutes = Minutes(audit, self._beam.halt)
        self._succession = Succession(lease, self._beam, driver, self.minutes, clock)
        self._override = Override(switch or NoSwitch(), self._succession, self._beam, self.minutes)
        self._commands, self._words = threading.RLock(), threading.RLock()
        # Names of scans must never come again, not even after a restart: frames are told apart by them.
        self._session, self._scans = secrets.token_hex(3), 0
        self._table = CommandTable(answers, self._session)
        # What was last heard of the instrument, and whether a move has failed since: nobody knows where it stands then.
        self._facts: dict[str, Any] = {}
        self._is_lost = False
        # Which limits a running scan was last judged by, and why the server halted the last one.
        self._upheld, self._notice = interlock.version, ""
        safety = SafetyDesk(info, interlock, self._situation, self._uphold, self.minutes)
        self._deeds: dict[Verb, Callable[[Request], dict[str, Any]]] = {
            **self._succession.deeds, **safety.deeds, "clock": lambda _: {"now_s": today()},
            "arm": self._arm, "prove": self._prove, "set": self._set, "acquire": self._acquire,
        }  # fmt: skip

    def answer(self, request: Request, caller: Caller = LOOPBACK) -> Reply:
        """Do what a request of this caller asks, at most once, and return the reply; never raises BeamloopError."""
        if request.protocol != PROTOCOL:
            mismatch = ProtocolMismatch(
                f"you speak control protocol {request.protocol}, this server speaks {PROTOCOL}; install beamloop "
                f"{self._version} on your side"
            )
            return self.minutes.refused(request, refusal(mismatch))
        if request.verb == "describe":
            return Reply(status="done", value=self._describe(caller))
        if request.verb == "state":
            return Reply(status="done", value=self.state().model_dump())
        try:
            require_role(caller, request.verb)
            return self._done(request)
        except BeamloopError as error:
            return self.minutes.refused(request, refusal(error))

    def _done(self, request: Request) -> Reply:
        if request.verb in ABOUT_THE_LEASE | ABOUT_LIMITS:
            with self._words:
                return self._once(request, lasting=False)
        if request.verb not in COMMANDS:
            reply = self._attempt(request)
            return reply if reply.status == "done" else self.minutes.refused(request, reply)
        with self._commands:
            known = self._table.known(request)
        if known is None and request.verb != "arm":
            # Wait for the scan before it outside the lock, so that nobody else waits with us.
            self._idle.wait(lambda: self._beam.running is None, BUSY_S)
        with self._commands:
            return self._once(request, lasting=True)

    def _once(self, request: Request, lasting: bool) -> Reply:
        """Do it and write it down, unless it was done before."""
        known = self._table.known(request)
        if known is not None:
            return self.minutes.refused(request, known) if known.error == RequestReused.__name__ else known
        reply = self._table.once(request, lambda: self.minutes.kept(request, lambda: self._attempt(request)), lasting)
        if reply.error == StorageFailed.__name__:
            self._beam.halt()
        return reply

    def state(self) -> InstrumentState:
        """Return what the instrument is doing, from what was last heard; asks nobody."""
        facts = self._facts
        return InstrumentState(
            activity=self._beam.activity(),
            beam=self._beam.seen(),
            lease=self._lease.info(self._clock()),
            parameters=facts.get("parameters", {}),
            clock_s=facts.get("clock_s", 0.0),
            dose_electrons=facts.get("dose_electrons", 0.0),
            frames_wait=facts.get("frames_wait", ""),
            local=self._override.control,
            interrupted=self._table.interrupted(),
            notice=self._notice,
            proof=None if self._proofs is None else self._proofs.told(),
        )

    def heard(self, facts: Mapping[str, Any]) -> None:
        """Note the driver's state after a command or a scan."""
        self._facts = dict(facts)

    def told(self, facts: Mapping[str, Any]) -> None:
        """Note what the driver says while a scan runs."""
        self.heard({**self._facts, **facts})

    def ended(self, message: Mapping[str, Any], is_known: bool = True) -> None:
        """Note that a scan has ended: blank, and let the next command in.

        Parameters
        ----------
        message
            What the driver says.
        is_known
            Whether it was the driver who said it; if not, nobody knows what the scan cost.
        """
        self.heard({**self._facts, **message, "frames_wait": ""})
        end = ScanEnd.model_validate(message["ended"])
        self._beam.close()
        if self._proofs is not None and self._beam.seen() == "open":
            self._proofs.void(f"the beam was not read back as blanked when scan {end.scan_id} had ended")
        self.minutes.mark("scan ended", **end.model_dump())
        self._settle(self._interlock.ended(end) if is_known else self._interlock.unknown(end.scan_id))
        self._table.scan_ended(end.scan_id, end.status == "complete")
        self._beam.running = None
        self._idle.woken()

    def beat(self) -> None:
        """Renew the beam's permission while a scan of a living lease runs; call every 0.1 s or so.

        A silent guard, a dead driver, or a holder of the lease that went silent blanks the beam.
        """
        self._override.look()
        self._succession.notice()
        running = self._beam.running
        if running is None:
            self._beam.beat()
        elif not self._driver.alive():
            reason = "the driver process has ended; restart the server"
            end = ScanEnd(scan_id=running, status="failed", n_frames=0, reason=reason)
            self.ended({"ended": end.model_dump()}, is_known=False)
        else:
            lease = self._lease.info(self._clock())
            if lease is not None and lease.holder == self._beam.keeper and not self._uphold():
                # Not longer than the lease, so that the guard blanks when that runs out and not at the next beat.
                self._beam.beat(lease.expires_in_s)

    def _guard_is_silent(self) -> None:
        self.minutes.mark("guard silent", done="blanked by the server")

    def _describe(self, caller: Caller) -> dict[str, Any]:
        values, info = self._values(), self._interlock.limits.described()
        there = tuple(p.model_copy(update={"value": values.get(p.name, p.value)}) for p in info.parameters)
        info = info.model_copy(update={"parameters": there})
        there = Description(
            protocol=PROTOCOL, minor=MINOR, plans=PLANS, version=self._version, info=info, role=caller.role,
            audit=self.minutes.head(),
        )  # fmt: skip
        return there.model_dump()

    def _attempt(self, request: Request) -> Reply:
        return outcome_of(lambda: self._do(request))

    def _do(self, request: Request) -> dict[str, Any]:
        self._override.refuse(request)
        if RIGHTS[request.verb].needs_lease:
            self._lease.require(request.client, self._clock())
        return self._deeds[request.verb](request)

    def _set(self, request: Request) -> dict[str, Any]:
        plan = self._allowed(request)
        if not isinstance(plan, SetParameters):
            raise PlanInvalid(f"'set' was asked with a plan of kind {plan.kind!r}")
        self._beam.let_move()
        # Counted as moved although the driver may refuse: what is not known is taken as done.
        self._interlock.moves(self._values(), plan.values)
        try:
            after = self._driver.ask("set", ARRIVE_S, plan=plan.model_dump())
        except BeamloopError as failure:
            # Moved perhaps, and perhaps not to where it was told. A silent driver is asked by the next command.
            self._is_lost = True
            if not isinstance(failure, DriverSilent):
                with suppress(BeamloopError):
                    self._look()
            raise
        self.heard(after)
        return {"duration_s": after["duration_s"]}

    def _acquire(self, request: Request) -> dict[str, Any]:
        plan = self._allowed(request)
        if isinstance(plan, SetParameters):
            raise PlanInvalid(f"'acquire' was asked with a plan of kind {plan.kind!r}")
        if self._proofs is not None and not plan.expected:
            self._proofs.rest_on(request.client)
        measurement_id = str(request.arguments.get("measurement_id", request.request_id))
        return self._expose(plan, measurement_id, request.client)

    def _allowed(self, request: Request) -> Plan:
        """Return the request's plan if the limits allow it and no scan is in its way."""
        plan = plan_from(request.arguments.get("plan"))
        if self._is_lost:
            self._look()
        self._interlock.require(plan, self._situation())
        if self._beam.running is not None:
            raise LimitRefused(f"scan {self._beam.running} is still running; wait for its end, or stop it")
        return plan

    def _look(self) -> None:
        """Ask the driver where the instrument stands; raises DriverFailed if it does not say."""
        self.heard(self._driver.ask("describe", ANSWER_S))
        self._is_lost = False

    def _arm(self, request: Request) -> dict[str, Any]:
        self._beam.arm()
        self._interlock.armed()
        self._notice = ""
        return {}

    def _prove(self, request: Request) -> dict[str, Any]:
        if self._proofs is None:
            raise ProofFailed("this desk has no chain to prove")
        if self._beam.running is not None:
            raise LimitRefused(f"scan {self._beam.running} is still running; wait for its end, or stop it")
        return self._proofs.prove().model_dump()

    def _expose(self, plan: Acquisition, measurement_id: str, client: str) -> dict[str, Any]:
        self._scans += 1
        scan_id = f"{self._session}-{self._scans:06d}"
        self._upheld, self._notice = self._interlock.version, ""
        self._interlock.begins(scan_id, plan, self._values())
        try:
            with self._succession.lock:
                # Nobody may take the lease between this look and the beam.
                now_s = self._clock()
                left_s = self._lease.require(client, now_s).expires_s - now_s
                number = self._beam.begin(0.0 if plan.expected else left_s)
                self._beam.running, self._beam.keeper = scan_id, client
        except BeamloopError:
            self._settle(self._interlock.never_began(scan_id))
            raise
        names = {"scan": number, "scan_id": scan_id, "measurement_id": measurement_id, "receiver": client}
        try:
            return self._driver.ask("acquire", ANSWER_S, plan=plan.model_dump(), **names)
        except BeamloopError as failure:
            self._beam.close()
            # A driver that answered does not acquire; one that did not may yet begin, and tells when it ends.
            if not isinstance(failure, DriverSilent):
                self._beam.running = None
                is_refusal = not isinstance(failure, DriverFailed)
                settle = self._interlock.never_began if is_refusal else self._interlock.unknown
                self._settle(settle(scan_id))
            raise

    def _values(self) -> Mapping[str, float]:
        return self._facts.get("parameters", {})

    def _situation(self) -> Situation:
        is_dark = self._beam.seen() == "blanked"
        return self._interlock.situation(self._values(), is_dark, self._beam.running is not None)

    def _uphold(self) -> str:
        """Halt a running scan that violates limits which changed since it began; return why, empty if none does."""
        version = self._interlock.version
        if self._beam.running is None or version == self._upheld:
            return ""
        why = self._interlock.violation(self._values())
        self._upheld = version
        if why:
            self._halt(f"halted by the server: {why}")
        return why

    def _settle(self, said: str) -> None:
        """Say what is wrong with the dose of a scan; one that was counted twice with different results blanks."""
        if said and self._interlock.disputed:
            self._halt(said)
        elif said:
            self.minutes.mark("dose not settled", why=said)

    def _halt(self, why: str) -> None:
        self._notice = why
        self._beam.halt()
        self.minutes.mark("halted", why=why)
