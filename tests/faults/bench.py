"""A desk with a judge at each of its sides: requests come in where the network does, and are judged where they act.

The desk, its limits, dose, lease, answers and audit are the product's. Driver, guard and switch are this bench, which
asks the judge before it obeys; answers are judged too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beamloop.core import (
    Condition,
    DetectorInfo,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    Interruption,
    Limit,
    Limits,
    LocalControl,
    MotionHalted,
    NotRecorded,
    Parameter,
    Region,
    Reply,
    Rule,
)
from beamloop.instrument_server.asked import Asked
from beamloop.instrument_server.audit import Audit, verdict_on
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.dose import Dose
from beamloop.instrument_server.dose.budget import DoseRegion, DoseSettings
from beamloop.instrument_server.face import Face
from beamloop.instrument_server.idle import Idle
from beamloop.instrument_server.lease.lease import Lease
from beamloop.instrument_server.lease.local_switch import Seen
from beamloop.instrument_server.limits.interlock import Interlock
from beamloop.instrument_server.rights import Caller

from .judge import (
    BIASED_V,
    BOX_M,
    CELL_M,
    DWELL,
    ENGINEERS,
    EVERYWHERE,
    FIELD_M,
    KEYS,
    LEASE_S,
    LOOKS,
    PARTICLE,
    STAGE,
    START,
    STRONG_A,
    TABLE,
    Claims,
    Judge,
)

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=FIELD_M, width_m=FIELD_M),
    parameters=(
        Parameter(name="bias_v", units="V", value=START["bias_v"], low=-10, high=10),
        Parameter(name="current_a", units="A", value=START["current_a"], low=0, high=1e-9),
        *(Parameter(name=name, units="m", value=START[name], low=-1e-3, high=1e-3) for name in STAGE),
        Parameter(name="pressure_pa", units="Pa", value=1e-6, low=0, high=1, writable=False),
    ),
    detectors=tuple(
        DetectorInfo(name=n, shortest_dwell_s=low, longest_dwell_s=high) for n, (low, high) in DWELL.items()
    ),
    stage=STAGE, beam_current="current_a",
)  # fmt: skip
LIMITS = {
    name: Limit(**{key.rpartition(".")[2]: value for key, value in TABLE.items() if key.startswith(f"limits.{name}.")})
    for name in START
}
RULES = {
    "stage-in-strong-beam": Rule(moves=STAGE, beam_open=True, when={"current_a": Condition(above=STRONG_A)}),
    "spectra-at-a-bias": Rule(acquires=("eels",), when={"bias_v": Condition(above=BIASED_V)}),
}
DOSE = DoseSettings(
    budget_per_m2=TABLE[EVERYWHERE], cell_m=CELL_M,
    regions={"particle": DoseRegion(**BOX_M, budget_per_m2=TABLE[PARTICLE])},
)  # fmt: skip

KEPT = ("arm", "prove", "set", "acquire", "lease", "release", "hand_over", "break_glass")
VERBS = (*LOOKS, *ENGINEERS, *KEPT, "renew")


class Shelf:
    """Answers kept in memory, as the server keeps them on its disk."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Asked, Reply | None]] = {}

    def kept(self, request_id: str) -> tuple[Asked | None, Reply | None]:
        return self._kept.get(request_id, (None, None))

    def begin(self, request_id: str, asked: Asked) -> None:
        self._kept[request_id] = (asked, None)

    def store(self, request_id: str, reply: Reply, goes_on: bool) -> None:
        self._kept[request_id] = (self._kept[request_id][0], reply)

    def settle(self, *request_ids: str) -> None:
        return

    def unsettled(self) -> tuple[Interruption, ...]:
        return ()


