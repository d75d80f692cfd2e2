"""A crowd that asks for what it must not have, and a judge who knows by himself what it may have.

Everything goes in where the network does (`Face.call`) and is judged where it would do harm: at the driver.
The judge keeps his own table of limits, his own line of claims to the lease and his own list of answers, written
from what is promised, not from the code. Time is a number; a seed gives the same crowd again.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beamloop.core import (
    DetectorInfo,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    Interruption,
    NotRecorded,
    Parameter,
    Region,
    Reply,
)
from beamloop.core.limits import Limits
from beamloop.instrument_server.asked import Asked
from beamloop.instrument_server.audit import Audit, verdict_on
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.face import Face
from beamloop.instrument_server.idle import Idle
from beamloop.instrument_server.lease.lease import Lease
from beamloop.instrument_server.limits.interlock import Interlock
from beamloop.instrument_server.rights import Caller

LIMITS = {"defocus_m": (-1e-6, 1e-6), "stage_x_m": (0.0, 1e-3)}
DWELL = {"haadf": (1e-7, 1.0), "eels": (1e-3, 10.0)}
FIELD_M = 1e-7
SLACK_M = 1e-12 * FIELD_M
"""What adding up the pixels of a grid may round to; points are taken as they are, see `_judge`."""

LEASE_S = 5.0
KEYS = {"ada": "operator", "bob": "operator", "eve": "observer", "ivy": "engineer"}

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=FIELD_M, width_m=FIELD_M),
    parameters=(
        *(Parameter(name=n, units="m", value=0.0, low=low, high=high) for n, (low, high) in LIMITS.items()),
        Parameter(name="pressure_pa", units="Pa", value=1e-6, low=0, high=1, writable=False),
    ),
    detectors=tuple(
        DetectorInfo(name=n, shortest_dwell_s=low, longest_dwell_s=high) for n, (low, high) in DWELL.items()
    ),
)  # fmt: skip

KEPT = ("arm", "set", "acquire", "lease", "release", "hand_over", "break_glass")

VERBS = (
    "describe", "state", "clock", "limits", "check", "dose", "restrict", "specimen", "lease", "renew", "release",
    "hand_over", "break_glass", "arm", "set", "acquire",
)  # fmt: skip


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


class Claims:
    """The judge's own line for the lease: who stands in it, and until when."""

    def __init__(self) -> None:
        self._line: list[tuple[str, float]] = []
        self._lost: set[str] = set()

    def holder(self, now_s: float) -> str | None:
        self._line = [claim for claim in self._line if claim[1] > now_s]
        return self._line[0][0] if self._line else None

    def heard(self, verb: str, client: str, arguments: dict[str, Any], now_s: float) -> None:
        """Follow what was granted; fail if it was not theirs to have."""
        holder, names = self.holder(now_s), [name for name, _ in self._line]
        mine = (client, now_s + LEASE_S)
        if verb == "lease":
            assert holder in (None, client) or arguments.get("wait"), f"{client} was given {holder}'s lease"
            self._line = [mine if name == client else (name, s) for name, s in self._line]
            self._line += [] if client in names else [mine]
        elif verb == "renew":
            assert client in names, f"{client} renewed what they had not"
            self._line = [mine if name == client else (name, s) for name, s in self._line]
        elif verb == "release":
            self._line = [claim for claim in self._line if claim[0] != client]
        elif verb == "hand_over":
            assert holder == client, f"{client} handed over the lease of {holder}"
            heir = arguments["to"]
            assert heir in names or heir in self._lost, f"{client} handed it over to {heir}, who is not there"
            self._lost.add(client)
            self._line = [(heir, now_s + LEASE_S), *(c for c in self._line if c[0] not in (client, heir))]
        elif verb == "break_glass":
            self._lost.add(str(holder))
            self._line = [mine, *(c for c in self._line if c[0] not in (client, holder))]


