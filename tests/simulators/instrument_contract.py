"""What every `Instrument` must do: each function here is one claim and fails by assertion.

An instrument's own test gives these functions a freshly made instrument, its blanker, and a
small plan that it can carry out; the claims hold for simulator, recording and hardware alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from beamloop.core import (
    Acquisition,
    BeamBlanked,
    Blanker,
    FrameBatch,
    Instrument,
    LimitRefused,
    NotRecorded,
    PointScan,
    Scan,
    UnknownName,
)

LARGEST_BATCH_BYTES = 2 << 20


@dataclass(frozen=True)
class Case:
    """One instrument to be held to the contract.

    Attributes
    ----------
    made
        Makes the instrument anew from a blanker; the same one each time.
    blanker
        What the instrument was told to obey; blanked at first.
    plans
        Small acquisitions that it can do, one of each detector to be tried.
    needs_beam
        Whether a blanked beam stops it; False for recordings.
    """

    made: Callable[[Blanker], Instrument]
    blanker: Blanker
    plans: tuple[Acquisition, ...]
    needs_beam: bool

    def instrument(self) -> Instrument:
        """Return a new instrument whose beam is open."""
        self.blanker.open()
        return self.made(self.blanker)


def acquired(instrument: Instrument, plan: Acquisition, measurement_id: str = "m1") -> tuple[Scan, NDArray]:
    """Return the header and all frames of a plan, put in their places, shape (*scan_shape, *frame_shape)."""
    scan = instrument.begin(plan, "s1", measurement_id, "tester")
    frames = np.zeros((scan.n_frames, *scan.frame_shape), dtype=scan.dtype)
    for batch in instrument.frames(plan, scan):
        frames[batch.indices] = batch.frames
    return scan, frames.reshape(*scan.scan_shape, *scan.frame_shape)


def batches_of(instrument: Instrument, plan: Acquisition) -> tuple[Scan, list[FrameBatch]]:
    """Return the header and the batches of a plan as they came."""
    scan = instrument.begin(plan, "s1", "m1", "tester")
    return scan, list(instrument.frames(plan, scan))


def description_is_consistent(case: Case) -> None:
    """Names are unique, values lie within their limits, and the overview is a detector."""
    info = case.instrument().describe()
    for things in (info.parameters, info.detectors):
        assert len({thing.name for thing in things}) == len(things)
    for parameter in info.parameters:
        assert parameter.low <= parameter.value <= parameter.high, parameter
    if info.overview is not None:
        assert info.detector(info.overview).frame_axes == ()


def header_repeats_the_question(case: Case) -> None:
    """The header carries the ids, the plan's axes and dwell, the detector's frames and all parameters."""
    instrument = case.instrument()
    info = instrument.describe()
    for plan in case.plans:
        scan = instrument.begin(plan, "s7", "m7", "someone")
        detector = info.detector(plan.detector)
        assert (scan.scan_id, scan.measurement_id, scan.receiver) == ("s7", "m7", "someone")
        assert scan.scan_axes == plan.axes(info.field)
        assert scan.frame_axes == detector.frame_axes
        assert scan.dwell_s == plan.dwell_s
        if info.source != "recording":
            assert scan.simulated == (info.source == "simulator")
        assert scan.state == {parameter.name: parameter.value for parameter in info.parameters}
        assert scan.started_s == instrument.now_s()


def begin_exposes_nothing(case: Case) -> None:
    """Asking for a header costs neither dose nor time."""
    instrument = case.instrument()
    before = instrument.now_s(), instrument.dose_electrons()
    for plan in case.plans:
        instrument.begin(plan, "s1", "m1", "tester")
    assert (instrument.now_s(), instrument.dose_electrons()) == before


def every_frame_comes_once_at_its_place(case: Case) -> None:
    """Batches fit the header, are no larger than 2 MiB, and hold each index once at the planned position."""
    instrument = case.instrument()
    field = instrument.describe().field
    for plan in case.plans:
        scan, batches = batches_of(instrument, plan)
        for batch in batches:
            batch.check(scan)
            assert batch.scan_id == scan.scan_id
            assert batch.frames.nbytes <= max(LARGEST_BATCH_BYTES, batch.frames[0].nbytes)
            np.testing.assert_allclose(batch.positions, plan.positions(field)[batch.indices], rtol=0, atol=1e-11)
        seen = np.concatenate([batch.indices for batch in batches])
        assert sorted(seen.tolist()) == list(range(scan.n_frames))


def same_commands_give_the_same_data(case: Case) -> None:
    """Two instruments made alike and commanded alike give the same bits."""
    one, other = case.instrument(), case.instrument()
    for plan in case.plans:
        np.testing.assert_array_equal(acquired(one, plan)[1], acquired(other, plan)[1])


def clock_covers_the_dwell(case: Case) -> None:
    """A scan takes at least its frames times the dwell."""
    instrument = case.instrument()
    for plan in case.plans:
        before = instrument.now_s()
        scan, _ = acquired(instrument, plan)
        assert instrument.now_s() - before >= scan.n_frames * plan.dwell_s * (1 - 1e-9)


def dose_never_falls(case: Case) -> None:
    """The dose counts up, and stays zero where no beam is needed."""
    instrument = case.instrument()
    for plan in case.plans:
        before = instrument.dose_electrons()
        acquired(instrument, plan)
        assert instrument.dose_electrons() > before if case.needs_beam else instrument.dose_electrons() == 0


def wrong_questions_are_refused(case: Case) -> None:
    """An unknown detector is named with the nearest; a position far outside is refused."""
    instrument = case.instrument()
    plan = case.plans[0]
    with pytest.raises(UnknownName, match="did you mean"):
        instrument.begin(plan.model_copy(update={"detector": plan.detector + "x"}), "s1", "m1", "tester")
    with pytest.raises(UnknownName):
        instrument.write({"no_such_parameter_m": 1.0})
    outside = PointScan(detector=plan.detector, points=((1.0, 1.0),), dwell_s=plan.dwell_s)
    with pytest.raises((LimitRefused, NotRecorded)):
        instrument.begin(outside, "s1", "m1", "tester")


def scan_may_be_left(case: Case) -> None:
    """Leaving the loop early is no error, and the instrument works on."""
    instrument = case.instrument()
    for plan in case.plans:
        frames = instrument.frames(plan, instrument.begin(plan, "s1", "m1", "tester"))
        next(frames)
        close = getattr(frames, "close", None)
        if close is not None:
            close()
        assert acquired(instrument, plan)[1].size


def blanked_beam_gives_no_frame(case: Case) -> None:
    """Where a beam is needed, a dark one raises before the first frame and costs nothing."""
    if not case.needs_beam:
        return
    instrument = case.instrument()
    case.blanker.close()
    for plan in case.plans:
        scan = instrument.begin(plan, "s1", "m1", "tester")
        with pytest.raises(BeamBlanked):
            next(iter(instrument.frames(plan, scan)))
    assert instrument.dose_electrons() == 0


def closing_twice_is_fine(case: Case) -> None:
    """Closing is final and may be repeated."""
    instrument = case.instrument()
    instrument.close()
    instrument.close()


CLAIMS = (
    begin_exposes_nothing,
    blanked_beam_gives_no_frame,
    clock_covers_the_dwell,
    closing_twice_is_fine,
    description_is_consistent,
    dose_never_falls,
    every_frame_comes_once_at_its_place,
    header_repeats_the_question,
    same_commands_give_the_same_data,
    scan_may_be_left,
    wrong_questions_are_refused,
)
