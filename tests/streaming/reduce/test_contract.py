"""Every reduction keeps the contract, whatever the frames, their order and their grouping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import BeamloopError, Reduction, Scan, Signal
from beamloop.core.registry import REDUCTIONS, find, known
from beamloop.streaming.reduce import (
    CentreOfMass,
    Disk,
    Masks,
    Moments,
    Polygon,
    Reducing,
    Ring,
    SpectrumWindow,
    Total,
    VirtualDetector,
)

from .scans import DTYPES, batch_of, camera_axes, energy_axis, frames_of, scan_of

THREE_MASKS = np.random.default_rng(2).normal(size=(3, 7, 9))

CASES: dict[str, tuple[Reduction, tuple]] = {
    "total of a camera": (Total(), camera_axes()),
    "total of a spectrum": (Total(), (energy_axis(),)),
    "total of a pixel": (Total(), ()),
    "moments of a camera": (Moments(), camera_axes()),
    "moments of a pixel": (Moments(), ()),
    "disk": (VirtualDetector(region=Disk(radius=2.1e9)), camera_axes()),
    "ring": (VirtualDetector(region=Ring(inner=1.0, outer=3.0, centre=(3.0, 4.0), pixels=True)), camera_axes()),
    "polygon": (VirtualDetector(region=Polygon(vertices=((-2e9, -2e9), (2e9, 0.0), (0.0, 3e9)))), camera_axes()),
    "centre of mass": (CentreOfMass(), camera_axes()),
    "centre of mass in a disk": (CentreOfMass(region=Disk(radius=2.1e9)), camera_axes()),
    "one mask": (Masks(masks=THREE_MASKS[:1]), camera_axes()),
    "three masks": (Masks(masks=THREE_MASKS), camera_axes()),
    "window": (SpectrumWindow(window=(101.0, 102.0)), (energy_axis(),)),
    "whole spectrum": (SpectrumWindow(combine="mean"), (energy_axis(),)),
    "difference": (
        SpectrumWindow(window=(101.0, 102.0), background=(100.0, 100.9), combine="difference"),
        (energy_axis(),),
    ),
    "ratio": (SpectrumWindow(window=(101.0, 102.0), background=(100.0, 100.9), combine="ratio"), (energy_axis(),)),
}

each_case = pytest.mark.parametrize("case", CASES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def everything(scan: Scan, reduction: Reduction, frames: np.ndarray) -> dict[str, Signal]:
    whole = Reducing(scan, {"it": reduction})
    whole.add(batch_of(scan, frames, np.arange(scan.n_frames)))
    return whole.results()["it"]


def assert_same(left: dict[str, Signal], right: dict[str, Signal], rtol: float) -> None:
    assert left.keys() == right.keys()
    for name, signal in left.items():
        assert signal.axes == right[name].axes
        if rtol:
            largest = np.nanmax(np.abs(signal.data), initial=0.0)
            np.testing.assert_allclose(signal.data, right[name].data, rtol=rtol, atol=rtol * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(signal.data, right[name].data, err_msg=name)


@each_case
@each_dtype
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_order_and_any_grouping_give_the_result_of_one_pass(dtype: str, case: str, data: st.DataObject) -> None:
    reduction, axes = CASES[case]
    scan = scan_of(dtype, frame_axes=axes)
    frames = frames_of(scan)
    order = data.draw(st.permutations(range(scan.n_frames)))
    cuts = sorted(data.draw(st.lists(st.integers(0, scan.n_frames), max_size=5)))
    parts = np.split(np.array(order), cuts)
    n_workers = data.draw(st.integers(1, 4))
    workers = [Reducing(scan, {"it": reduction}) for _ in range(n_workers)]
    for part in parts:
        workers[data.draw(st.integers(0, n_workers - 1))].add(batch_of(scan, frames, part))
    while len(workers) > 1:
        last = workers.pop(data.draw(st.integers(1, len(workers) - 1)))
        workers[0].merge(last)
    assert workers[0].valid.all()
    # A float sum per position never depends on the batch; over frames it does, in its last bits only.
    across_frames = case.startswith(("moments", "total"))
    small_whole = np.dtype(dtype).kind in "iu" and (np.dtype(dtype).itemsize <= 2 or not case.startswith("moments"))
    rtol = 1e-12 if across_frames and not small_whole else 0.0
    assert_same(workers[0].results()["it"], everything(scan, reduction, frames), rtol)


@each_case
def test_a_result_does_not_change_when_more_frames_come(case: str) -> None:
    reduction, axes = CASES[case]
    scan = scan_of("<u2", frame_axes=axes)
    frames = frames_of(scan)
    reducing = Reducing(scan, {"it": reduction})
    reducing.add(batch_of(scan, frames, [4, 2]))
    early = reducing.results()["it"]
    kept = {name: signal.data.copy() for name, signal in early.items()}
    reducing.add(batch_of(scan, frames, [0, 1, 3, 5]))
    for name, signal in early.items():
        np.testing.assert_array_equal(signal.data, kept[name])
        assert signal.metadata["frames"] == 2


@each_case
def test_results_with_gaps_are_valid_where_frames_came_and_equal_the_full_result_there(case: str) -> None:
    reduction, axes = CASES[case]
    scan = scan_of("<u2", frame_axes=axes)
    frames = frames_of(scan)
    reducing = Reducing(scan, {"it": reduction})
    seen = [14, 0, 7]
    reducing.add(batch_of(scan, frames, seen))
    full = everything(scan, reduction, frames)
    for name, signal in reducing.results()["it"].items():
        if signal.axes[:2] != scan.scan_axes:
            assert signal.valid is None
            continue
        assert signal.valid is not None
        assert sorted(np.flatnonzero(signal.valid)) == sorted(seen)
        np.testing.assert_array_equal(signal.data[signal.valid], full[name].data[signal.valid])
        missing = signal.data[~signal.valid]
        assert np.isnan(missing).all() if missing.dtype.kind == "f" else not missing.any()


@each_case
def test_before_any_frame_there_is_a_result_with_nothing_valid(case: str) -> None:
    reduction, axes = CASES[case]
    for signal in Reducing(scan_of("<u2", frame_axes=axes), {"it": reduction}).results()["it"].values():
        assert signal.valid is None or not signal.valid.any()


@each_case
def test_merge_leaves_both_parts_as_they_were(case: str) -> None:
    reduction, axes = CASES[case]
    scan = scan_of("<f4", frame_axes=axes)
    frames = frames_of(scan)
    left, right = reduction.empty(scan), reduction.empty(scan)
    reduction.add(left, batch_of(scan, frames, [0, 1]))
    reduction.add(right, batch_of(scan, frames, [3]))
    before = [{name: b.copy() for name, b in side.items()} for side in (left, right)]
    merged = reduction.merge(left, right)
    for side, kept in zip((left, right), before, strict=True):
        for name, buffer in side.items():
            np.testing.assert_array_equal(buffer, kept[name])
    assert {n: (b.shape, b.dtype) for n, b in merged.items()} == {n: (b.shape, b.dtype) for n, b in left.items()}


@each_case
def test_one_frame_in_a_list_of_one_point_is_enough(case: str) -> None:
    reduction, axes = CASES[case]
    scan = scan_of("<u2", scan_shape=(1,), frame_axes=axes)
    for signal in everything(scan, reduction, frames_of(scan)).values():
        assert signal.data.shape == tuple(axis.size for axis in signal.axes)


@each_case
def test_frames_that_are_not_numbers_with_an_order_are_refused(case: str) -> None:
    reduction, axes = CASES[case]
    with pytest.raises(BeamloopError, match="dtype"):
        reduction.empty(scan_of("<c8", frame_axes=axes))


def test_every_registered_reduction_is_one_of_those_tested() -> None:
    tested = {type(reduction) for reduction, _ in CASES.values()}
    ours = {name for name, entry in known(REDUCTIONS).items() if entry.value.startswith("beamloop.")}
    assert {find(REDUCTIONS, name) for name in ours} == tested


def test_every_reduction_of_one_number_per_position_calls_it_value() -> None:
    for case, (reduction, axes) in CASES.items():
        if not isinstance(reduction, Moments):
            scan = scan_of("<u2", frame_axes=axes)
            assert everything(scan, reduction, frames_of(scan))["value"].axes[:2] == scan.scan_axes, case