class Trial:
    """One desk, one crowd, one judge.

    Parameters
    ----------
    seed
        Of everything that happens.
    folder
        For the audit, made anew.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng, self.folder, self.now_s = random.Random(seed), folder, 0.0
        self.caller, self.request = Caller(name="ada", role="operator"), {}
        self.claims, self.stopped, self.running = Claims(), False, None
        self.reached: list[str] = []
        self.answered: dict[str, tuple[str, dict[str, Any]]] = {}
        self.counts: dict[str, int] = {}
        self._number, self._scans, self._names = 0, 0, list(KEYS)
        self.audit = Audit(folder / "audit.jsonl", "process")
        self.desk = Desk(
            "1", INFO, Interlock(Limits(INFO)), self, self, Lease(LEASE_S), Shelf(), self.audit, lambda: None,
            lambda: self.now_s, _EndsInTime(self),
        )  # fmt: skip
        self.face = Face(self.desk.answer, lambda: self.caller, lambda reason: None)
        self.desk.beat()

    # The driver, where harm would be done.
    def ask(self, verb: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if verb in ("set", "acquire"):
            self._judge(verb, arguments)
            self.reached.append(self.request["request_id"])
            if self.rng.random() < 0.05:
                self._fail(arguments)
        if verb == "acquire":
            self.running = arguments["scan_id"]
        return {"duration_s": 0.1, "scan": {"scan_id": arguments.get("scan_id")}, "parameters": {}}

    def tell(self, verb: str, **arguments: Any) -> None:
        return

    def alive(self) -> bool:
        return True

    # The guard, which refuses what was stopped.
    def say(self, act: str, **facts: Any) -> dict[str, Any] | None:
        told = {"reason": "stopped by a person" if self.stopped else "", "open": self.running is not None}
        if act == "arm":
            self.stopped = False
        if act in ("begin", "move") and self.stopped and facts.get("lease_s", 1.0) > 0:
            return {"refused": "stopped by a person", **told}
        return {"scan": self._scans, "halted": 0, "stops": 0, "permitted": not self.stopped, **told}

    def step(self) -> None:
        """Let somebody ask for something, and judge the answer."""
        self._happen()
        request = self._request()
        self.request, before = request, len(self.reached)
        reply = self.face.call(request)
        self._heard(request, reply, len(self.reached) - before)

    def close(self) -> None:
        """Close the audit, and judge it: whole, and with everything in it that reached the driver."""
        self.audit.close()
        assert verdict_on(self.folder).problems == ()
        files = sorted(self.folder.glob("audit*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
        told = {(line["request"], line["event"]) for line in lines if "request" in line}
        for name in self.reached:
            assert (name, "asked") in told, f"{name} reached the driver and was not written down before"
            assert {(name, "done"), (name, "failed"), (name, "refused")} & told, f"how {name} ended is not written down"

    def _judge(self, verb: str, arguments: dict[str, Any]) -> None:
        client, plan = self.request["client"], arguments["plan"]
        assert self.claims.holder(self.now_s) == client, f"{client} reached the driver without the lease"
        assert self.caller.role != "observer"
        assert client == self.caller.name or client.startswith(f"{self.caller.name}/")
        assert not self.stopped, f"{verb} reached the driver after a stop"
        assert self.running is None, f"{verb} reached the driver during scan {self.running}"
        if verb == "set":
            assert plan["values"]
            for name, value in plan["values"].items():
                low, high = LIMITS[name]
                assert type(value) in (float, int), f"{name} = {value!r}"
                assert low <= value <= high, f"{name} = {value!r}"
            return
        low, high = DWELL[plan["detector"]]
        assert low <= plan["dwell_s"] <= high
        assert plan["expected"] is False
        if plan["kind"] == "points":
            assert all(0 <= metres <= FIELD_M for point in plan["points"] for metres in point)
        for y, x in _corners(plan):
            assert -SLACK_M <= y <= FIELD_M + SLACK_M
            assert -SLACK_M <= x <= FIELD_M + SLACK_M

    def _heard(self, request: dict[str, Any], reply: dict[str, Any], reached: int) -> None:
        status, name = reply["status"], request.get("request_id")
        self.counts[status] = self.counts.get(status, 0) + 1
        assert status in ("done", "refused", "failed")
        assert reached <= (status != "refused" or reply["error"] == "NotRecorded"), f"{request} was done more than told"
        verb, client, arguments = request.get("verb"), request.get("client"), request.get("arguments")
        # What is refused at the door was not heard; what is heard has one answer for good.
        is_kept = verb in KEPT and isinstance(name, str) and not _at_the_door(reply)
        key = repr((client, verb, arguments))
        if is_kept and name in self.answered:
            before, first = self.answered[name]
            assert reached == 0, f"{name} was done twice"
            assert reply == first if before == key else reply["error"] == "RequestReused"
            return
        if is_kept:
            self.answered[str(name)] = (key, reply)
        if status == "done":
            assert verb in VERBS
            assert isinstance(client, str)
            assert KEYS[self.caller.name] == "engineer" or verb not in ("restrict", "specimen")
            assert KEYS[self.caller.name] != "observer" or verb in VERBS[:6]
            self.claims.heard(str(verb), client, arguments or {}, self.now_s)
            if verb in ("release", "break_glass", "hand_over") and self.running:
                self._end_scan()

    def _happen(self) -> None:
        """Let time pass, scans end and people stop."""
        rng = self.rng
        self.now_s += rng.choice([0.0, 0.0, 0.01, 0.2, 1.0]) if rng.random() < 0.98 else rng.choice([LEASE_S, 60.0])
        if self.running and rng.random() < 0.3:
            self._end_scan()
        if rng.random() < 0.005:
            self.stopped = True
        if rng.random() < 0.1:
            self.desk.beat()

    def _end_scan(self) -> None:
        scan_id, self.running = self.running, None
        self.desk.ended({"ended": {"scan_id": scan_id, "status": "complete", "n_frames": 1}, "parameters": {}})

    def _fail(self, arguments: dict[str, Any]) -> None:
        error = self.rng.choice([DriverFailed("it raised"), NotRecorded("not there"), DriverSilent("silent for 5 s")])
        if isinstance(error, DriverSilent):
            # It does not answer, and yet the scan runs.
            self.running = arguments.get("scan_id")
        raise error

    def _request(self) -> dict[str, Any]:
        rng = self.rng
        holder = self.claims.holder(self.now_s)
        known = (holder or "").partition("/")[0]
        key = known if known in KEYS and rng.random() < 0.6 else rng.choice(self._names)
        self.caller = Caller(name=key, role=KEYS[key])  # type: ignore[arg-type]
        self._number += 1
        if rng.random() < 0.03 and self.answered:
            name = rng.choice([*list(self.answered)[-40:]])
            return {**self.request, "request_id": name} if rng.random() < 0.5 else self._asked(name, key)
        request = self._asked(f"{key}/{self._number}", key)
        if rng.random() < 0.1:
            request[rng.choice(["request_id", "client", "verb", "arguments", "protocol", "colour"])] = _odd(rng)
        if rng.random() < 0.02:
            del request[rng.choice(list(request))]
        return request

    def _asked(self, name: str, key: str) -> dict[str, Any]:
        rng = self.rng
        client = (
            f"{key}/pc" if rng.random() < 0.9 else rng.choice([key, f"{key}x/pc", "ada/pc", "ivy/pc", f"{key}/pc/2"])
        )
        verb = rng.choices(VERBS, [1, 1, 1, 1, 1, 1, 1, 1, 8, 6, 1, 1, 1, 3, 20, 20])[0]
        return {
            "request_id": name, "client": client, "verb": verb, "arguments": _arguments(rng, verb), "protocol": 1,
        }  # fmt: skip


def _at_the_door(reply: dict[str, Any]) -> bool:
    is_unheard = reply["message"].startswith(("not a request", "the arguments of"))
    return is_unheard or reply["error"] in ("KeyRefused", "RoleLacking", "ProtocolMismatch")


class _EndsInTime(Idle):
    """Waiting takes no time: the scan ends meanwhile, or it does not."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self._trial = trial

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        if self._trial.running and self._trial.rng.random() < 0.5:
            self._trial._end_scan()


