"""Limits and dose at the desk: nothing outside reaches the driver, what is refused leaves everything as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from beamloop.core import (
    BeamloopError,
    Condition,
    DetectorInfo,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    Limit,
    Limits,
    NotRecorded,
    Parameter,
    Region,
    Reply,
    Request,
    Rule,
    StorageFailed,
    Timing,
)
from beamloop.core.dry_run import DryRun
from beamloop.instrument_server.answers import Answers
from beamloop.instrument_server.audit import Audit
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.dose.budget import DoseSettings, cell_of
from beamloop.instrument_server.dose.charging import ELEMENTARY_CHARGE_C, Dose
from beamloop.instrument_server.dose.store import DoseStore
from beamloop.instrument_server.idle import Idle
from beamloop.instrument_server.lease.lease import Lease
from beamloop.instrument_server.limits import restrictions
from beamloop.instrument_server.limits.interlock import Interlock
from beamloop.instrument_server.rights import Caller
from tests.faults.amount import amount

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=64e-9, width_m=64e-9),
    parameters=(
        Parameter(name="bias_v", units="V", value=0.0, low=-10, high=10),
        Parameter(name="current_a", units="A", value=1e6 * ELEMENTARY_CHARGE_C, low=0, high=1e-12),
        Parameter(name="stage_y_m", units="m", value=0.0, low=-1e-6, high=1e-6),
        Parameter(name="stage_x_m", units="m", value=0.0, low=-1e-6, high=1e-6),
    ),
    detectors=(DetectorInfo(name="haadf", longest_dwell_s=1.0),), stage=("stage_y_m", "stage_x_m"),
    beam_current="current_a", timing=Timing(settle_s=1e-3, flyback_s=1e-3, jump_s=1e-3),
)  # fmt: skip
LIMITS = {"bias_v": Limit(low=-2, high=2, rate_per_s=0.5, step=0.3)}
RULES = {"stage-in-beam": Rule(moves=("stage_x_m",), beam_open=True, when={"current_a": Condition(above=0)})}
CELL_M = 1e-9
BUDGET = 3000 / CELL_M**2


def points(*places: tuple[float, float], dwell_s: float = 1e-3) -> dict[str, Any]:
    return {"kind": "points", "detector": "haadf", "points": list(places), "dwell_s": dwell_s}


def moving(**values: object) -> dict[str, Any]:
    return {"kind": "set", "values": values}


POINT = points((10.5e-9, 20.5e-9))


class Driver:
    """Does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.values = {p.name: p.value for p in INFO.parameters}
        self.done: list[dict[str, Any]] = []
        self.fails: BeamloopError | None = None

    def alive(self) -> bool:
        return True

    def tell(self, verb: str, **arguments: Any) -> None:
        """Forget nothing: there are no frames."""

    def ask(self, verb: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if self.fails:
            raise self.fails
        if verb != "describe":
            self.done.append(arguments["plan"])
            self.values |= arguments["plan"].get("values", {})
        return {"duration_s": 0.1, "scan": {"scan_id": arguments.get("scan_id")}, "parameters": dict(self.values)}


class Guard:
    """Opens and closes as it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.open = False

    def say(self, act: str, **facts: Any) -> dict[str, Any] | None:
        self.said.append(act)
        if act in ("begin", "close", "halt"):
            self.open = act == "begin"
        return {"scan": 1, "reason": "", "open": self.open}


class Impatient(Idle):
    """Waits for no scan."""

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Return at once."""


class Bench:
    """A desk with limits, rules and a dose; driver and guard are faked, files are not."""

    def __init__(self, folder: Path, limits: Mapping[str, Limit] = LIMITS) -> None:
        self.limits = limits
        self.folder, self.driver, self.guard, self.now_s, self.numbers = folder, Driver(), Guard(), 0.0, 0
        self.scan = ""
        self.start()

    def start(self) -> None:
        self.audit = Audit(self.folder / "audit.jsonl", "process")
        self.answers = Answers(self.folder / "answers.sqlite", "process")
        keys = DoseSettings(budget_per_m2=BUDGET, cell_m=CELL_M)
        self.store = DoseStore(self.folder / "dose.sqlite", cell_of(INFO, keys), "process")
        self.dose = Dose(INFO, keys, self.store)
        self.interlock = Interlock(
            Limits(INFO, self.limits, RULES), self.dose, self.folder / "limits.json", lambda: self.now_s
        )
        self.desk = Desk(
            "0.1", INFO, self.interlock, self.driver, self.guard, Lease(1e9), self.answers, self.audit,
            lambda: None, lambda: self.now_s, Impatient(),
        )  # fmt: skip
        self.desk.heard({"parameters": dict(self.driver.values)})
        self.ask("lease")

    def close(self) -> None:
        self.answers.close()
        self.audit.close()
        self.dose.close()

    def ask(self, verb: Any, caller: Caller | None = None, **arguments: Any) -> Reply:
        self.numbers += 1
        request = Request(request_id=f"r{id(self)}-{self.numbers}", client="ada", verb=verb, arguments=arguments)
        reply = self.desk.answer(request) if caller is None else self.desk.answer(request, caller)
        if verb == "acquire" and reply.status == "done":
            self.scan = reply.value["scan"]["scan_id"]
        return reply

    def end(self, electrons: float, n_frames: int = 1, status: str = "complete") -> None:
        end = {"scan_id": self.scan, "status": status, "n_frames": n_frames, "electrons": electrons}
        self.desk.ended({"ended": end, "parameters": dict(self.driver.values)})
        self.scan = ""

    def electrons(self) -> float:
        with self.dose.reading() as there:
            return there.electrons


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_budget_that_is_used_up_refuses_before_beam_and_driver(bench: Bench) -> None:
    for _ in range(3):
        assert bench.ask("acquire", plan=POINT).status == "done"
        bench.end(1000.0)
    said, done = len(bench.guard.said), len(bench.driver.done)
    reply = bench.ask("acquire", plan=POINT)
    assert (reply.status, reply.error) == ("refused", "DoseRefused")
    assert "it has had 3000 e/nm², this plan adds 1000 e/nm²" in reply.message
    assert (len(bench.guard.said), len(bench.driver.done)) == (said, done)


def test_the_stage_moves_only_in_the_dark_or_without_current(bench: Bench) -> None:
    bench.guard.open = True
    bench.desk.beat()
    reply = bench.ask("set", plan=moving(stage_x_m=1e-8))
    assert (reply.error, "rules.stage-in-beam" in reply.message) == ("LimitRefused", True)
    assert bench.ask("set", plan=moving(current_a=0.0)).status == "done"
    assert bench.ask("set", plan=moving(stage_x_m=1e-8)).status == "done"


def test_a_rate_is_kept_over_time_whatever_becomes_of_the_commands(bench: Bench) -> None:
    assert bench.ask("set", plan=moving(bias_v=0.3)).status == "done"
    bench.driver.fails = DriverFailed("the driver raised")
    assert bench.ask("set", plan=moving(bias_v=0.4)).status == "failed"
    bench.driver.fails = None
    assert "has moved 0.4 V within the last second" in bench.ask("set", plan=moving(bias_v=0.5)).message
    bench.now_s += 1.0
    assert bench.ask("set", plan=moving(bias_v=0.5)).status == "done"


@pytest.mark.parametrize("failure", [DriverFailed("it raised on its way"), DriverSilent("silent for 100 s")])
def test_the_next_move_is_judged_from_where_a_failed_one_has_left_the_instrument(
    bench: Bench, failure: BeamloopError
) -> None:
    bench.driver.fails = failure
    assert bench.ask("set", plan=moving(bias_v=0.3)).status == "failed"
    bench.driver.values["bias_v"] = 0.2
    assert bench.ask("set", plan=moving(bias_v=0.1)).error == type(failure).__name__, "nobody knows where it stands"
    bench.driver.fails, bench.now_s = None, bench.now_s + 1.0
    assert "it stands at 0.2, and one command" in bench.ask("set", plan=moving(bias_v=-0.2)).message
    assert bench.ask("set", plan=moving(bias_v=-0.1)).status == "done"


def test_a_limit_narrowed_below_a_running_scan_halts_it_and_says_why(bench: Bench) -> None:
    bench.ask("acquire", plan=POINT)
    reply = bench.ask("restrict", set={"limits.current_a.high": 1e-14}, why="thin lamella")
    assert reply.value["halted"].startswith("current_a stands at")
    assert "thin lamella" in reply.value["halted"]
    assert bench.guard.said[-1] == "halt"
    assert bench.desk.state().notice.startswith("halted by the server: current_a stands at")
    assert "thin lamella" in (bench.folder / "audit.jsonl").read_text()
    bench.end(0.0, 0, "stopped")
    assert bench.ask("acquire", plan=POINT).error == "InstrumentOutside"
    assert bench.ask("set", plan=moving(current_a=5e-15)).status == "done"
    assert bench.ask("acquire", plan=POINT).status == "done"
    assert bench.desk.state().notice == ""


def test_a_budget_lowered_below_a_running_scan_halts_it(bench: Bench) -> None:
    bench.ask("acquire", plan=points((1e-9, 1e-9), dwell_s=2e-3))
    assert bench.ask("restrict", set={"dose.budget_per_m2": BUDGET / 3}).value["halted"].startswith("dose at y =")
    assert bench.guard.said[-1] == "halt"


def test_a_narrowing_that_nothing_violates_lets_the_scan_go_on(bench: Bench) -> None:
    bench.ask("acquire", plan=POINT)
    assert bench.ask("restrict", set={"limits.bias_v.high": 1.0}).value["halted"] == ""
    assert "halt" not in bench.guard.said
    bench.desk.beat()
    assert bench.guard.said[-1] == "beat"


def test_a_narrowing_waits_for_no_command_that_hangs(bench: Bench) -> None:
    hangs, may_go = threading.Event(), threading.Event()

    def hang(*arguments: Any, **more: Any) -> dict[str, Any]:
        hangs.set()
        may_go.wait(60)
        return {"duration_s": 0.0, "parameters": {}}

    bench.driver.ask = hang  # type: ignore[method-assign]
    command = threading.Thread(target=bench.ask, args=("set",), kwargs={"plan": moving(bias_v=0.1)})
    command.start()
    assert hangs.wait(60)
    assert bench.ask("restrict", set={"limits.bias_v.high": 1.0}).status == "done"
    assert bench.ask("limits").value["parameters"][0]["limit"]["high"] == 1.0
    may_go.set()
    command.join()


def test_a_narrowing_holds_after_a_restart_until_it_is_restored(bench: Bench) -> None:
    bench.ask("restrict", set={"limits.bias_v.high": 1.0, "limits.bias_v.step": 0.1, "dose.budget_per_m2": BUDGET / 2})
    bench.close()
    bench.start()
    table = bench.interlock.table({})
    assert table.parameters[0].limit == Limit(low=-2, high=1, rate_per_s=0.5, step=0.1)
    assert table.parameters[0].widest == LIMITS["bias_v"]
    assert table.budgets == {"dose.budget_per_m2": BUDGET / 2}
    assert bench.ask("describe").value["info"]["parameters"][0]["high"] == 1.0
    assert "narrowed by ada since" in bench.ask("set", plan=moving(bias_v=1.5)).message
    assert bench.ask("restrict", restore=["limits.bias_v"]).value["table"]["parameters"][0]["limit"]["high"] == 2.0
    assert bench.interlock.table({}).budgets == {"dose.budget_per_m2": BUDGET / 2}
    bench.ask("restrict", restore=["all"])
    assert restrictions.read(bench.folder / "limits.json") == {}


def test_a_narrowing_that_the_configuration_no_longer_allows_is_dropped_and_told(bench: Bench) -> None:
    bench.ask("restrict", set={"limits.bias_v.high": 1.0, "limits.current_a.high": 5e-13})
    tighter = Interlock(Limits(INFO, {"bias_v": Limit(high=0.5)}), None, bench.folder / "limits.json")
    assert tighter.limits.of("bias_v").high == 0.5
    assert tighter.limits.of("current_a").high == 5e-13
    assert "limits.bias_v.high = 1" in tighter.dropped[0]


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"set": {"limits.bias_v.high": 3.0}}, "SettingsInvalid"),
        ({"set": {"limits.bias.high": 1.0}}, "UnknownName"),
        ({"set": {"limits.bias_v.hi": 1.0}}, "SettingsInvalid"),
        ({"set": {"bias_v": 1.0}}, "SettingsInvalid"),
        ({"set": {"limits.bias_v.rate_per_s": -1.0}}, "SettingsInvalid"),
        ({"set": {"limits.bias_v.high": -1.0, "limits.bias_v.low": 1.0}}, "SettingsInvalid"),
        ({"set": {"dose.budget_per_m2": 2 * BUDGET}}, "SettingsInvalid"),
        ({"set": {"dose.budget_per_m2": 0.0}}, "SettingsInvalid"),
        ({"set": {"dose.budget_per_m2": -1.0}}, "SettingsInvalid"),
        ({"set": {"dose.budget_per_nm2": 1.0}}, "SettingsInvalid"),
        ({"set": {"limits.bias_v.high": True}}, "PlanInvalid"),
        ({"set": {"limits.bias_v.high": float("nan")}}, "PlanInvalid"),
        ({"set": {"limits.bias_v.high": "1"}}, "PlanInvalid"),
        ({"restore": ["limits.bias_v"]}, "SettingsInvalid"),
        ({}, "PlanInvalid"),
        ({"sett": {}}, "PlanInvalid"),
    ],
)
def test_a_wish_that_makes_no_sense_changes_nothing(bench: Bench, wish: dict[str, Any], error: str) -> None:
    before = bench.interlock.table({})
    assert bench.ask("restrict", **wish).error == error
    assert bench.interlock.table({}) == before


