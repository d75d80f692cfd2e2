"""The desk: every command passes lease, limits, guard and stored answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from beamloop.core import (
    BeamloopError,
    DetectorInfo,
    DriverFailed,
    DriverSilent,
    InstrumentInfo,
    Limit,
    LimitRefused,
    NotRecorded,
    Parameter,
    Region,
    Reply,
    Request,
    SettingsInvalid,
    StorageFailed,
)
from beamloop.core.limits import Limits
from beamloop.instrument_server.answers import Answers
from beamloop.instrument_server.audit import Audit
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.lease.lease import Lease
from beamloop.instrument_server.limits.interlock import Interlock

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=1e-7, width_m=1e-7),
    parameters=(
        Parameter(name="defocus_m", units="m", value=0.0, low=-1e-6, high=1e-6),
        Parameter(name="pressure_pa", units="Pa", value=1e-6, low=0, high=1, writable=False),
    ),
    detectors=(DetectorInfo(name="haadf", longest_dwell_s=1.0),),
)  # fmt: skip
POINT = {"kind": "points", "detector": "haadf", "points": [[1e-8, 1e-8]], "dwell_s": 1e-3}


class FakeDriver:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.lives = True
        self.fails: BeamloopError | None = None

    def alive(self) -> bool:
        return self.lives

    def tell(self, verb: str, **arguments: Any) -> None:
        self.told.append((verb, arguments))

    def ask(self, verb: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        self.asked.append((verb, arguments))
        if self.fails:
            raise self.fails
        return {"duration_s": 0.5, "scan": {"scan_id": arguments.get("scan_id")}, "parameters": {"defocus_m": 1e-7}}


class FakeGuard:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.leases: list[object] = []
        self.begun = 0
        self.reply: dict[str, Any] | None = {"reason": "", "open": False}

    def say(self, act: str, **facts: object) -> dict[str, Any] | None:
        self.said.append(act)
        self.leases += [facts["lease_s"]] if "lease_s" in facts else []
        self.begun += act == "begin"
        return None if self.reply is None else {"scan": self.begun, **self.reply}


class Bench:
    """A desk with everything around it faked but the files."""

    def __init__(self, folder: Path) -> None:
        self.driver, self.guard, self.blanked, self.now_s = FakeDriver(), FakeGuard(), 0, 0.0
        self.audit_file, self.numbers = folder / "audit.jsonl", 0
        self.answers, self.audit = Answers(folder / "answers.sqlite"), Audit(self.audit_file)
        self.desk = self.made(INFO)

    def made(self, info: InstrumentInfo, **more: Any) -> Desk:
        return Desk(
            "0.1", info, Interlock(Limits(info)), self.driver, self.guard, Lease(5.0), self.answers, self.audit,
            self.blank, lambda: self.now_s, **more,
        )  # fmt: skip

    def blank(self) -> None:
        self.blanked += 1

    def ask(self, verb: Any, client: str = "ada", request_id: str | None = None, **arguments: Any) -> Reply:
        self.numbers += 1
        named = request_id or f"r{self.numbers}"
        return self.desk.answer(Request(request_id=named, client=client, verb=verb, arguments=arguments))

    def end_scan(self, scan_id: str) -> None:
        self.desk.ended({"ended": {"scan_id": scan_id, "status": "complete", "n_frames": 1}, "parameters": {}})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.answers.close()
    made.audit.close()


def test_reading_needs_no_lease_and_commanding_does(bench: Bench) -> None:
    assert bench.ask("describe").value["info"]["name"] == "bench"
    assert bench.ask("describe").value["audit"] == str(bench.audit.head())
    assert bench.ask("state").value["activity"] == "idle"
    for verb in ("set", "acquire", "arm"):
        reply = bench.ask(verb, plan=POINT)
        assert (reply.status, reply.error) == ("refused", "LeaseHeld")
    assert bench.driver.asked == []


def test_the_same_request_is_done_once_and_answered_twice(bench: Bench) -> None:
    bench.ask("lease", purpose="test")
    first = bench.ask("acquire", request_id="same", plan=POINT, measurement_id="m1")
    again = bench.ask("acquire", request_id="same", plan=POINT, measurement_id="m1")
    assert first == again
    assert [verb for verb, _ in bench.driver.asked] == ["acquire"]


def test_a_refusal_is_stored_too(bench: Bench) -> None:
    refused = bench.ask("acquire", request_id="same", plan=POINT)
    bench.ask("lease")
    assert bench.ask("acquire", request_id="same", plan=POINT) == refused


def test_the_beam_is_kept_open_no_longer_than_the_lease(bench: Bench) -> None:
    bench.ask("lease")
    bench.now_s = 4.25
    bench.ask("acquire", plan=POINT)
    bench.now_s = 4.875
    bench.desk.beat()
    bench.ask("renew")
    bench.desk.beat()
    assert bench.guard.leases == [0.75, 0.125, 1.0]


def test_the_beam_opens_for_the_scan_and_closes_at_its_end(bench: Bench) -> None:
    bench.ask("lease")
    scan = bench.ask("acquire", plan=POINT).value["scan"]
    assert bench.guard.said == ["begin"]
    assert bench.desk.state().activity == "acquiring"
    bench.end_scan(scan["scan_id"])
    assert bench.guard.said == ["begin", "close"]
    assert bench.desk.state().activity == "idle"


@pytest.mark.parametrize(
    ("plan", "error", "words"),
    [
        (POINT | {"points": [[2e-7, 0.0]]}, "LimitRefused", "y = 2e-07 m"),
        (POINT | {"points": [[float("nan"), 0.0]]}, "PlanInvalid", "finite"),
        (POINT | {"points": []}, "PlanInvalid", "at least 1"),
        (POINT | {"dwell_s": "long"}, "PlanInvalid", "dwell_s"),
        (POINT | {"dwell_s": 5.0}, "LimitRefused", "dwell_s = 5 s"),
        (POINT | {"detector": "haaf"}, "UnknownName", "did you mean 'haadf'"),
        (POINT | {"expected": True}, "LimitRefused", "noise-free"),
        (POINT | {"colour": 1}, "PlanInvalid", "colour"),
        (None, "PlanInvalid", "plan"),
        ({"kind": "set", "values": {"defocus_m": 0.0}}, "PlanInvalid", "'acquire' was asked"),
    ],
)
def test_a_bad_acquisition_is_refused_before_beam_and_driver(bench: Bench, plan: Any, error: str, words: str) -> None:
    bench.ask("lease")
    reply = bench.ask("acquire", plan=plan)
    assert (reply.status, reply.error) == ("refused", error)
    assert words in reply.message
    assert bench.driver.asked == []
    assert bench.guard.said == []


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"defocus_m": 2e-6}, "LimitRefused", "defocus_m = 2e-06 m refused: limit is -1e-06 .. 1e-06 m"),
        ({"defocus_m": float("nan")}, "PlanInvalid", "finite"),
        ({"defocus": 0.0}, "UnknownName", "did you mean 'defocus_m'"),
        ({"pressure_pa": 0.5}, "LimitRefused", "can be read but not set"),
        ({}, "PlanInvalid", "values"),
    ],
)
def test_a_bad_setting_is_refused(bench: Bench, values: dict[str, float], error: str, words: str) -> None:
    bench.ask("lease")
    reply = bench.ask("set", plan={"kind": "set", "values": values})
    assert (reply.status, reply.error) == ("refused", error)
    assert words in reply.message
    assert bench.driver.asked == []


def test_what_the_driver_refuses_closes_the_beam_again_and_leaves_it_idle(bench: Bench) -> None:
    bench.ask("lease")
    bench.driver.fails = NotRecorded("no such position")
    reply = bench.ask("acquire", plan=POINT)
    assert (reply.status, reply.error) == ("refused", "NotRecorded")
    assert bench.guard.said == ["begin", "close"]
    bench.driver.fails = None
    assert bench.ask("acquire", plan=POINT).status == "done"


def test_a_driver_that_answered_with_a_fault_is_idle_and_one_that_did_not_answer_is_not(bench: Bench) -> None:
    bench.ask("lease")
    bench.driver.fails = DriverFailed("the driver raised ValueError")
    assert bench.ask("acquire", plan=POINT).status == "failed"
    assert bench.desk.state().activity == "idle"
    bench.driver.fails = DriverSilent("silent for 5 s")
    assert bench.ask("acquire", plan=POINT).error == "DriverSilent"
    assert bench.desk.state().activity == "acquiring"


def test_a_scan_without_beam_asks_the_guard_for_none(bench: Bench) -> None:
    expecting = INFO.model_copy(update={"expects": True})
    bench.desk = bench.made(expecting)
    bench.ask("lease")
    assert bench.ask("acquire", plan=POINT | {"expected": True}).status == "done"
    assert bench.guard.leases == [0.0]


def test_a_stopped_instrument_refuses_until_armed(bench: Bench) -> None:
    bench.ask("lease")
    bench.guard.reply = {"refused": "the beam stays blanked: stopped by a person", "reason": "stopped", "open": False}
    assert bench.ask("acquire", plan=POINT).error == "NotArmed"
    assert bench.driver.asked == []


def test_a_silent_guard_makes_the_server_blank_and_refuse(bench: Bench) -> None:
    bench.ask("lease")
    bench.guard.reply = None
    bench.desk.beat()
    assert bench.blanked == 1
    assert bench.ask("acquire", plan=POINT).error == "NotArmed"
    assert bench.desk.state().activity == "lost"
    assert "guard silent" in bench.audit_file.read_text()


def test_a_holder_that_goes_silent_loses_the_beam(bench: Bench) -> None:
    bench.ask("lease")
    bench.ask("acquire", plan=POINT)
    bench.now_s = 1.0
    bench.desk.beat()
    assert bench.guard.said == ["begin", "beat"]
    bench.now_s = 6.0
    bench.desk.beat()
    assert bench.guard.said == ["begin", "beat", "halt"]


def test_a_driver_that_died_ends_its_scan_as_failed(bench: Bench) -> None:
    bench.ask("lease")
    bench.ask("acquire", plan=POINT)
    bench.driver.lives = False
    bench.desk.beat()
    assert bench.guard.said == ["begin", "close"]
    assert "the driver process has ended" in bench.audit_file.read_text()


def test_frames_of_a_former_holder_are_forgotten(bench: Bench) -> None:
    bench.ask("lease", client="ada")
    bench.ask("release", client="ada")
    assert bench.driver.told == [("lapse", {"receiver": "ada"})]
    bench.ask("lease", client="bob")
    bench.now_s = 10.0
    bench.ask("lease", client="eve")
    assert bench.driver.told[-1] == ("lapse", {"receiver": "bob"})


def test_a_release_by_somebody_else_changes_nothing(bench: Bench) -> None:
    bench.ask("lease", client="ada")
    bench.ask("release", client="bob")
    assert bench.driver.told == []
    assert bench.ask("renew", client="ada").status == "done"


def test_a_command_waits_for_the_scan_before_it(bench: Bench) -> None:
    bench.ask("lease")
    scan = bench.ask("acquire", plan=POINT).value["scan"]
    later = threading.Timer(0.05, bench.end_scan, [scan["scan_id"]])
    later.start()
    assert bench.ask("acquire", plan=POINT).status == "done"
    later.join()


def test_another_protocol_is_told_what_to_install(bench: Bench) -> None:
    reply = bench.desk.answer(Request(request_id="r", client="ada", verb="state", protocol=99))
    assert reply.error == "ProtocolMismatch"
    assert "99" in reply.message


def test_every_command_and_refusal_is_a_line_in_the_audit(bench: Bench) -> None:
    bench.ask("acquire", plan=POINT)
    bench.ask("lease", purpose="test")
    bench.ask("acquire", plan=POINT)
    lines = [json.loads(line) for line in bench.audit_file.read_text().splitlines()]
    said = [(line["event"], line["verb"], line.get("error", "")) for line in lines if "verb" in line]
    assert said == [
        ("asked", "acquire", ""), ("refused", "acquire", "LeaseHeld"), ("asked", "lease", ""), ("done", "lease", ""),
        ("asked", "acquire", ""), ("done", "acquire", ""),
    ]  # fmt: skip


@contextmanager
def served(folder: Path) -> Iterator[Bench]:
    bench = Bench(folder)
    bench.ask("lease")
    yield bench
    bench.answers.close()
    bench.audit.close()


def test_answers_outlive_the_server(tmp_path: Path) -> None:
    for number in range(2):
        with served(tmp_path) as bench:
            moved = bench.ask("set", request_id="same", plan={"kind": "set", "values": {"defocus_m": 1e-7}})
            assert moved.status == "done"
            assert len(bench.driver.asked) == (1 - number)


def test_a_scan_of_a_server_that_was_restarted_is_told_as_interrupted_and_never_done_again(tmp_path: Path) -> None:
    with served(tmp_path) as bench:
        first = bench.ask("acquire", request_id="same", plan=POINT)
        assert bench.ask("acquire", request_id="same", plan=POINT) == first
    with served(tmp_path) as bench:
        again = bench.ask("acquire", request_id="same", plan=POINT)
        assert (again.status, again.error) == ("failed", "Interrupted")
        assert bench.driver.asked == []
        other = bench.ask("acquire", request_id="other", plan=POINT)
    assert other.value["scan"]["scan_id"] != first.value["scan"]["scan_id"], "frames are told apart by this name"


def test_a_command_on_which_the_server_died_is_known_as_begun(tmp_path: Path) -> None:
    with served(tmp_path) as bench:

        def die(*arguments: object, **more: object) -> None:
            raise SystemExit("killed")

        bench.driver.ask = die  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            bench.ask("acquire", request_id="same", plan=POINT)
    with served(tmp_path) as bench:
        again = bench.ask("acquire", request_id="same", plan=POINT)
        assert (again.status, again.error) == ("failed", "Interrupted")
        assert bench.driver.asked == []


def test_a_full_disk_refuses_a_command_before_it_is_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ask("lease")

    def full(request_id: str, asked: object) -> None:
        raise StorageFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.answers, "begin", full)
        reply = bench.ask("acquire", request_id="same", plan=POINT)
        assert (reply.status, reply.error) == ("refused", "StorageFailed")
        assert bench.driver.asked == []
    assert bench.ask("acquire", request_id="same", plan=POINT).status == "done"


def test_a_full_disk_under_the_audit_refuses_commands_blanks_and_leaves_questions_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ask("lease")
    bench.ask("acquire", plan=POINT)

    def full(event: str, /, **facts: object) -> None:
        raise StorageFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.audit, "note", full)
        assert bench.ask("arm").error == "StorageFailed"
        assert bench.guard.said == ["begin", "halt", "halt"]
        assert bench.ask("renew").status == "done"
        assert bench.ask("state").status == "done"
        bench.end_scan("a")
    assert [verb for verb, _ in bench.driver.asked] == ["acquire"]
    assert bench.ask("acquire", plan=POINT).status == "done"


def test_a_configuration_may_only_narrow_a_limit() -> None:
    narrow = Limits(INFO, {"defocus_m": Limit(low=0.0, high=1e-7)})
    assert narrow.of("defocus_m").high == pytest.approx(1e-7)
    with pytest.raises(SettingsInvalid, match="may only narrow a limit"):
        Limits(INFO, {"defocus_m": Limit(low=-1.0, high=1.0)})
    assert issubclass(LimitRefused, BeamloopError)