def _arguments(rng: random.Random, verb: str) -> dict[str, Any]:
    narrower = {"limits.defocus_m.high": _number(rng, -1e-6, 1e-6)}
    made: dict[str, Any] = {
        "lease": {"purpose": "trial", "wait": rng.random() < 0.2},
        "hand_over": {"to": rng.choice(["ada/pc", "bob/pc", "ivy/pc"])},
        "break_glass": {"reason": "I must", "purpose": "trial"},
        "restrict": rng.choice([{"restore": ["limits.defocus_m.high"]}, {"set": narrower}]) | {"why": "trial"},
        "specimen": {"name": "other"}, "check": {"steps": []}, "dose": {"area": "field"},
        "set": {"plan": _set(rng)}, "acquire": {"plan": _acquisition(rng), "measurement_id": "m"},
    }.get(verb, {})  # fmt: skip
    if rng.random() < 0.06 and made:
        made[rng.choice(list(made))] = _odd(rng)
    if rng.random() < 0.02:
        made["colour"] = _odd(rng)
    return made


def _set(rng: random.Random) -> dict[str, Any]:
    names = rng.sample([*LIMITS, "pressure_pa", "defocus", ""], rng.choice([1, 1, 1, 2]))
    if rng.random() < 0.7:
        names = [rng.choice(list(LIMITS))]
    return {"kind": "set", "values": {name: _number(rng, *LIMITS.get(name, (0.0, 1.0))) for name in names}}


