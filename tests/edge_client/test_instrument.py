"""A person at a simulated microscope, over all three lines of real server processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

from beamloop.core import (
    BeamloopError,
    InstrumentUnreachable,
    LeaseHeld,
    LimitRefused,
    NotArmed,
    PlanInvalid,
    PointScan,
    Region,
    SettingsInvalid,
    UnknownName,
)
from beamloop.edge_client import RemoteInstrument, connect


@pytest.fixture
def stem(simulator: str) -> Iterator[RemoteInstrument]:
    with connect(simulator, purpose="tests") as stem:
        yield stem


def settled_dose(stem: RemoteInstrument) -> float:
    """Return the dose once the server has heard that the last scan ended."""
    until = time.monotonic() + 5
    while stem.state().activity == "acquiring":
        assert time.monotonic() < until
        time.sleep(0.01)
    return stem.state().dose_electrons


def test_it_says_what_it_is_before_any_lease(simulator: str) -> None:
    with connect(simulator) as looking:
        assert looking.info.source == "simulator"
        assert looking.state().lease is None
        assert looking.read("beam_current_a") == looking.info.parameter("beam_current_a").value
        with pytest.raises(LeaseHeld, match="take one first"):
            looking.move(defocus_m=0.0)


def test_a_move_is_read_back(stem: RemoteInstrument) -> None:
    assert stem.move(defocus_m=20e-9) > 0
    assert stem.read("defocus_m") == 20e-9
    stem.write({"defocus_m": 0.0})
    assert stem.read("defocus_m") == 0.0


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ({"defocus_m": 1.0}, LimitRefused, "defocus_m = 1 m refused: limit is"),
        ({"defocus_m": math.nan}, PlanInvalid, "defocus_m"),
        ({"defocs_m": 0.0}, UnknownName, "did you mean 'defocus_m'"),
        ({"defocus_m": "far"}, PlanInvalid, "far"),
        ({}, PlanInvalid, "values"),
    ],
)
def test_a_refused_move_moves_nothing(
    stem: RemoteInstrument, values: dict[str, float], kind: type[BeamloopError], told: str
) -> None:
    before = stem.state().parameters
    with pytest.raises(kind, match=told) as caught:
        stem.write({"beam_current_a": 6e-11, **values} if values else values)
    assert "\n" not in str(caught.value)
    assert stem.state().parameters == before


def test_a_scan_has_calibrated_axes(stem: RemoteInstrument) -> None:
    region = Region(y_m=10e-9, x_m=20e-9, height_m=20e-9, width_m=40e-9)
    picture = stem.scan("haadf", (20, 40), 1e-6, region)
    y, x = picture.axes
    assert (picture.data.shape, y.units, x.units) == ((20, 40), "m", "m")
    np.testing.assert_allclose(y.coordinates()[[0, -1]], [10.5e-9, 29.5e-9])
    np.testing.assert_allclose(x.coordinates()[[0, -1]], [20.5e-9, 59.5e-9])
    assert picture.data.dtype == np.dtype(stem.info.detector("haadf").dtype)
    assert picture.metadata["simulated"] is True


def test_points_and_a_spectrum_have_the_energy_axis_last(stem: RemoteInstrument) -> None:
    points = stem.points("eels", [(2e-8, 3e-8), (5e-8, 6e-8), (7e-8, 1e-8)], 0.01)
    spectrum = stem.spectrum("eels", 2e-8, 3e-8, 0.01)
    (energy,) = stem.info.detector("eels").frame_axes
    assert points.data.shape == (3, energy.size)
    assert [axis.name for axis in points.axes] == ["index", energy.name]
    assert spectrum.axes == (energy,)
    assert spectrum.data.shape == (energy.size,)


def test_counts_scatter_about_the_expectation(stem: RemoteInstrument) -> None:
    at = [(2e-8, 3e-8)]
    expected = stem.points("eels", at, 0.05, expected=True).data.astype(float).sum()
    counted = [stem.points("eels", at, 0.05).data.sum() for _ in range(2)]
    assert counted[0] != counted[1], "two measurements have noise of their own"
    for count in counted:
        assert abs(count - expected) < 6 * math.sqrt(expected) + 0.02 * expected


@pytest.mark.parametrize(
    ("detector", "position", "dwell_s", "kind", "told"),
    [
        ("eels", (1.0, 0.0), 0.01, LimitRefused, "field of view"),
        ("eels", (math.nan, 0.0), 0.01, (LimitRefused, PlanInvalid), "nan|finite"),
        ("eles", (1e-8, 1e-8), 0.01, UnknownName, "did you mean 'eels'"),
        ("eels", (1e-8, 1e-8), -1.0, PlanInvalid, "dwell_s"),
        ("eels", (1e-8, 1e-8), 1e6, LimitRefused, "dwell_s = 1e"),
    ],
)
def test_a_refused_acquisition_exposes_nothing(
    stem: RemoteInstrument,
    detector: str,
    position: tuple[float, float],
    dwell_s: float,
    kind: type[BeamloopError] | tuple[type[BeamloopError], ...],
    told: str,
) -> None:
    before = settled_dose(stem)
    with pytest.raises(kind, match=told):
        stem.points(detector, [position], dwell_s)
    assert settled_dose(stem) == before


def test_the_same_request_is_done_once(stem: RemoteInstrument) -> None:
    plan = PointScan(detector="eels", points=((2e-8, 3e-8),), dwell_s=0.01)
    first = stem.start(plan, "once", request_id=f"{stem.client}/once")
    assert [len(batch.indices) for batch in first.batches(5.0)] == [1]
    dose = settled_dose(stem)
    again = stem._control.ask("acquire", {"plan": plan.model_dump(), "measurement_id": "once"}, f"{stem.client}/once")
    assert again["scan"]["scan_id"] == first.header.scan_id
    assert settled_dose(stem) == dose
    first.stored()


def test_a_second_client_cannot_command_and_is_told_who_does(stem: RemoteInstrument, simulator: str) -> None:
    with pytest.raises(LeaseHeld, match=r"held by .* \(tests\)"):
        connect(simulator, purpose="me too")
    with connect(simulator) as looking:
        lease = looking.state().lease
        assert lease is not None
        assert (lease.holder, lease.purpose) == (stem.client, "tests")


def test_a_lease_is_given_back_at_the_end_of_its_block(simulator: str) -> None:
    with connect(simulator) as stem:
        with stem.lease("a moment"):
            held = stem.state().lease
            assert held is not None
            assert held.purpose == "a moment"
        assert stem.state().lease is None


def test_a_lease_outlives_its_length_by_the_heartbeat(stem: RemoteInstrument) -> None:
    first = stem.take_lease("longer")
    assert stem.lease_lost() is None
    renewed = stem._control.ask("renew")
    assert renewed["expires_in_s"] == pytest.approx(first.expires_in_s, rel=0.05)


def test_a_stopped_instrument_exposes_only_after_arming(stem: RemoteInstrument, simulator: str) -> None:
    with connect(simulator) as anybody:
        report = anybody.stop()
    assert (report.beam, report.armed) == ("confirmed", False)
    with pytest.raises(NotArmed, match="stopped by a person"):
        stem.points("eels", [(2e-8, 3e-8)], 0.01)
    stem.arm()
    assert stem.points("eels", [(2e-8, 3e-8)], 0.01).data.sum() > 0


def test_nobody_at_the_address_is_one_clear_line() -> None:
    with pytest.raises(InstrumentUnreachable, match=r"no answer from localhost:1 .* `beamloop serve`") as caught:
        connect("localhost:1")
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsInvalid, match="HOST:PORT"):
        connect("localhost:port")
