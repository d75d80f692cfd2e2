"""The guard's judgement, without processes: permission must be held, silence and words blank."""

from __future__ import annotations

from typing import Any

import pytest

from beamloop.core import Blanker, GuardReport, NotArmed, WireInvalid
from beamloop.instrument_server.guard.guard import PATIENCE_S, RECENT_S, Guard, Heard
from beamloop.instrument_server.guard.watch import Watch


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0


class Line(Blanker):
    """A line that remembers, and whose readback can be lost; a stage on it stops only when it is told so again."""

    def __init__(self) -> None:
        self.passes, self.readable, self.stuck = True, True, False
        self.halted, self.moving, self.halts = False, False, 0

    def open(self) -> None:
        self.passes = True

    def close(self) -> None:
        self.passes = self.passes and self.stuck

    def is_open(self) -> bool | None:
        return self.passes if self.readable else None

    def halt(self) -> None:
        self.halted, self.halts = True, self.halts + 1

    def free(self) -> None:
        self.halted = False

    def is_halted(self) -> bool:
        return self.halted

    def is_moving(self) -> bool | None:
        return self.moving if self.readable else None


class Timed:
    """A guard that is told the clock's time."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._guard, self._clock = Guard(line, "secret", 1.0, clock.now_s), clock

    def private(self, message: dict[str, object]) -> dict[str, Any]:
        return self._guard.private(message, self._clock.now_s)

    def hear(self, message: dict[str, object]) -> Heard:
        return self._guard.hear(message, self._clock.now_s)

    def tick(self) -> None:
        self._guard.tick(self._clock.now_s)

    def settled(self, heard: Heard) -> bool:
        return self._guard.settled(heard, self._clock.now_s)

    def over(self, heard: Heard) -> bool:
        return self._guard.over(heard, self._clock.now_s)

    def report(self, heard: Heard) -> GuardReport:
        return self._guard.report(heard, self._clock.now_s)

    def leave(self) -> None:
        self._guard.leave()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def guard(line: Line, clock: Clock) -> Timed:
    return Timed(line, clock)


def spoken(guard: Timed, word: str) -> GuardReport:
    """Say a word and return the report as it would be sent at once."""
    return guard.report(guard.hear({"word": word}))


def said(who: str, act: str, **facts: object) -> dict[str, object]:
    return {"token": "secret", "who": who, "act": act, **facts}


def test_the_beam_is_blanked_from_the_first_moment(guard: Timed, line: Line) -> None:
    assert line.is_open() is False


def test_permission_runs_out_unless_renewed(guard: Timed, line: Line, clock: Clock) -> None:
    guard.private(said("server", "begin", lease_s=0.5))
    for _ in range(6):
        clock.now_s += 0.4
        guard.private(said("driver", "beat"))
        guard.private(said("server", "beat", lease_s=0.5))
        guard.tick()
        assert line.is_open() is True
    clock.now_s += 0.6
    guard.private(said("driver", "beat"))
    guard.tick()
    assert line.is_open() is False


@pytest.mark.parametrize("silent", ["server", "driver"])
def test_silence_of_either_process_blanks(silent: str, guard: Timed, line: Line, clock: Clock) -> None:
    lively = {"server": "driver", "driver": "server"}[silent]
    guard.private(said("driver", "beat"))
    guard.private(said("server", "begin", lease_s=60.0))
    for _ in range(3):
        clock.now_s += 0.4
        guard.private(said(lively, "beat", lease_s=60.0))
        guard.tick()
    assert line.is_open() is False
    refused = guard.private(said(lively, "begin", lease_s=1.0))
    assert f"{silent} silent" in refused["refused"]


@pytest.mark.parametrize("word", ["blank", "stop", "pause"])
def test_a_word_blanks_at_once_and_calls_the_driver_to_halt(word: str, guard: Timed, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    report = spoken(guard, word)
    assert report.beam == "confirmed"
    assert line.is_open() is False
    assert guard.private(said("driver", "beat"))["halted"] == 1
    assert report.armed == (word == "blank")


def test_a_halt_is_never_taken_for_the_next_scan(guard: Timed) -> None:
    first = guard.private(said("server", "begin", lease_s=1.0))["scan"]
    guard.private(said("server", "halt"))
    second = guard.private(said("server", "begin"))["scan"]
    assert first <= guard.private(said("driver", "beat"))["halted"] < second


def test_a_scan_without_beam_begins_even_when_stopped_and_stays_dark(guard: Timed, line: Line) -> None:
    spoken(guard, "stop")
    assert "scan" in guard.private(said("server", "begin"))
    assert line.is_open() is False


def test_after_a_stop_the_beam_stays_dark_until_armed(guard: Timed, line: Line) -> None:
    spoken(guard, "stop")
    assert "stopped by a person" in guard.private(said("server", "begin", lease_s=1.0))["refused"]
    assert line.is_open() is False
    guard.private(said("server", "arm"))
    guard.private(said("server", "begin", lease_s=1.0))
    assert line.is_open() is True


def test_rest_is_told_apart(guard: Timed, line: Line, clock: Clock) -> None:
    guard.private(said("driver", "beat", acquiring=True))
    guard.private(said("server", "begin", lease_s=60.0))
    line.stuck = True
    report = spoken(guard, "stop")
    assert (report.beam, report.acquisition) == ("commanded", "commanded")
    assert report.follows_within_s == 0
    line.readable = False
    clock.now_s += 2.0
    report = spoken(guard, "stop")
    assert (report.beam, report.acquisition) == ("unknown", "unknown")


def test_asking_for_the_state_changes_nothing(guard: Timed, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    spoken(guard, "state")
    assert line.is_open() is True


def test_the_private_line_needs_the_token(guard: Timed, line: Line) -> None:
    with pytest.raises(WireInvalid, match="token"):
        guard.private({"token": "guess", "who": "server", "act": "begin", "lease_s": 9.0})
    assert line.is_open() is False


@pytest.mark.parametrize("message", [{}, {"word": "halt"}, {"word": 3}, {"word": None}])
def test_an_unknown_word_is_refused_and_changes_nothing(message: dict[str, object], guard: Timed, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    with pytest.raises(WireInvalid, match="knows blank, stop, pause and state"):
        guard.hear(message)
    assert line.is_open() is True


def test_rest_is_confirmed_only_by_what_the_driver_says_after_the_word(guard: Timed, clock: Clock) -> None:
    guard.private(said("driver", "beat", acquiring=False))
    guard.private(said("server", "begin", lease_s=60.0))
    heard = guard.hear({"word": "stop"})
    assert not guard.settled(heard)
    clock.now_s += 0.01
    guard.private(said("driver", "beat", acquiring=True))
    assert not guard.settled(heard)
    assert guard.report(heard).acquisition == "commanded"
    clock.now_s += 0.05
    guard.private(said("driver", "beat", acquiring=False))
    assert guard.settled(heard)
    assert guard.report(heard).acquisition == "confirmed"


def test_an_answer_waits_only_so_long_for_a_driver_and_not_at_all_for_one_that_hangs(
    guard: Timed, clock: Clock
) -> None:
    guard.private(said("driver", "beat", acquiring=True))
    assert not guard.settled(guard.hear({"word": "stop"}))
    clock.now_s += RECENT_S + 0.01
    assert guard.settled(guard.hear({"word": "stop"}))
    guard.private(said("server", "arm"))
    guard.private(said("server", "begin"))
    guard.private(said("driver", "beat", acquiring=True))
    heard = guard.hear({"word": "stop"})
    clock.now_s += PATIENCE_S
    assert guard.settled(heard)
    assert guard.report(heard).acquisition == "commanded"
    assert guard.report(heard).beam == "confirmed"


def test_stop_and_pause_halt_motion_and_blank_does_not(guard: Timed, line: Line) -> None:
    line.moving = True
    report = spoken(guard, "blank")
    assert (line.halted, report.motion) == (False, "active")
    report = spoken(guard, "pause")
    assert (line.halted, report.motion) == (True, "commanded")
    line.moving = False
    assert spoken(guard, "stop").motion == "confirmed"


def test_what_moves_although_it_was_halted_is_halted_again_until_armed(guard: Timed, line: Line) -> None:
    spoken(guard, "stop")
    line.moving, line.halts = True, 0
    for _ in range(3):
        guard.tick()
    assert line.halts == 3
    guard.private(said("server", "arm"))
    guard.tick()
    assert (line.halts, line.halted) == (3, False)


def test_nothing_may_move_until_armed(guard: Timed) -> None:
    assert "refused" not in guard.private(said("server", "move"))
    spoken(guard, "pause")
    assert "nothing may move: paused by a person" in guard.private(said("server", "move"))["refused"]
    guard.private(said("server", "arm"))
    assert "refused" not in guard.private(said("server", "move"))


def test_a_line_that_is_halted_when_the_guard_comes_stays_so_until_armed(line: Line, clock: Clock) -> None:
    line.halt()
    guard = Timed(line, clock)
    assert "stopped before this server was started" in guard.private(said("server", "begin", lease_s=1.0))["refused"]
    guard.private(said("server", "arm"))
    assert guard.private(said("server", "begin", lease_s=1.0))["open"] is True


def test_who_follows_is_answered_at_once_and_again_when_all_is_read_back(
    guard: Timed, line: Line, clock: Clock
) -> None:
    guard.private(said("driver", "beat", acquiring=True, stopping_time_s=0.5))
    guard.private(said("server", "begin", lease_s=60.0))
    line.moving = True
    heard = guard.hear({"word": "stop", "follow": True})
    assert guard.settled(heard)
    first = guard.report(heard)
    assert (first.beam, first.acquisition, first.motion) == ("confirmed", "commanded", "commanded")
    assert first.follows_within_s == 0.5
    clock.now_s += 0.1
    guard.private(said("driver", "beat", acquiring=False))
    assert not guard.over(heard)
    line.moving = False
    assert guard.over(heard)
    last = guard.report(heard)
    assert (last.beam, last.acquisition, last.motion) == ("confirmed", "confirmed", "confirmed")
    assert last.follows_within_s == 0


def test_what_is_not_read_back_within_the_stopping_time_is_unknown(guard: Timed, line: Line, clock: Clock) -> None:
    guard.private(said("driver", "beat", acquiring=True, stopping_time_s=0.5))
    guard.private(said("server", "begin", lease_s=60.0))
    line.moving = line.stuck = True
    heard = guard.hear({"word": "stop", "follow": True})
    clock.now_s += 0.4
    guard.private(said("driver", "beat", acquiring=True))
    guard.tick()
    assert not guard.over(heard)
    clock.now_s += 0.1
    assert guard.over(heard)
    last = guard.report(heard)
    assert (last.beam, last.acquisition, last.motion) == ("unknown", "unknown", "unknown")
    assert "the beam was not read back at rest; the acquisition was not read back at rest" in last.reason


def test_a_part_that_did_not_obey_an_earlier_stop_is_unknown_from_the_first_answer(
    guard: Timed, line: Line, clock: Clock
) -> None:
    guard.private(said("driver", "beat", stopping_time_s=0.5))
    line.moving = True
    spoken(guard, "stop")
    clock.now_s += 0.6
    assert spoken(guard, "stop").motion == "unknown"


def test_what_works_undisturbed_is_told_as_active(guard: Timed, clock: Clock) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    guard.private(said("driver", "beat", acquiring=True))
    report = spoken(guard, "state")
    assert (report.beam, report.acquisition, report.motion) == ("active", "active", "confirmed")


def test_a_beginning_that_nobody_waits_for_any_more_is_refused(guard: Timed, line: Line, clock: Clock) -> None:
    for act in ("begin", "move"):
        late = guard.private(said("server", act, lease_s=1.0, before_s=clock.now_s - 0.01))
        assert "too late" in late["refused"]
    assert line.is_open() is False


def test_the_stop_of_a_proof_is_armed_only_if_no_person_has_stopped_meanwhile(guard: Timed, line: Line) -> None:
    guard.hear({"word": "stop", "proof": True})
    facts = guard.private(said("server", "beat"))
    assert facts["reason"] == "stopped for a moment, to prove the chain"
    spoken(guard, "stop")
    facts = guard.private(said("server", "arm", stops=facts["stops"]))
    assert "stopped by a person" in facts["reason"]
    assert line.halted
    guard.hear({"word": "stop", "proof": True})
    facts = guard.private(said("server", "beat"))
    assert "stopped by a person" in facts["reason"]
    guard.private(said("server", "arm"))
    guard.hear({"word": "stop", "proof": True})
    facts = guard.private(said("server", "beat"))
    assert guard.private(said("server", "arm", stops=facts["stops"]))["reason"] == ""


def test_a_stop_outlives_the_guard_and_the_moment_of_a_proof_does_not(line: Line, clock: Clock) -> None:
    for word, halted in (({"word": "stop", "proof": True}, False), ({"word": "stop"}, True)):
        guard = Timed(line, clock)
        guard.hear(word)
        guard.leave()
        assert line.halted is halted


def test_a_permission_in_the_dark_runs_out_as_any_and_opens_nothing(guard: Timed, line: Line, clock: Clock) -> None:
    facts = guard.private(said("server", "begin", lease_s=0.5, dark=True))
    assert (facts["permitted"], facts["open"]) == (True, False)
    clock.now_s += 0.6
    assert guard.private(said("server", "beat"))["permitted"] is False


def test_the_driver_opens_again_what_it_has_blanked_only_on_the_permission_that_its_scan_has(
    guard: Timed, line: Line, clock: Clock
) -> None:
    server, driver = {"token": "secret", "who": "server"}, {"token": "secret", "who": "driver"}
    assert guard.private({**driver, "act": "reopen"})["open"] is False, "no scan has begun"
    guard.private({**server, "act": "begin", "lease_s": 1.0})
    line.close()
    clock.now_s += 0.5
    assert guard.private({**driver, "act": "reopen"})["open"] is True
    line.close()
    assert "refused" in guard.private({**driver, "act": "reopen", "before_s": clock.now_s - 0.1})
    assert not line.passes, "nobody waited for it any more"
    clock.now_s += 0.5
    assert guard.private({**driver, "act": "reopen"})["open"] is False, "the permission has run out"
    for word in ("blank", "stop"):
        guard.private({**server, "act": "begin", "lease_s": 1.0})
        guard.hear({"word": word})
        assert guard.private({**driver, "act": "reopen"})["open"] is False


def test_a_beat_that_waited_for_a_held_up_guard_counts_from_when_it_was_said(
    guard: Timed, line: Line, clock: Clock
) -> None:
    guard.private(said("server", "begin", lease_s=1.0))
    clock.now_s += 0.9
    late = guard.private(said("server", "beat", lease_s=1.0, said_s=clock.now_s - 0.8))
    assert late["until_s"] == pytest.approx(clock.now_s + 0.2)
    guard.private(said("driver", "beat"))
    clock.now_s += 0.19
    guard.tick()
    assert line.is_open() is True
    clock.now_s += 0.02
    guard.tick()
    assert line.is_open() is False


def test_a_driver_whose_old_beat_is_heard_late_is_silent_for_as_long_as_it_was(
    guard: Timed, line: Line, clock: Clock
) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    clock.now_s += 0.9
    guard.private(said("server", "beat", lease_s=60.0))
    guard.private(said("driver", "beat", said_s=clock.now_s - 0.8))
    clock.now_s += 0.25
    guard.tick()
    assert line.is_open() is False


def test_a_beginning_whose_permission_is_over_when_it_is_heard_is_refused(
    guard: Timed, line: Line, clock: Clock
) -> None:
    late = guard.private(said("server", "begin", lease_s=0.5, said_s=clock.now_s - 0.5))
    assert "too late" in late["refused"]
    assert line.is_open() is False


def test_a_renewal_that_was_said_before_the_beam_was_asked_for_says_nothing_about_it() -> None:
    watch = Watch(("server",), silence_s=1.0, now_s=0.0)
    watch.open(1.0, now_s=0.9, said_s=0.8)
    watch.renew(1.0, now_s=0.9, said_s=0.1)
    watch.heard("server", 1.5)
    assert watch.may_be_open(1.7)
    assert not watch.may_be_open(1.8)


def test_a_watch_that_lapsed_stays_closed_when_the_silent_one_speaks_again() -> None:
    watch = Watch(("server", "driver"), silence_s=1.0, now_s=0.0)
    watch.open(10.0, now_s=0.5, said_s=0.5)
    watch.heard("server", 1.4)
    assert not watch.may_be_open(1.4)
    watch.heard("driver", 1.5)
    assert not watch.may_be_open(1.5)
    watch.open(10.0, now_s=1.5, said_s=1.5)
    assert watch.may_be_open(1.6)


def test_renewing_cannot_reopen() -> None:
    watch = Watch(("server",), silence_s=1.0, now_s=0.0)
    watch.renew(10.0, now_s=0.1, said_s=0.1)
    assert not watch.may_be_open(0.2)
    watch.stop("stopped")
    with pytest.raises(NotArmed, match="stopped"):
        watch.open(1.0, now_s=0.3, said_s=0.3)
