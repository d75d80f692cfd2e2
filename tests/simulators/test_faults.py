"""The misbehaving instrument behaves exactly as well as the one it wraps, until a fault strikes; then as told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from inspect import isfunction, signature
from typing import Any

import numpy as np
import pytest

from beamloop.core import Blanker, FrameShapeWrong, GridScan, Instrument, PointScan, SettingsInvalid, UnknownName
from beamloop.core.settings import checked
from beamloop.simulators.blanker import SharedLine
from beamloop.simulators.faults import ChaosSettings, VendorError, chaos

from . import instrument_contract
from .instrument_contract import Case

POINT = PointScan(detector="haadf", points=((1e-8, 1e-8),), dwell_s=1e-5)
ROW = PointScan(detector="haadf", points=tuple((1e-8, 1e-9 * i) for i in range(6)), dwell_s=1e-5)


@pytest.fixture
def line(tmp_path: Any) -> SharedLine:
    line = SharedLine(tmp_path)
    line.open()
    return line


def made(line: Blanker, *faults: Mapping[str, object], seed: int = 0) -> Instrument:
    return chaos({"plugin": "simulator", "seed": seed, "faults": list(faults)}, line)


def acquired(instrument: Instrument, plan: PointScan = POINT, name: str = "m") -> list[np.ndarray]:
    scan = instrument.begin(plan, f"s-{name}", name, "ada")
    batches = list(instrument.frames(plan, scan))
    for batch in batches:
        batch.check(scan)
    return [batch.frames for batch in batches]


CLAIMS = [f for f in vars(instrument_contract).values() if isfunction(f) and list(signature(f).parameters) == ["case"]]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_without_faults_it_keeps_the_contract_of_what_it_wraps(claim: Any, line: SharedLine) -> None:
    grid = GridScan(detector="haadf", shape=(4, 5), dwell_s=1e-5)
    claim(Case(lambda blanker: made(blanker), line, (grid,), needs_beam=True))


def test_a_fault_strikes_at_the_occasion_that_is_named_and_at_no_other(line: SharedLine) -> None:
    instrument = made(line, {"kind": "raise", "at": 2})
    acquired(instrument)
    with pytest.raises(VendorError, match="0x80004005"):
        acquired(instrument)
    acquired(instrument)


def test_chance_strikes_as_its_seed_says(line: SharedLine) -> None:
    def history(seed: int) -> list[bool]:
        instrument = made(line, {"kind": "few", "chance": 0.3}, seed=seed)
        return [acquired(instrument) == [] for _ in range(60)]

    assert history(1) == history(1) != history(2)
    assert 6 <= sum(history(1)) <= 32


@pytest.mark.parametrize("kind", ["shape", "dtype", "nan"])
def test_frames_that_are_not_what_was_announced(kind: str, line: SharedLine) -> None:
    instrument = made(line, {"kind": kind, "at": 1})
    with pytest.raises(FrameShapeWrong):
        acquired(instrument)
    acquired(instrument)


def test_expected_values_can_be_nan(line: SharedLine) -> None:
    instrument = made(line, {"kind": "nan", "at": 1})
    (frames,) = acquired(instrument, POINT.model_copy(update={"expected": True}))
    assert np.isnan(frames).all()


def test_too_many_frames_and_none(line: SharedLine) -> None:
    assert len(acquired(made(line, {"kind": "many", "at": 1}))) == 2
    assert acquired(made(line, {"kind": "few", "at": 1})) == []


def test_old_frames_come_again(line: SharedLine) -> None:
    instrument = made(line, {"kind": "stale", "at": 2})
    first, second = acquired(instrument, ROW, "a"), acquired(instrument, ROW, "b")
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, acquired(instrument, ROW, "c"))


def test_a_stuck_stage_says_that_it_has_moved(line: SharedLine) -> None:
    instrument = made(line, {"kind": "stuck", "at": 1})
    name = instrument.describe().parameters[0].name
    before = instrument.describe().parameter(name)
    wanted = (before.low + before.high) / 2 + 0.1 * (before.high - before.low)
    instrument.write({name: wanted})
    assert instrument.describe().parameter(name).value == before.value
    instrument.write({name: wanted})
    assert instrument.describe().parameter(name).value == pytest.approx(wanted)


def test_a_liar_gives_other_values_and_no_dose(line: SharedLine) -> None:
    instrument = made(line, {"kind": "lie", "at": 2})
    acquired(instrument)
    true, dose = instrument.describe(), instrument.dose_electrons()
    false = instrument.describe()
    assert dose > 0 == instrument.dose_electrons()
    assert [p.value for p in false.parameters] != [p.value for p in true.parameters]
    assert all(p.low <= p.value <= p.high for p in false.parameters)
    assert instrument.describe() == true


@pytest.mark.parametrize("fault", [{"kind": "hang"}, {"kind": "hang", "holds_lock": True}, {"kind": "slow"}])
def test_it_takes_its_time(fault: dict[str, Any], line: SharedLine) -> None:
    instrument = made(line, {**fault, "at": 1, "for_s": 0.2})
    started = time.monotonic()
    acquired(instrument)
    assert time.monotonic() - started >= 0.2


def test_what_does_not_hear_goes_on_after_it_was_left(line: SharedLine) -> None:
    instrument = made(line, {"kind": "deaf", "at": 1, "for_s": 0.2})
    plan = GridScan(detector="haadf", shape=(512, 512), dwell_s=1e-5)
    frames = instrument.frames(plan, instrument.begin(plan, "s", "m", "ada"))
    next(frames)
    started = time.monotonic()
    frames.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started >= 0.2


def test_death_is_the_end_of_the_process() -> None:
    words = (
        "from beamloop.simulators.faults import Chaos, ChaosSettings, Fault\n"
        "Chaos(None, ChaosSettings(faults=(Fault(kind='die', place='write', at=1),))).write({})"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (70, "chaos: the driver dies now\n")


def test_wrong_settings_are_told(line: SharedLine) -> None:
    with pytest.raises(SettingsInvalid, match=r"'faults\.0\.kid'; did you mean 'kind'"):
        checked({"faults": [{"kid": "hang"}]}, ChaosSettings, "chaos")
    with pytest.raises(UnknownName, match="no instrument named 'simulater'"):
        chaos({"plugin": "simulater"}, line)
