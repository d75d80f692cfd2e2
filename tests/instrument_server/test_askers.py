"""Who waits for the guard: first answers, last ones, and how many may wait."""

from __future__ import annotations

from beamloop.core import Blanker
from beamloop.instrument_server.guard.guard import PATIENCE_S, Guard
from beamloop.instrument_server.guard.process import MOST_WAITING, Askers


class Still(Blanker):
    """A line that obeys, with a stage that rests when it is told to."""

    moving: bool | None = False

    def open(self) -> None: ...

    def close(self) -> None: ...

    def is_open(self) -> bool:
        return False

    def is_moving(self) -> bool | None:
        return self.moving


def guarded(line: Still) -> Guard:
    guard = Guard(line, "secret", 1.0, now_s=0.0)
    guard.private({"token": "secret", "who": "driver", "act": "beat", "stopping_time_s": 0.4}, 0.0)
    return guard


def test_one_who_follows_gets_two_reports_and_one_who_does_not_gets_one() -> None:
    line = Still()
    line.moving = True
    guard = guarded(line)
    askers = Askers(guard)
    for name, follow in ((b"old", False), (b"new", True)):
        assert not list(askers.add([name], guard.hear({"word": "stop", "follow": follow}, 0.0), 0.0))
    assert [envelope for envelope, _ in askers.due(0.0)] == [[b"new"]]
    assert list(askers.due(PATIENCE_S / 2)) == []
    assert [(envelope, report["motion"]) for envelope, report in askers.due(PATIENCE_S)] == [([b"old"], "commanded")]
    line.moving = False
    guard.private({"token": "secret", "who": "driver", "act": "beat"}, 0.1)
    assert [(envelope, report["motion"]) for envelope, report in askers.due(0.1)] == [([b"new"], "confirmed")]
    assert list(askers.due(1.0)) == []


def test_a_motion_that_does_not_end_is_unknown_when_the_stopping_time_is_over() -> None:
    line = Still()
    line.moving = True
    guard = guarded(line)
    askers = Askers(guard)
    list(askers.add([b"new"], guard.hear({"word": "stop", "follow": True}, 0.0), 0.0))
    assert [report["follows_within_s"] for _, report in askers.due(0.0)] == [0.4]
    assert list(askers.due(0.39)) == []
    [(_, last)] = askers.due(0.4)
    assert (last["motion"], last["follows_within_s"]) == ("unknown", 0.0)


def test_a_crowd_waits_only_so_long_and_the_next_is_told_at_once() -> None:
    line = Still()
    line.moving = True
    guard = guarded(line)
    askers = Askers(guard)
    for number in range(MOST_WAITING):
        assert not list(askers.add([b"%d" % number], guard.hear({"word": "stop", "follow": True}, 0.0), 0.0))
    [(envelope, report)] = askers.add([b"next"], guard.hear({"word": "stop", "follow": True}, 0.0), 0.0)
    assert (envelope, report["motion"], report["follows_within_s"]) == ([b"next"], "commanded", 0.0)
    assert len(list(askers.due(0.0))) == MOST_WAITING
