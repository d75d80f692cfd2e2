"""The offset of two clocks: recovered within what is claimed, however unlike the ways there and back are."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamloop.core import Request
from beamloop.edge_client.connection.clock_offset import RoundTrip, measured_offset, offset_from
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.instrument import connect

from ...instrument_server.test_desk import INFO, Bench

delays = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=9)


@given(st.floats(-1e5, 1e5), delays)
def test_the_true_offset_is_never_further_away_than_is_claimed(true_s: float, ways: list[tuple[float, float]]) -> None:
    trips, now_s = [], 1000.0
    for there_s, back_s in ways:
        trips.append(RoundTrip(now_s, now_s + there_s + true_s, now_s + there_s + back_s))
        now_s += 5.0
    found = offset_from(trips)
    assert abs(found.offset_s - true_s) <= found.uncertainty_s + 1e-9
    assert found.uncertainty_s <= min(there + back for there, back in ways) / 2 + 1e-9


def test_the_quickest_round_trip_is_the_one_that_counts() -> None:
    rng, now, shift_s = random.Random(0), [0.0], 12.5

    def ask() -> float:
        now[0] += rng.uniform(0.001, 1.0)
        there = now[0] + shift_s
        now[0] += rng.uniform(0.001, 1.0)
        return there

    many = measured_offset(ask, lambda: now[0], samples=200)
    assert abs(many.offset_s - shift_s) <= many.uncertainty_s < 0.15


def test_a_round_trip_in_which_our_clock_was_set_back_is_not_counted() -> None:
    assert offset_from([RoundTrip(10.0, 10.0, 9.0), RoundTrip(20.0, 27.0, 22.0)]).offset_s == 6.0
    with pytest.raises(ValueError, match="set back"):
        offset_from([RoundTrip(10.0, 10.0, 9.0)])


def test_a_simulator_on_this_computer_has_our_time() -> None:
    with embedded("simulator") as where, connect(where) as instrument:
        found = instrument.clock_offset()
    assert found is not None
    assert abs(found.offset_s) <= found.uncertainty_s


def test_a_server_whose_clock_is_an_hour_ahead_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    desk = bench.made(INFO, today=lambda: 3600.0 + time.time())

    def answer(line: ControlLine, request: Request) -> object:
        return desk.answer(request).model_dump()

    monkeypatch.setattr(ControlLine, "_sent", answer)
    with connect("localhost:7440") as instrument:
        found = instrument.clock_offset()
    bench.answers.close()
    bench.audit.close()
    assert found is not None
    assert abs(found.offset_s - 3600.0) <= found.uncertainty_s
