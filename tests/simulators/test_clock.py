"""The virtual clock: what passes, what is waited for, and what ends a wait."""

from __future__ import annotations

import pytest

from beamloop.simulators import VirtualClock


class RealTime:
    """Real seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def paced(pace: float) -> tuple[VirtualClock, RealTime]:
    real = RealTime()
    return VirtualClock(pace, real.read, real.sleep), real


def test_clock_without_pace_advances_without_waiting() -> None:
    clock, real = paced(0.0)
    assert clock.advance(12.5, interrupted=lambda: True) == 12.5
    assert clock.now_s() == 12.5
    assert real.slept == []


@pytest.mark.parametrize("pace", [0.1, 1.0, 3.0])
def test_paced_clock_waits_pace_real_seconds_for_each_virtual_one(pace: float) -> None:
    clock, real = paced(pace)
    assert clock.advance(2.0) == 2.0
    assert real.now_s - 100.0 == pytest.approx(2.0 * pace)
    assert clock.now_s() == 2.0


def test_computing_counts_as_waiting() -> None:
    clock, real = paced(1.0)
    began = clock.real_s()
    real.now_s += 0.7
    clock.advance(1.0, since_real_s=began)
    assert sum(real.slept) == pytest.approx(0.3)


def test_interruption_ends_the_wait_at_once_and_the_clock_shows_what_passed() -> None:
    clock, real = paced(2.0)
    passed = clock.advance(10.0, interrupted=lambda: real.now_s >= 101.0)
    assert real.now_s - 100.0 == pytest.approx(1.0, abs=0.006)
    assert passed == pytest.approx(0.5, abs=0.003)
    assert clock.now_s() == passed


@pytest.mark.parametrize("seconds", [-1e-9, float("nan")])
def test_clock_refuses_to_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="only goes forward"):
        VirtualClock().advance(seconds)
