"""What nobody knows is charged in full."""

from __future__ import annotations

import pytest

from beamloop.core import InstrumentState, InstrumentUnreachable, Measurement
from beamloop.edge_client.charge import Charge


class Instrument:
    def __init__(self, current_a: float | None) -> None:
        self._current_a = current_a

    def state(self) -> InstrumentState:
        if self._current_a is None:
            raise InstrumentUnreachable("gone")
        return InstrumentState(activity="idle", beam="blanked", parameters={"beam_current_a": self._current_a})


def measured(electrons: float, duration_s: float) -> Measurement:
    return Measurement(
        measurement_id="m", candidate=0, position=(0.0, 0.0), value=1.0, electrons=electrons, duration_s=duration_s
    )


def test_the_dearest_measurement_so_far_stands_for_an_unknown_one() -> None:
    charge = Charge([measured(3.0, 0.2), measured(7.0, 0.1)])
    charge.saw(measured(5.0, 0.3))
    assert charge.most(0.05, Instrument(1.0)) == (7.0, 0.3)


def test_before_any_measurement_the_beam_current_does() -> None:
    # 1 pA is 6.2415e6 electrons a second.
    electrons, duration_s = Charge().most(2.0, Instrument(1e-12))
    assert electrons == pytest.approx(2 * 6.241509e6, rel=1e-6)
    assert duration_s == 2.0


def test_an_instrument_that_is_gone_tells_nothing() -> None:
    assert Charge().most(2.0, Instrument(None)) == (0.0, 2.0)