def test_only_an_engineer_narrows(bench: Bench) -> None:
    for role in ("observer", "operator"):
        caller = Caller(name="ada", role=role)  # type: ignore[arg-type]
        assert bench.ask("restrict", caller, set={"limits.bias_v.high": 1.0}).error == "RoleLacking"
        assert bench.ask("specimen", caller, name="other").error == "RoleLacking"
        assert bench.ask("limits", caller).status == "done"


def test_a_disk_that_is_full_does_not_hinder_a_narrowing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(restrictions, "write", full)
    reply = bench.ask("restrict", set={"limits.bias_v.high": 1.0})
    assert "it holds until the server is restarted" in reply.value["warning"]
    assert bench.interlock.limits.of("bias_v").high == 1.0


def test_counts_that_disagree_blank_and_nothing_is_exposed_until_it_is_armed(bench: Bench) -> None:
    bench.ask("acquire", plan=POINT)
    bench.end(1100.0)
    assert bench.guard.said[-1] == "halt"
    assert "counted twice" in bench.desk.state().notice
    reply = bench.ask("acquire", plan=points((50e-9, 50e-9)))
    assert (reply.error, "then arm the instrument" in reply.message) == ("InstrumentOutside", True)
    assert bench.ask("set", plan=moving(bias_v=0.1)).status == "done"
    bench.ask("arm")
    assert bench.ask("acquire", plan=points((50e-9, 50e-9))).status == "done"