def _acquisition(rng: random.Random) -> dict[str, Any]:
    detector = rng.choice(["haadf", "eels", "eels", "camera"])
    dwell_s = _number(rng, *DWELL.get(detector, (1e-3, 1.0)))
    plan: dict[str, Any] = {"detector": detector, "dwell_s": dwell_s}
    if rng.random() < 0.1:
        plan["expected"] = rng.choice([True, False, 1, "yes"])
    if rng.random() < 0.6:
        points = [[_number(rng, 0.0, FIELD_M), _number(rng, 0.0, FIELD_M)] for _ in range(rng.choice([1, 1, 3]))]
        return {"kind": "points", "points": points, **plan}
    shape = [rng.choice([1, 2, 7, 0, -1, 2.0, "3", 1 << 40]) for _ in range(2)] if rng.random() < 0.3 else [2, 3]
    region = {name: _number(rng, 0.0, FIELD_M) for name in ("y_m", "x_m", "height_m", "width_m")}
    return {"kind": "grid", "shape": shape, "region": rng.choice([None, region]), **plan}


def _number(rng: random.Random, low: float, high: float) -> Any:
    """Return a number that is mostly allowed, often at a limit or beyond it by as little as can be, or none at all."""
    fate = rng.random()
    if fate < 0.6:
        return rng.uniform(low, high)
    if fate < 0.9:
        edge = rng.choice([low, high])
        return rng.choice([edge, math.nextafter(edge, -math.inf), math.nextafter(edge, math.inf), 2 * edge, -edge])
    return _odd(rng)


def _odd(rng: random.Random) -> Any:
    return rng.choice([
        math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 2**70, -1, 0, True, None, "", "1e-7", "x" * 5000,
        "\x1b[2J",
        "set", "ada/pc", b"bytes", [], [1, [2, [3]]], {}, {"a": {"b": {}}}, {"kind": "set", "values": {"defocus_m": 0}},
        {"__class__": "x"}, {1: 2}, "\ud800", (1, 2), {"limits.defocus_m.high": 1.0},
    ])  # fmt: skip


def _corners(plan: dict[str, Any]) -> list[tuple[float, float]]:
    if plan["kind"] == "points":
        return list(plan["points"])
    region = plan["region"] or {"y_m": 0.0, "x_m": 0.0, "height_m": FIELD_M, "width_m": FIELD_M}
    # Positions are the centres of pixels.
    ends = []
    for corner, extent, size in zip(("y_m", "x_m"), ("height_m", "width_m"), plan["shape"], strict=True):
        pixel = region[extent] / size
        ends.append((region[corner] + pixel / 2, region[corner] + region[extent] - pixel / 2))
    (y0, y1), (x0, x1) = ends
    return [(y0, x0), (y1, x1)]
