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
from typing import Any

from ..core import (
    BeamloopError,
    Description,
    DriverSilent,
    InstrumentInfo,
    InstrumentState,
    LimitRefused,
    Plan,
    PlanInvalid,
    ProtocolMismatch,
    Reply,
    Request,
    RequestReused,
    ScanEnd,
    SetParameters,
    plan_from,
)
from ..core.control import PROTOCOL, Verb
from ..core.limits import Limits
from .audit import Audit
from .beam import Beam
from .command_table import CommandTable, Ledger
from .idle import Idle
from .lease import Lease
from .outcome import outcome_of, refusal
from .override import NoSwitch, Override, Switch
from .rights import LOOPBACK, RIGHTS, Caller, require_role
from .succession import Succession
from .voices import DriverVoice, GuardVoice

ANSWER_S = 5.0
"""How long the driver may take to accept a command."""

ARRIVE_S = 100.0
"""How long a move may take; a stage can be slow, and its reply comes when it has arrived."""

BUSY_S = 4.0
"""How long a command waits for the scan before it."""

COMMANDS = frozenset({"arm", "set", "acquire"})
"""What is done at the instrument, one after another; its answers outlive this process."""

ABOUT_THE_LEASE = frozenset({"lease", "release", "hand_over", "break_glass"})
"""What waits for no command, so that a hanging driver keeps nobody from taking over."""


