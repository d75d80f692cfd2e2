"""The server's front desk: every request passes lease, limits, guard and stored answers here.

One command at a time, under one lock; questions (`describe`, `state`) never wait for it. The
beam opens just before an acquisition and closes when the driver says that the scan has ended.

A command is noted before it is begun and its answer before it is announced, here and in the audit, so that a client
that asks again, even after this server was killed and restarted, is answered as the first
time, or told that nobody knows how the command ended.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..core import (
    BeamloopError,
    Description,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    InstrumentState,
    Interrupted,
    LimitRefused,
    NotArmed,
    Plan,
    PlanInvalid,
    ProtocolMismatch,
    Reply,
    Request,
    RoleLacking,
    ScanEnd,
    SetParameters,
    StorageFailed,
    plan_from,
)
from ..core.control import PROTOCOL, Verb
from ..core.limits import Limits
from .answers import Answers
from .audit import Audit
from .lease import Lease
from .rights import LOOPBACK, RIGHTS, Caller, require_role

BEAM_LEASE_S = 1.0
"""How long the beam stays open without being renewed."""

ANSWER_S = 5.0
"""How long the driver may take to accept a command."""

ARRIVE_S = 100.0
"""How long a move may take; a stage can be slow, and its reply comes when it has arrived."""

BUSY_S = 4.0
"""How long a command waits for the scan before it."""

COMMANDS = frozenset({"arm", "set", "acquire"})


class DriverVoice(Protocol):
    """What the desk needs of the driver: `DriverLink` in the server."""

    def ask(self, verb: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        """Send one command and return its answer."""
        ...

    def tell(self, verb: str, **arguments: object) -> None:
        """Send one command and do not wait."""
        ...

    def alive(self) -> bool:
        """Tell whether the driver's process is running."""
        ...


