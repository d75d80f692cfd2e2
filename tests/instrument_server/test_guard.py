"""The guard's judgement, without processes: permission must be held, silence and words blank."""

from __future__ import annotations

import pytest

from beamloop.core import GuardReport, NotArmed, WireInvalid
from beamloop.instrument_server.guard import PATIENCE_S, RECENT_S, Guard
from beamloop.instrument_server.watch import Watch


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Line:
    """A blanker that remembers, and whose readback can be lost."""

    def __init__(self) -> None:
        self.passes, self.readable, self.stuck = True, True, False

    def open(self) -> None:
        self.passes = True

    def close(self) -> None:
        self.passes = self.passes and self.stuck

    def is_open(self) -> bool | None:
        return self.passes if self.readable else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def guard(line: Line, clock: Clock) -> Guard:
    return Guard(line, token="secret", silence_s=1.0, clock=clock)


def spoken(guard: Guard, word: str) -> GuardReport:
    """Say a word and return the report as it would be sent at once."""
    return guard.report(guard.hear({"word": word}))


def said(who: str, act: str, **facts: object) -> dict[str, object]:
    return {"token": "secret", "who": who, "act": act, **facts}


def test_the_beam_is_blanked_from_the_first_moment(guard: Guard, line: Line) -> None:
    assert line.is_open() is False


def test_permission_runs_out_unless_renewed(guard: Guard, line: Line, clock: Clock) -> None:
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
def test_silence_of_either_process_blanks(silent: str, guard: Guard, line: Line, clock: Clock) -> None:
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
def test_a_word_blanks_at_once_and_calls_the_driver_to_halt(word: str, guard: Guard, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    report = spoken(guard, word)
    assert report.beam == "confirmed"
    assert line.is_open() is False
    assert guard.private(said("driver", "beat"))["halted"] == 1
    assert report.armed == (word == "blank")


def test_a_halt_is_never_taken_for_the_next_scan(guard: Guard) -> None:
    first = guard.private(said("server", "begin", lease_s=1.0))["scan"]
    guard.private(said("server", "halt"))
    second = guard.private(said("server", "begin"))["scan"]
    assert first <= guard.private(said("driver", "beat"))["halted"] < second


def test_a_scan_without_beam_begins_even_when_stopped_and_stays_dark(guard: Guard, line: Line) -> None:
    spoken(guard, "stop")
    assert "scan" in guard.private(said("server", "begin"))
    assert line.is_open() is False


def test_after_a_stop_the_beam_stays_dark_until_armed(guard: Guard, line: Line) -> None:
    spoken(guard, "stop")
    assert "stopped by a person" in guard.private(said("server", "begin", lease_s=1.0))["refused"]
    assert line.is_open() is False
    guard.private(said("server", "arm"))
    guard.private(said("server", "begin", lease_s=1.0))
    assert line.is_open() is True


def test_rest_is_told_apart(guard: Guard, line: Line, clock: Clock) -> None:
    guard.private(said("driver", "beat", acquiring=True))
    guard.private(said("server", "begin", lease_s=60.0))
    line.stuck = True
    report = spoken(guard, "stop")
    assert (report.beam, report.acquisition) == ("commanded", "commanded")
    line.readable = False
    clock.now_s += 2.0
    report = spoken(guard, "stop")
    assert (report.beam, report.acquisition) == ("unknown", "unknown")


def test_asking_for_the_state_changes_nothing(guard: Guard, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    spoken(guard, "state")
    assert line.is_open() is True


def test_the_private_line_needs_the_token(guard: Guard, line: Line) -> None:
    with pytest.raises(WireInvalid, match="token"):
        guard.private({"token": "guess", "who": "server", "act": "begin", "lease_s": 9.0})
    assert line.is_open() is False


@pytest.mark.parametrize("message", [{}, {"word": "halt"}, {"word": 3}, {"word": None}])
def test_an_unknown_word_is_refused_and_changes_nothing(message: dict[str, object], guard: Guard, line: Line) -> None:
    guard.private(said("server", "begin", lease_s=60.0))
    with pytest.raises(WireInvalid, match="knows blank, stop, pause and state"):
        guard.hear(message)
    assert line.is_open() is True


def test_rest_is_confirmed_only_by_what_the_driver_says_after_the_word(guard: Guard, clock: Clock) -> None:
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
    guard: Guard, clock: Clock
) -> None:
    guard.private(said("driver", "beat", acquiring=True))
    assert not guard.settled(guard.hear({"word": "stop"}))
    clock.now_s += RECENT_S + 0.01
    assert guard.settled(guard.hear({"word": "stop"}))
    guard.private(said("driver", "beat", acquiring=True))
    heard = guard.hear({"word": "stop"})
    clock.now_s += PATIENCE_S
    assert guard.settled(heard)
    assert guard.report(heard).acquisition == "commanded"
    assert guard.report(heard).beam == "confirmed"


def test_a_watch_that_lapsed_stays_closed_when_the_silent_one_speaks_again() -> None:
    watch = Watch(("server", "driver"), silence_s=1.0, now_s=0.0)
    watch.open(10.0, now_s=0.5)
    watch.heard("server", 1.4)
    assert not watch.may_be_open(1.4)
    watch.heard("driver", 1.5)
    assert not watch.may_be_open(1.5)
    watch.open(10.0, now_s=1.5)
    assert watch.may_be_open(1.6)


def test_renewing_cannot_reopen() -> None:
    watch = Watch(("server",), silence_s=1.0, now_s=0.0)
    watch.renew(10.0, now_s=0.1)
    assert not watch.may_be_open(0.2)
    watch.stop("stopped")
    with pytest.raises(NotArmed, match="stopped"):
        watch.open(1.0, now_s=0.3)
