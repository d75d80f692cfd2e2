"""Who commands next: what a change of the lease's holder means for beam and frames."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_desk import POINT, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.answers.close()
    made.audit.close()


def holder(bench: Bench) -> str | None:
    lease = bench.desk.state().lease
    return None if lease is None else lease.holder


def lines(bench: Bench, event: str) -> list[dict[str, Any]]:
    found = map(json.loads, bench.audit_file.read_text().splitlines())
    return [line for line in found if line["event"] == event]


def test_a_client_that_is_next_gets_the_lease_of_one_that_fell_silent_and_its_scan_is_halted(bench: Bench) -> None:
    bench.ask("lease", "ada")
    bench.ask("lease", "bob", wait=True)
    bench.ask("acquire", "ada", plan=POINT)
    bench.now_s = 4.0
    bench.ask("renew", "bob")
    bench.now_s = 5.0
    bench.desk.beat()
    assert bench.guard.said == ["begin", "halt"]
    assert holder(bench) == "bob"
    assert bench.driver.told == [("lapse", {"receiver": "ada"})]
    assert [(line["before"], line["holder"]) for line in lines(bench, "lease")] == [(None, "ada"), ("ada", "bob")]


def test_break_glass_halts_before_it_takes_and_tells_the_former_holder_at_the_next_word(bench: Bench) -> None:
    bench.ask("lease", "ada", purpose="map")
    bench.ask("acquire", "ada", plan=POINT)
    reply = bench.ask("break_glass", "bob", reason="vacuum alarm")
    assert (reply.status, reply.value["holder"]) == ("done", "bob")
    assert bench.guard.said[:2] == ["begin", "halt"]
    for verb in ("renew", "set", "acquire", "hand_over"):
        told = bench.ask(verb, "ada", plan=POINT, to="eve")
        assert (told.status, told.error) == ("refused", "LeaseTaken")
        assert "bob took the lease from ada by break-glass, saying: vacuum alarm" in told.message
    assert lines(bench, "lease")[-1]["how"] == "taken from ada by break-glass: vacuum alarm"
    assert bench.driver.told == [], "ada is still there and gets the end of her scan"


@pytest.mark.parametrize("reason", ["", "  ", None, "x" * 201, "a\nb", 7])
def test_break_glass_without_a_reason_that_others_can_read_is_refused(bench: Bench, reason: Any) -> None:
    bench.ask("lease", "ada")
    arguments = {} if reason is None else {"reason": reason}
    reply = bench.ask("break_glass", "bob", **arguments)
    assert (reply.status, reply.error) == ("refused", "PlanInvalid")
    assert holder(bench) == "ada"
    assert bench.guard.said == []


def test_break_glass_of_what_is_ones_own_disturbs_nothing(bench: Bench) -> None:
    bench.ask("lease", "ada")
    bench.ask("acquire", "ada", plan=POINT)
    assert bench.ask("break_glass", "ada", reason="twice is safe").status == "done"
    assert bench.guard.said == ["begin"]


def test_break_glass_waits_for_no_command(bench: Bench) -> None:
    bench.ask("lease", "ada")
    taken = []

    def hangs(verb: str, timeout_s: float, **arguments: object) -> dict[str, Any]:
        # The driver is at work on ada's command in this very moment, from another thread than bob's.
        thread = threading.Thread(target=lambda: taken.append(bench.ask("break_glass", "bob", reason="it hangs")))
        thread.start()
        thread.join(30.0)
        return {"duration_s": 1.0, "parameters": {}}

    bench.driver.ask = hangs  # type: ignore[method-assign]
    bench.ask("set", "ada", plan={"kind": "set", "values": {"defocus_m": 0.0}})
    assert [reply.value["holder"] for reply in taken] == ["bob"]


def test_a_lease_that_is_broken_between_the_check_and_the_beam_opens_no_beam(bench: Bench) -> None:
    bench.ask("lease", "ada")
    checked = bench.desk._interlock.require

    def broken_meanwhile(*asked: Any) -> None:
        checked(*asked)
        bench.ask("break_glass", "bob", reason="now")

    bench.desk._interlock.require = broken_meanwhile  # type: ignore[method-assign]
    assert bench.ask("acquire", "ada", plan=POINT).error == "LeaseTaken"
    assert "begin" not in bench.guard.said
    assert bench.driver.asked == []


def test_a_scan_goes_on_when_its_lease_is_handed_over(bench: Bench) -> None:
    bench.ask("lease", "ada")
    bench.ask("acquire", "ada", plan=POINT)
    bench.ask("lease", "bob", wait=True)
    assert bench.ask("hand_over", "ada", to="bob").value["holder"] == "bob"
    bench.desk.beat()
    assert bench.guard.said == ["begin", "beat"]
    assert bench.driver.told == [], "frames that ada waits for are still hers"
    assert bench.ask("renew", "bob").status == "done"
    bench.now_s = 5.5
    bench.desk.beat()
    assert bench.guard.said[-1] == "halt", "bob fell silent"


def test_frames_of_who_handed_over_lapse_when_a_third_takes_it(bench: Bench) -> None:
    bench.ask("lease", "ada")
    bench.ask("lease", "bob", wait=True)
    bench.ask("hand_over", "ada", to="bob")
    bench.ask("release", "bob")
    assert bench.driver.told == [("lapse", {"receiver": "bob"})]
    bench.ask("lease", "eve")
    assert bench.driver.told[1:] == [("lapse", {"receiver": "ada"})]


def test_a_former_holder_that_is_done_gives_its_frames_up(bench: Bench) -> None:
    bench.ask("lease", "ada")
    bench.ask("break_glass", "bob", reason="mine")
    bench.ask("release", "ada")
    assert bench.driver.told == [("lapse", {"receiver": "ada"})]
    assert holder(bench) == "bob"


def test_words_about_the_lease_that_are_asked_again_have_the_same_outcome_and_double_nothing(bench: Bench) -> None:
    bench.ask("lease", "ada", "take")
    bench.ask("lease", "bob", "wait", wait=True)
    first = bench.ask("hand_over", "ada", "give", to="bob")
    bench.ask("hand_over", "bob", "give back", to="ada")
    assert bench.ask("hand_over", "ada", "give", to="bob") == first
    assert holder(bench) == "ada", "it was not given a second time"
    broke = bench.ask("break_glass", "eve", "break", reason="why not")
    bench.ask("release", "eve", "leave")
    bench.ask("lease", "ada", "again")
    assert bench.ask("break_glass", "eve", "break", reason="why not") == broke
    assert bench.ask("release", "eve", "leave").status == "done"
    assert bench.ask("lease", "bob", "wait", wait=True).status == "done"
    assert (holder(bench), bench.ask("renew", "bob").error) == ("ada", "LeaseTaken")
    assert bench.ask("lease", "ada", "take").value["holder"] == "ada"


def test_the_lease_cannot_be_handed_to_somebody_who_is_not_there(bench: Bench) -> None:
    bench.ask("lease", "ada")
    assert bench.ask("hand_over", "ada").error == "PlanInvalid"
    assert bench.ask("hand_over", "ada", to="nobody-here").error == "UnknownName"
    assert holder(bench) == "ada"
