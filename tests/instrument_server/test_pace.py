"""A key is answered so often in a second and no more, whatever others ask."""

from __future__ import annotations

import pytest

from beamloop.instrument_server.pace import BURST, MOST_PER_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_key_that_asks_without_end_is_answered_at_its_pace_and_another_at_once() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now_s, clock.sleep)
    for _ in range(BURST + 1 + 500):
        pace.wait("ada")
    assert clock.now_s - 50.0 == pytest.approx(500 / MOST_PER_S)
    before_s = clock.now_s
    for _ in range(BURST):
        pace.wait("bob")
    assert clock.now_s == pytest.approx(before_s)


def test_a_rest_gives_back_one_burst_and_not_more() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now_s, clock.sleep)
    for _ in range(2):
        clock.now_s += 3600.0
        start_s = clock.now_s
        for _ in range(BURST + 1):
            pace.wait("ada")
        assert clock.now_s == pytest.approx(start_s, abs=1e-9)
        pace.wait("ada")
        assert clock.now_s - start_s == pytest.approx(1 / MOST_PER_S, rel=1e-6)


def test_whoever_waits_is_served_in_the_order_of_coming() -> None:
    waits: list[float] = []
    pace = Pace(lambda: 0.0, waits.append)
    for _ in range(BURST + 32):
        pace.wait("ada")
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(31 / MOST_PER_S)