class Meanwhile(Idle):
    """Waiting takes no time; something happens meanwhile."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        self._happens()


class Bench:
    """One desk and one judge.

    Parameters
    ----------
    folder
        For the audit and what an engineer narrowed.

    Attributes
    ----------
    judge
        Who knows what is allowed.
    moods
        What the driver will do with what it is asked next, the last first: `obeys`, `declines`, `raises`, `halts`,
        `silent`.
    outlasts
        How many commands the scan under way lets wait in vain.
    silent, by_hand
        Whether the guard answers nobody, and whether somebody holds the beam open at the instrument.
    asked
        Requests that were heard, in order.
    ends
        How often each end of a command was met: `done VERB`, the key of the configuration that refused, or the error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.judge, self.ends = folder, Judge(), Counter[str]()
        self.moods, self.outlasts, self.silent, self.by_hand = list[str](), 0, False, False
        self.asked: list[dict[str, Any]] = []
        self._caller, self._request = Caller(name="ada", role="operator"), dict[str, Any]()
        self._shelf, self._running, self._scans, self._is_open, self._lives = Shelf(), "", 0, False, True
        self._reached: list[str] = []
        self._answered: dict[str, tuple[str, dict[str, Any] | None]] = {}
        self._is_judged = True
        self._start(Dose(INFO, DOSE, None))

    def _start(self, dose: Dose) -> None:
        self._dose = dose
        self._audit = Audit(self.folder / "audit.jsonl", "process")
        interlock = Interlock(Limits(INFO, LIMITS, RULES), dose, self.folder / "limits.json", lambda: self.judge.now_s)
        self.desk = Desk(
            "1", INFO, interlock, self, self, Lease(LEASE_S), self._shelf, self._audit, self._blank,
            lambda: self.judge.now_s, Meanwhile(self._wait), self,
        )  # fmt: skip
        self._face = Face(self.desk.answer, lambda: self._caller, lambda reason: None)
        self.desk.heard({"parameters": dict(self.judge.values)})
        self.desk.beat()

    def close(self) -> None:
        """Judge the audit, unless something was found before: whole, with everything in it that reached the driver."""
        self._audit.close()
        if not self._is_judged:
            return
        assert verdict_on(self.folder).problems == ()
        files = sorted(self.folder.glob("audit*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
        told = {(line["request"], line["event"]) for line in lines if "request" in line}
        for name in self._reached:
            assert (name, "asked") in told, f"{name} reached the driver and was not written down before"
            assert {(name, "done"), (name, "failed"), (name, "refused")} & told, f"how {name} ended is not written down"

    def restart(self) -> None:
        """Kill the server and start it on what is kept; driver and guard go with it."""
        self.judge.now_s += 2.0
        self._audit.close()
        self._cut_off()
        self.judge.claims = Claims()
        self.judge.disputed = self._is_open = False
        # Words about the lease are done anew by another server; scans of the one before are interrupted.
        words = ("lease", "release", "hand_over", "break_glass")
        for request in self.asked:
            name = request["request_id"]
            key, reply = self._answered[name]
            if request["verb"] in words:
                del self._answered[name]
            elif reply is not None and "scan" in reply["value"]:
                self._answered[name] = (key, None)
        self.asked = [request for request in self.asked if request["verb"] not in words]
        with self._dose.reading() as there:
            self._start(Dose(INFO, DOSE, None, there.tiles))

    # The driver, where harm would be done.
    def ask(self, verb: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Do what the server asks, or what the mood says."""
        mood = self.moods.pop() if self.moods else "obeys"
        if verb in ("set", "acquire"):
            self.judge.commands(self._request["client"], self._caller.role)
            self._reached.append(self._request["request_id"])
        if verb == "set":
            self._moves(arguments["plan"]["values"], mood)
        elif verb == "acquire":
            self.judge.exposes(arguments["plan"], self._request["client"])
            self._begins(arguments["scan_id"], mood)
        elif mood in ("raises", "silent"):
            raise DriverSilent("silent for 5 s") if mood == "silent" else DriverFailed("it raised")
        scan = {"scan": {"scan_id": arguments["scan_id"]}} if verb == "acquire" else {}
        return {"duration_s": 0.1, "parameters": dict(self.judge.values), **scan}

    def tell(self, verb: str, **arguments: Any) -> None:
        """Forget nothing: there are no frames."""

    def alive(self) -> bool:
        return self._lives

    def _moves(self, values: dict[str, Any], mood: str) -> None:
        self.judge.sets(values)
        first, *_ = values
        match mood:
            case "declines":
                raise NotRecorded("not there")
            case "raises":
                self.judge.moved({first: values[first]})
                raise DriverFailed("it raised when the first was set")
            case "halts":
                self.judge.moved({first: (values[first] + self.judge.values[first]) / 2})
                raise MotionHalted("halted half way")
        self.judge.moved(values)
        if mood == "silent":
            raise DriverSilent("silent for 100 s, and yet it moved")

    def _begins(self, scan_id: str, mood: str) -> None:
        match mood:
            case "declines":
                self.judge.ended(0)
                raise NotRecorded("not there")
            case "raises" | "halts":
                self.judge.ended()
                raise DriverFailed("it raised, and nobody knows what was exposed")
        self._running = scan_id
        if mood == "silent":
            raise DriverSilent("silent for 5 s, and yet the scan runs")

    # The guard, which refuses what was stopped.
    def say(self, act: str, **facts: Any) -> dict[str, Any] | None:
        """Answer the server, unless silent; the beam is kept open for the holder only, and no longer."""
        if self.silent:
            self.judge.dark = False
            return None
        judge, lease_s = self.judge, facts.get("lease_s", 0.0)
        refuses = act in ("begin", "move") and judge.stopped
        if lease_s > 0:
            whose = self._request["client"] if act == "begin" else judge.keeper
            assert judge.claims.holder(judge.now_s) == whose, f"the beam of {whose} is kept open without the lease"
            assert lease_s <= judge.claims.left_s(judge.now_s), "the beam would outlast the lease"
        self._scans += act == "begin"
        self._is_open |= act == "begin" and lease_s > 0 and not refuses
        if act in ("close", "halt"):
            self._is_open = False
        if act == "arm":
            judge.stopped = False
        reason = "stopped by a person" if judge.stopped else ""
        judge.dark = not (self._is_open or self.by_hand)
        told = {"scan": self._scans, "reason": reason, "open": not judge.dark, "permitted": not judge.stopped}
        return {**told, "halted": 0, "stops": 0, **({"refused": reason} if refuses else {})}

    def _blank(self) -> None:
        self._is_open = False

    # The switch at the instrument.
    def position(self) -> LocalControl | None:
        admits = self.judge.admits
        return None if admits is None else LocalControl(by="eva", reason="aperture", since="now", admits=admits)

    def confirm(self, seen: Seen | None) -> None:
        return

    def die(self) -> None:
        """Let the driver's process end, as the server sees it; another stands in for it at once."""
        self._lives = False
        self.desk.beat()
        self._lives = True
        self._cut_off()

    def stop(self) -> None:
        """Say stop at the guard."""
        self.judge.stopped, self._is_open = True, False

    def turn(self, admits: str | None) -> None:
        """Turn the switch at the instrument, so that it admits this key, or nobody (empty); None turns it off."""
        if admits is not None and admits != self.judge.admits:
            self.judge.claims.stay(admits)
        self.judge.admits = admits
        self.desk.beat()

    def _cut_off(self) -> None:
        """Note that the scan under way, if any, was cut off, and nobody knows what it exposed."""
        if self._running:
            self._running = ""
            self.judge.ended()

    def _wait(self) -> None:
        """Let the scan end that somebody waits for, unless it lasts longer."""
        self.outlasts -= 1
        if self.outlasts < 0:
            self.end("complete", self.judge.scan[0])

    def end(self, status: str, exposed: int, factor: float = 1.0) -> None:
        """Let the scan under way end, if there is one.

        Parameters
        ----------
        status, exposed
            How, and after how many of its positions.
        factor
            How many electrons fell, as the driver counts them, for one that exposure times current foretold.
        """
        if not self._running:
            return
        _, each = self.judge.scan
        end = {"scan_id": self._running, "status": status, "n_frames": exposed, "electrons": exposed * each * factor}
        self._running = ""
        self.judge.ended(exposed, factor)
        self.judge.disputed |= each > 0 and abs(factor - 1) > 0.05
        self.desk.ended({"ended": end, "parameters": dict(self.judge.values)})

    def call(self, key: str, request: dict[str, Any]) -> None:
        """Let whoever shows this key ask for something, and judge the answer."""
        self._caller, self._request = Caller(name=key, role=KEYS[key]), request  # type: ignore[arg-type]
        before, self._is_judged = len(self._reached), False
        reply = self._face.call(request)
        self.ends[_end_of(request, reply)] += 1
        self._heard(request, reply, len(self._reached) - before)
        self._is_judged = True

    def _heard(self, request: dict[str, Any], reply: dict[str, Any], reached: int) -> None:
        """Judge an answer."""
        status, error, name, verb = reply["status"], reply["error"], request["request_id"], request["verb"]
        assert reached <= (status != "refused" or error == "NotRecorded"), f"{request} was done more than told"
        # What is refused at the door was not heard; what is heard has one answer for good.
        if verb in KEPT and isinstance(name, str) and not _at_the_door(reply):
            key = repr((request["client"], verb, request["arguments"]))
            if name in self._answered:
                assert reached == 0, f"{name} was done twice"
                before, first = self._answered[name]
                if before != key:
                    assert error == "RequestReused", f"{name} was answered to another question"
                else:
                    is_first = reply == first if first is not None else error == "Interrupted"
                    assert is_first, f"{name} was answered {first} and now {reply}"
                return
            self._answered[name] = (key, reply)
            self.asked.append(request)
        if status == "done":
            self._granted(verb, request["client"], request["arguments"])

    def _granted(self, verb: str, client: str, arguments: dict[str, Any]) -> None:
        judge, role = self.judge, KEYS[self._caller.name]
        assert client.partition("/")[0] == self._caller.name, f"{self._caller.name} spoke for {client}"
        assert verb in LOOKS or role != "observer", f"{verb} was granted to an observer"
        assert verb not in ENGINEERS or role == "engineer", f"{verb} was granted to an {role}"
        free = judge.admits is None or self._caller.name == judge.admits
        assert free or verb in LOOKS or verb == "release", f"{verb} was granted while the switch is on"
        judge.claims.heard(verb, client, arguments, judge.now_s)
        if verb == "hand_over" and judge.keeper == client:
            judge.keeper = arguments["to"]
        elif verb == "arm":
            assert judge.claims.holder(judge.now_s) == client, f"{client} armed without the lease"
            judge.disputed = False
        elif verb == "specimen":
            judge.exchanged()
        elif verb == "restrict":
            judge.narrowed(arguments)
            assert not (self._is_open and judge.must_halt()), "the scan goes on outside a limit that was narrowed"
        if verb in ("release", "break_glass") and judge.keeper not in ("", judge.claims.holder(judge.now_s)):
            assert not self._is_open, f"the beam of {judge.keeper} is open after {verb} by {client}"


def _at_the_door(reply: dict[str, Any]) -> bool:
    is_unheard = reply["message"].startswith(("not a request", "the arguments of"))
    return is_unheard or reply["error"] in ("KeyRefused", "RoleLacking", "ProtocolMismatch")


def _end_of(request: dict[str, Any], reply: dict[str, Any]) -> str:
    """Return how a command ended, with the key of the configuration that refused it."""
    if reply["status"] == "done":
        return f"done {request['verb']}"
    _, is_keyed, key = reply["message"].partition("config key ")
    return key.partition(")")[0].partition(",")[0] if is_keyed else reply["error"]