class Desk:
    """Answers requests about one instrument; any thread may call `answer` and `beat`.

    Parameters
    ----------
    version
        The program's version, told to clients.
    limits
        The table that refuses.
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
    """

    def __init__(
        self, version: str, info: InstrumentInfo, limits: Limits, driver: DriverVoice, guard: GuardVoice, lease: Lease,
        answers: Ledger, audit: Audit, blank: Callable[[], None], clock: Callable[[], float] = time.monotonic,
        idle: Idle | None = None, switch: Switch | None = None,
    ) -> None:  # fmt: skip
        self._version, self._info, self._limits = version, info, limits
        self._driver, self._lease, self._audit = driver, lease, audit
        self._clock, self._idle = clock, idle or Idle()
        self._beam = Beam(guard, blank, lambda: audit.note("guard silent", done="blanked by the server"))
        self._succession = Succession(lease, self._beam, driver, audit, clock)
        self._override = Override(switch or NoSwitch(), self._succession, self._beam, audit)
        self._commands, self._words = threading.RLock(), threading.RLock()
        # Names of scans must never come again, not even after a restart: frames are told apart by them.
        self._session, self._scans = secrets.token_hex(3), 0
        self._table = CommandTable(answers, self._session)
        self._facts: dict[str, Any] = {}
        self._deeds: dict[Verb, Callable[[Request], dict[str, Any]]] = {
            **self._succession.deeds, "arm": self._arm, "set": self._set, "acquire": self._acquire,
        }  # fmt: skip

    def answer(self, request: Request, caller: Caller = LOOPBACK) -> Reply:
        """Do what a request of this caller asks, at most once, and return the reply; never raises BeamloopError."""
        if request.protocol != PROTOCOL:
            return refusal(
                ProtocolMismatch(
                    f"you speak control protocol {request.protocol}, this server speaks {PROTOCOL}; install beamloop "
                    f"{self._version} on your side"
                )
            )
        if request.verb == "describe":
            return Reply(status="done", value=self._describe(caller))
        if request.verb == "state":
            return Reply(status="done", value=self.state().model_dump())
        try:
            require_role(caller, request.verb)
            return self._done(request)
        except BeamloopError as error:
            self._note(request, reply := refusal(error))
            return reply

    def _done(self, request: Request) -> Reply:
        if request.verb in ABOUT_THE_LEASE:
            with self._words:
                return self._once(request, lasting=False)
        if request.verb not in COMMANDS:
            return self._attempt(request)
        with self._commands:
            known = self._table.known(request)
        if known is None and request.verb != "arm":
            # Wait for the scan before it outside the lock, so that nobody else waits with us.
            self._idle.wait(lambda: self._beam.running is None, BUSY_S)
        with self._commands:
            return self._once(request, lasting=True)

    def _once(self, request: Request, lasting: bool) -> Reply:
        """Do it and write it down, unless it was done before."""

        def deed() -> Reply:
            return self._attempt(request)

        known = self._table.known(request)
        reply = known or self._table.once(request, deed, lasting)
        if known is None or known.error == RequestReused.__name__:
            self._note(request, reply)
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
            local=self._override.control,
            interrupted=self._table.interrupted(),
        )

    def heard(self, facts: Mapping[str, Any]) -> None:
        """Note the driver's state after a command or a scan."""
        self._facts = dict(facts)

    def ended(self, message: Mapping[str, Any]) -> None:
        """Note that a scan has ended: blank, and let the next command in."""
        self.heard({**self._facts, **message})
        end = ScanEnd.model_validate(message["ended"])
        self._beam.close()
        self._audit.note("scan ended", **end.model_dump())
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
            self._beam.beat(keeps_open=False)
        elif not self._driver.alive():
            reason = "the driver process has ended; restart the server"
            self.ended({"ended": ScanEnd(scan_id=running, status="failed", n_frames=0, reason=reason).model_dump()})
        elif self._lease.holder(self._clock()) == self._beam.keeper:
            self._beam.beat(keeps_open=True)

    def _describe(self, caller: Caller) -> dict[str, Any]:
        values = self._facts.get("parameters", {})
        parameters = tuple(
            p.model_copy(update={"value": values.get(p.name, p.value), **self._limits.of(p.name).model_dump()})
            for p in self._info.parameters
        )
        info = self._info.model_copy(update={"parameters": parameters})
        return Description(protocol=PROTOCOL, version=self._version, info=info, role=caller.role).model_dump()

    def _note(self, request: Request, reply: Reply) -> None:
        facts = {"client": request.client, "verb": request.verb, "arguments": request.arguments}
        self._audit.note(reply.status, request=request.request_id, **facts, message=reply.message)

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
        after = self._driver.ask("set", ARRIVE_S, plan=plan.model_dump())
        self.heard(after)
        return {"duration_s": after["duration_s"]}

    def _acquire(self, request: Request) -> dict[str, Any]:
        plan = self._allowed(request)
        if isinstance(plan, SetParameters):
            raise PlanInvalid(f"'acquire' was asked with a plan of kind {plan.kind!r}")
        measurement_id = str(request.arguments.get("measurement_id", request.request_id))
        return self._expose(plan.model_dump(), measurement_id, request.client, needs_beam=not plan.expected)

    def _allowed(self, request: Request) -> Plan:
        """Return the request's plan if the limits allow it and no scan is in its way."""
        plan = plan_from(request.arguments.get("plan"))
        self._limits.check(plan)
        if self._beam.running is not None:
            raise LimitRefused(f"scan {self._beam.running} is still running; wait for its end, or stop it")
        return plan

    def _arm(self, request: Request) -> dict[str, Any]:
        self._beam.arm()
        return {}

    def _expose(self, plan: dict[str, Any], measurement_id: str, client: str, needs_beam: bool) -> dict[str, Any]:
        with self._succession.lock:
            # Nobody may take the lease between this look and the beam.
            self._lease.require(client, self._clock())
            number = self._beam.begin(needs_beam)
            self._scans += 1
            scan_id = self._beam.running = f"{self._session}-{self._scans:06d}"
            self._beam.keeper = client
        names = {"scan": number, "scan_id": scan_id, "measurement_id": measurement_id, "receiver": client}
        try:
            return self._driver.ask("acquire", ANSWER_S, plan=plan, **names)
        except BeamloopError as failure:
            self._beam.close()
            # A driver that answered does not acquire; one that did not may yet begin, and tells when it ends.
            if not isinstance(failure, DriverSilent):
                self._beam.running = None
            raise