@pytest.mark.parametrize(("fails", "charged"), [(NotRecorded("no"), 0.0), (DriverFailed("broke"), 1000.0)])
def test_a_scan_that_was_refused_costs_nothing_and_one_that_broke_everything(
    bench: Bench, fails: BeamloopError, charged: float
) -> None:
    bench.driver.fails = fails
    bench.ask("acquire", plan=POINT)
    assert bench.electrons() == pytest.approx(charged)


def test_a_dry_run_says_what_the_commands_would_meet_and_changes_nothing(bench: Bench) -> None:
    bench.ask("acquire", plan=POINT)
    bench.end(1000.0)
    before, done = bench.electrons(), len(bench.driver.done)
    steps = [
        {"name": "too far", "plan": moving(bias_v=3.0)},
        {"name": "a step", "plan": moving(bias_v=0.2)},
        {"name": "back", "plan": moving(bias_v=-0.2)},
        {"name": "picture", "plan": {"kind": "grid", "detector": "haadf", "shape": [64, 64], "dwell_s": 1e-3}},
        {"name": "again", "plan": points((10.5e-9, 20.5e-9), dwell_s=1.5e-3)},
        {"name": "nowhere", "plan": points((1.0, 1.0)) | {"detector": "hadf"}},
    ]
    told = DryRun.model_validate(bench.ask("check", Caller(name="eve", role="observer"), steps=steps).value)
    by = {step.name: step for step in told.steps}
    assert "limit is -2 .. 2 V" in by["too far"].refused[0]
    assert by["a step"].refused == ()
    assert "it stands at 0.2" in by["back"].refused[0], "each step finds what the one before left"
    assert by["picture"].electrons == pytest.approx(64**2 * 1000)
    assert by["picture"].duration_s == pytest.approx(1e-3 + 64**2 * 1e-3 + 63e-3)
    assert by["picture"].greatest_per_m2 == pytest.approx(2000 / CELL_M**2)
    assert "it has had 2000 e/nm², this plan adds 1500 e/nm²" in by["again"].refused[0]
    assert "did you mean 'haadf'" in by["nowhere"].refused[0]
    assert not told.passes
    assert (bench.electrons(), len(bench.driver.done)) == (before, done)


