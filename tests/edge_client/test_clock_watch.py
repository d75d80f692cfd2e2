"""The watch over the clocks: now and then, never in the way of a run."""

from __future__ import annotations

from typing import Any

from beamloop.core import InstrumentUnreachable
from beamloop.edge_client.clock_watch import EVERY_S, ClockWatch
from beamloop.edge_client.connection.clock_offset import ClockOffset
from beamloop.edge_client.record.events import Clocked, Event


class Elsewhere:
    """An instrument whose clock is asked for."""

    def __init__(self) -> None:
        self.gone = False

    def clock_offset(self) -> ClockOffset | None:
        if self.gone:
            raise InstrumentUnreachable("gone")
        return ClockOffset(offset_s=1.5, uncertainty_s=0.1, at_s=0.0, samples=8)


def test_the_clocks_are_compared_once_in_a_while_and_a_lost_line_is_no_matter() -> None:
    now, kept, there = [0.0], list[Event](), Elsewhere()
    instrument: Any = there
    watch = ClockWatch(instrument, kept.append, lambda: now[0])
    for now[0] in (1.0, EVERY_S, EVERY_S + 1, 2 * EVERY_S):
        watch.look()
    assert kept == [Clocked(offset_s=1.5, uncertainty_s=0.1, samples=8)] * 2
    there.gone, now[0] = True, 3 * EVERY_S
    watch.look()
    assert len(kept) == 2
