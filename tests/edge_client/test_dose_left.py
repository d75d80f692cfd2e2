"""Which candidates have no dose left: asked only where something is bounded, and told once."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from beamloop.core import Acquisition, DoseUncounted, InstrumentInfo, InstrumentUnreachable, PointScan, ProtocolMismatch
from beamloop.edge_client import RemoteInstrument
from beamloop.edge_client.dose_left import DoseLeft, dose_over_field
from beamloop.edge_client.preparation import prepare

from .budgeted import BUDGET_PER_M2, CELL_M, POINT_ELECTRONS, POINT_S, budgeted_experiment

Answer = NDArray[np.bool_] | Exception | None


class Counting:
    """An instrument that gives prepared answers, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = deque(answers), 0

    def dose_left(self, plan: Acquisition) -> NDArray[np.bool_] | None:
        self.asked += 1
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


def left(*without: int) -> NDArray[np.bool_]:
    return ~np.isin(np.arange(64), without)


@pytest.fixture
def there(stem: RemoteInstrument) -> InstrumentInfo:
    return stem.info


def asking(counting: Counting, info: InstrumentInfo, known: tuple[int, ...] = ()) -> DoseLeft:
    return DoseLeft(counting, prepare(budgeted_experiment(points=5), info), known)


def test_each_candidate_is_told_once_in_the_pools_order_and_none_that_was_visited(there: InstrumentInfo) -> None:
    dose = asking(Counting(left(9, 3, 5), left(9, 3, 5), left(9, 3, 5, 12, 1)), there, known=(5,))
    assert dose.used_up() == (3, 9)
    assert dose.used_up() == ()
    dose.visit(12)
    assert dose.used_up() == (1,)
    assert dose.reason == "no dose left for a measurement of 0.05 s"


@pytest.mark.parametrize("nobody", [None, DoseUncounted("no current"), ProtocolMismatch("an older server")])
def test_where_nothing_is_bounded_it_is_not_asked_again_until_something_was_refused(
    there: InstrumentInfo, nobody: Answer
) -> None:
    counting = Counting(nobody, left(2))
    dose = asking(counting, there)
    assert [dose.used_up() for _ in range(3)] == [()] * 3
    assert counting.asked == 1
    dose.bounded()
    assert dose.used_up() == (2,)


def test_an_instrument_that_cannot_be_asked_is_told_and_asked_again(there: InstrumentInfo) -> None:
    dose = asking(Counting(InstrumentUnreachable("gone"), left(2)), there)
    with pytest.raises(InstrumentUnreachable):
        dose.used_up()
    assert dose.used_up() == (2,)


def test_the_instrument_tells_those_whose_cell_is_full_and_no_others(stem: RemoteInstrument) -> None:
    dose = DoseLeft(stem.safety, prepare(budgeted_experiment(points=5), stem.info))
    assert dose.used_up() == ()
    # Twice in the cell of row 1, column 2: its four candidates are the rows 2 and 3, columns 4 and 5 of 8.
    place = (1.5 * CELL_M, 2.5 * CELL_M)
    stem.acquire(PointScan(detector="eels", points=(place, place), dwell_s=POINT_S))
    assert dose.used_up() == (20, 21, 28, 29)


def test_the_dose_over_the_field_moves_with_the_stage(stem: RemoteInstrument) -> None:
    place = (1.5 * CELL_M, 2.5 * CELL_M)
    stem.acquire(PointScan(detector="eels", points=(place,), dwell_s=POINT_S))
    try:
        for aside, column in ((0.0, 2), (CELL_M, 1)):
            stem.move(stage_x_m=aside)
            found = dose_over_field(stem)
            assert found is not None
            assert found.units == "1/nm^2"
            assert np.unravel_index(int(found.data.argmax()), found.data.shape) == (1, column)
            assert found.data.max() == pytest.approx(POINT_ELECTRONS / (CELL_M * 1e9) ** 2)
            np.testing.assert_allclose(found.axes[1].coordinates()[column], (column + 0.5) * CELL_M)
            assert found.data.max() < BUDGET_PER_M2 * 1e-18
    finally:
        stem.move(stage_x_m=0.0)