class GuardVoice(Protocol):
    """What the desk needs of the guard: `GuardLine` in the server."""

    def say(self, act: Any, **facts: object) -> dict[str, Any] | None:
        """Send one message; None if the guard stayed silent."""
        ...


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
    """

    def __init__(
        self, version: str, info: InstrumentInfo, limits: Limits, driver: DriverVoice, guard: GuardVoice, lease: Lease,
        answers: Answers, audit: Audit, blank: Callable[[], None], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._version, self._info, self._limits = version, info, limits
        self._driver, self._guard, self._blank = driver, guard, blank
        self._lease, self._answers, self._audit = lease, answers, audit
        self._clock = clock
        self._lock = threading.RLock()
        self._idle = threading.Condition()
        self._running: str | None = None
        # Names of scans must never come again, not even after a restart: frames are told apart by them.
        self._session, self._scans = secrets.token_hex(3), 0
        self._served: str | None = None
        self._guard_facts: Mapping[str, Any] | None = {}
        self._facts: dict[str, Any] = {}
        self._deeds: dict[Verb, Callable[[Request], dict[str, Any]]] = {
            "lease": self._take_lease, "renew": self._renew, "release": self._release,
            "arm": self._arm, "set": self._set, "acquire": self._acquire,
        }  # fmt: skip

    def answer(self, request: Request, caller: Caller = LOOPBACK) -> Reply:
        """Do what a request of this caller asks, at most once, and return the reply; never raises BeamloopError."""
        if request.protocol != PROTOCOL:
            mismatch = ProtocolMismatch(
                f"you speak control protocol {request.protocol}, this server speaks {PROTOCOL}; install beamloop "
                f"{self._version} on your side"
            )
            return self._told(request, _refusal(mismatch))
        try:
            require_role(caller, request.verb)
        except RoleLacking as lacking:
            return self._told(request, _refusal(lacking))
        if request.verb == "describe":
            return Reply(status="done", value=self._describe())
        if request.verb == "state":
            return Reply(status="done", value=self.state().model_dump())
        if request.verb == "renew":
            renewed = self._attempt(request)
            return renewed if renewed.status == "done" else self._told(request, renewed)
        with self._lock:
            stored = self._stored(request)
        if stored is None and request.verb in ("set", "acquire"):
            # Wait for the scan before it outside the lock, so that nobody else waits with us.
            self._wait_until_idle()
        with self._lock:
            return self._answer_once(request)

    def state(self) -> InstrumentState:
        """Return what the instrument is doing, from what was last heard; asks nobody."""
        facts, guard = self._facts, self._guard_facts
        is_open = None if guard is None else guard.get("open")
        return InstrumentState(
            activity=self._activity(),
            beam="unknown" if is_open is None else "open" if is_open else "blanked",
            lease=self._lease.info(self._clock()),
            parameters=facts.get("parameters", {}),
            clock_s=facts.get("clock_s", 0.0),
            dose_electrons=facts.get("dose_electrons", 0.0),
        )

    def heard(self, facts: Mapping[str, Any]) -> None:
        """Note the driver's state after a command or a scan."""
        self._facts = dict(facts)

    def ended(self, message: Mapping[str, Any]) -> None:
        """Note that a scan has ended: blank, and let the next command in."""
        self.heard({**self._facts, **message})
        end = ScanEnd.model_validate(message["ended"])
        self._hear_guard(self._guard.say("close"))
        self.mark("scan ended", **end.model_dump())
        with self._idle:
            self._running = None
            self._idle.notify_all()

    def beat(self) -> None:
        """Renew the beam's permission while a scan of a living lease runs; call every 0.1 s or so.

        A silent guard, a dead driver, or a holder of the lease that went silent blanks the beam.
        """
        if self._running is None:
            self._hear_guard(self._guard.say("beat"))
        elif not self._driver.alive():
            reason = "the driver process has ended; restart the server"
            self.ended(
                {"ended": ScanEnd(scan_id=self._running, status="failed", n_frames=0, reason=reason).model_dump()}
            )
        elif self._lease.info(self._clock()) is None:
            self._hear_guard(self._guard.say("halt"))
        else:
            self._hear_guard(self._guard.say("beat", lease_s=BEAM_LEASE_S))

    def _hear_guard(self, facts: Mapping[str, Any] | None) -> None:
        if facts is None and self._guard_facts is not None:
            self._guard_facts = None
            self.mark("guard silent", done="blanked by the server")
        if facts is None:
            self._blank()
        self._guard_facts = facts

    def _activity(self) -> Any:
        guard = self._guard_facts
        reason = "guard silent" if guard is None else str(guard.get("reason", ""))
        if "driver silent" in reason or guard is None:
            return "lost"
        if reason:
            return "paused" if reason.startswith("paused") else "stopped"
        return "acquiring" if self._running is not None else "idle"

    def _describe(self) -> dict[str, Any]:
        values = self._facts.get("parameters", {})
        parameters = tuple(
            p.model_copy(update={"value": values.get(p.name, p.value), **self._limits.of(p.name).model_dump()})
            for p in self._info.parameters
        )
        info = self._info.model_copy(update={"parameters": parameters})
        return Description(protocol=PROTOCOL, version=self._version, info=info).model_dump()

    def _answer_once(self, request: Request) -> Reply:
        stored = self._stored(request)
        if stored is not None:
            return stored
        return self._kept(request)

    def mark(self, event: str, **facts: object) -> None:
        """Note what nobody waits for; a disk that does not take it leads to the safe state instead."""
        try:
            self._audit.note(event, **facts)
        except StorageFailed:
            self._rest()

    def _told(self, request: Request, refusal: Reply) -> Reply:
        """Note what was refused before anything was done, and return it."""
        self.mark(
            refusal.status, client=request.client, verb=request.verb, request=request.request_id, error=refusal.error,
            message=refusal.message, arguments=request.arguments,
        )  # fmt: skip
        return refusal

    def _kept(self, request: Request) -> Reply:
        """Do what is asked between notes that outlive this process; a disk that takes none of them refuses it."""
        who = {"client": request.client, "verb": request.verb, "request": request.request_id}
        try:
            self._audit.note("asked", **who, arguments=request.arguments)
            if request.verb in COMMANDS:
                self._answers.begin(request.request_id)
        except StorageFailed as full:
            self._rest()
            return _refusal(full)
        reply = self._attempt(request)
        try:
            self._audit.note(reply.status, **who, error=reply.error, message=reply.message)
            if request.verb in COMMANDS:
                self._answers.store(request.request_id, reply)
        except StorageFailed as full:
            self._rest()
            told = f"{full}. The command was {reply.status}; asked again, its outcome will be told as not known"
            return Reply(status="failed", error=type(full).__name__, message=told)
        return reply

    def _rest(self) -> None:
        """Blank and end a scan, since what happens can no longer be written down."""
        self._hear_guard(self._guard.say("halt"))

    def _stored(self, request: Request) -> Reply | None:
        reply = self._answers.of(request.request_id) if request.verb in COMMANDS else None
        scan = None if reply is None else reply.value.get("scan")
        if scan is not None and not scan["scan_id"].startswith(self._session):
            # Its frames were with a driver that is gone.
            return _interrupted(f"scan {scan['scan_id']} was begun before this server was restarted")
        return reply

    def _attempt(self, request: Request) -> Reply:
        try:
            return Reply(status="done", value=self._do(request))
        except DriverFailed as failure:
            return Reply(status="failed", error=type(failure).__name__, message=str(failure))
        except BeamloopError as refusal:
            return _refusal(refusal)

    def _do(self, request: Request) -> dict[str, Any]:
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
        if self._running is not None:
            raise LimitRefused(f"scan {self._running} is still running; wait for its end, or stop it")
        return plan

    def _take_lease(self, request: Request) -> dict[str, Any]:
        client, purpose = request.client, str(request.arguments.get("purpose", ""))
        info = self._lease.take(client, purpose, self._clock())
        if self._served not in (None, client):
            self._driver.tell("forget", receiver=self._served)
        self._served = client
        return info.model_dump()

    def _renew(self, request: Request) -> dict[str, Any]:
        return self._lease.renew(request.client, self._clock()).model_dump()

    def _release(self, request: Request) -> dict[str, Any]:
        if self._lease.release(request.client, self._clock()):
            self._hear_guard(self._guard.say("halt"))
            self._driver.tell("forget", receiver=request.client)
        return {}

    def _arm(self, request: Request) -> dict[str, Any]:
        facts = self._guard.say("arm")
        self._hear_guard(facts)
        if facts is None:
            raise NotArmed("the guard does not answer; the instrument cannot be armed. Restart the server")
        return {}

    def _expose(self, plan: dict[str, Any], measurement_id: str, client: str, needs_beam: bool) -> dict[str, Any]:
        number = self._begin(BEAM_LEASE_S if needs_beam else 0.0)
        self._scans += 1
        self._running = f"{self._session}-{self._scans:06d}"
        names = {"scan": number, "scan_id": self._running, "measurement_id": measurement_id, "receiver": client}
        try:
            return self._driver.ask("acquire", ANSWER_S, plan=plan, **names)
        except BeamloopError as failure:
            self._hear_guard(self._guard.say("close"))
            # A driver that answered does not acquire; one that did not may yet begin, and tells when it ends.
            if not isinstance(failure, DriverSilent):
                self._running = None
            raise

    def _begin(self, lease_s: float) -> int:
        """Let the guard open the beam, if it is needed, and return the guard's number for the scan."""
        facts = self._guard.say("begin", lease_s=lease_s)
        if facts is None:
            self._hear_guard(None)
            raise NotArmed("the guard does not answer; the beam stays blanked. Restart the server")
        if "refused" in facts:
            raise NotArmed(facts["refused"])
        self._hear_guard(facts)
        return int(facts["scan"])

    def _wait_until_idle(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._running is None, BUSY_S)


def _interrupted(why: str) -> Reply:
    told = f"{why}; whether it came to its end is not known. Charge its dose and repeat it under a new name"
    return Reply(status="failed", error=Interrupted.__name__, message=told)


def _refusal(error: BeamloopError) -> Reply:
    return Reply(status="refused", error=type(error).__name__, message=str(error))