def test_a_dry_run_bounds_what_a_policy_may_choose(bench: Bench) -> None:
    bench.ask("acquire", plan=points((0.5e-9, 0.5e-9), dwell_s=2.5e-3))
    bench.end(2500.0)
    # 4 candidates in each of 4 x 4 cells, of which each allows 3 measurements but the first none.
    region = {"y_m": 0, "x_m": 0, "height_m": 4e-9, "width_m": 4e-9}
    pool = {"kind": "grid", "detector": "haadf", "shape": [8, 8], "dwell_s": 1e-3, "region": region}
    (told,) = DryRun.model_validate(bench.ask("check", steps=[{"name": "m", "plan": pool, "choose": 50}]).value).steps
    assert (told.measurements, told.possible, told.closed, told.suffices) == (50, 45, 4, False)
    assert told.electrons == pytest.approx(50 * 1000)
    assert told.duration_s == pytest.approx(50 * 2e-3)
    assert told.greatest_per_m2 == pytest.approx(BUDGET)
    left = bench.ask("dose", plan=pool).value
    assert left["bounded"]
    assert sum(bin(byte).count("1") for byte in left["left"]) == 64 - 4


VALUES = st.one_of(
    st.floats(-0.7, 0.7), st.sampled_from([0.25, -0.25, 0.5, -0.5, 0.6, 1e-6, -1e-6, 1e-12, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True), st.booleans(), st.text(max_size=3),
)  # fmt: skip
PLACES = st.sampled_from([10.5e-9, 10.9e-9]) | st.floats(-1e-8, 70e-9) | st.floats(allow_nan=True)
"""Mostly one cell, so that budgets are reached."""


class Adversary(RuleBasedStateMachine):
    """Asks anything in any order; what reaches the driver is looked at independently of the limits' own code."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        # A range of two steps, so that its ends are reached.
        self.bench = Bench(Path(self.folder.name), {"bias_v": Limit(low=-0.5, high=0.5, rate_per_s=0.5, step=0.3)})
        self.charged = 0.0
        self.moves: list[tuple[float, float]] = []

    def teardown(self) -> None:
        self.bench.close()
        self.folder.cleanup()

    @rule(name=st.sampled_from([p.name for p in INFO.parameters] + ["bias"]), value=VALUES)
    def set(self, name: str, value: object) -> None:
        before, high = dict(self.bench.driver.values), self.bench.interlock.limits.of("bias_v").high
        reply = self.bench.ask("set", plan=moving(**{name: value}))
        if reply.status == "done":
            assert isinstance(value, float | int)
            assert not isinstance(value, bool)
            low, top = {"bias_v": (-0.5, high), "current_a": (0, 1e-12)}.get(name, (-1e-6, 1e-6))
            assert low <= value <= top
            assert name != "stage_x_m" or not self.bench.guard.open or before["current_a"] == 0 or value == before[name]
            if name == "bias_v":
                assert abs(value - before[name]) <= 0.3 * (1 + 1e-9)
                self.moves.append((self.bench.now_s, abs(value - before[name])))
                lately = [d for t, d in self.moves if self.bench.now_s - t < 1.0]
                assert sum(lately) <= 0.5 * (1 + 1e-9)
        else:
            assert self.bench.driver.values == before

    @rule(y=PLACES, x=PLACES, dwell=st.floats(1e-8, 5e-3))
    def acquire(self, y: float, x: float, dwell: float) -> None:
        before, done = self.bench.electrons(), len(self.bench.driver.done)
        reply = self.bench.ask("acquire", plan=points((y, x), dwell_s=dwell))
        if reply.status == "done":
            assert 0 <= y <= 64e-9
            assert 0 <= x <= 64e-9
            self.plan = dwell * self.bench.driver.values["current_a"] / ELEMENTARY_CHARGE_C
            self.charged += self.plan
        else:
            assert reply.status == "refused"
            assert len(self.bench.driver.done) == done
            assert self.bench.electrons() == before

    @precondition(lambda self: self.bench.scan)
    @rule(part=st.floats(0.96, 1.04), status=st.sampled_from(["complete", "stopped"]))
    def end(self, part: float, status: str) -> None:
        self.bench.end(part * self.plan, 1, status)
        self.charged += (part - 1) * self.plan

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.bench.now_s += seconds

    @rule(high=st.floats(-0.6, 0.6))
    def narrow(self, high: float) -> None:
        done = self.bench.ask("restrict", set={"limits.bias_v.high": high}).status == "done"
        assert done is (-0.5 <= high <= 0.5)

    @rule()
    def restore(self) -> None:
        self.bench.ask("restrict", restore=["all"])

    @rule()
    def restart(self) -> None:
        self.bench.close()
        self.bench.scan, self.bench.guard.open, self.moves = "", False, []
        self.bench.start()

    @invariant()
    def the_map_is_the_sum_of_its_charges(self) -> None:
        assert self.bench.electrons() == pytest.approx(self.charged, rel=1e-9, abs=1e-6)

    @invariant()
    def no_place_has_had_more_than_its_budget(self) -> None:
        with self.bench.dose.reading() as there:
            most = max((float(cells.max()) for cells in there.tiles.values()), default=0.0)
        # The two counts may differ by a twentieth.
        assert most / CELL_M**2 <= BUDGET * 1.05


Adversary.TestCase.settings = settings(
    max_examples=amount(15, 400), stateful_step_count=30, deadline=None, print_blob=True
)
TestAdversary = Adversary.TestCase
