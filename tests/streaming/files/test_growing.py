from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import Axis, FrameBatch, FrameShapeWrong, Scan
from beamloop.streaming.files import create_signal, open_recording


def scan_of(scan_shape: tuple[int, ...], frame_shape: tuple[int, ...], dtype: str = "<u2") -> Scan:
    names = ("y", "x") if len(scan_shape) == 2 else ("index",)
    frame_names = {0: (), 1: ("energy_loss",), 2: ("v", "u")}[len(frame_shape)]
    return Scan(
        scan_id="s", measurement_id="m", receiver="me", detector="d", dtype=dtype, dwell_s=2e-3,
        state={"tilt_rad": 0.1},
        scan_axes=tuple(Axis(name=n, size=s, units="m", scale=1e-9) for n, s in zip(names, scan_shape, strict=True)),
        frame_axes=tuple(Axis(name=n, size=s, units="eV") for n, s in zip(frame_names, frame_shape, strict=True)),
    )  # fmt: skip


def batch(scan: Scan, frames: np.ndarray, indices: list[int]) -> FrameBatch:
    chosen = np.array(indices, dtype=np.int64)
    return FrameBatch("s", chosen, np.stack([chosen * 1e-9, chosen * 2e-9], axis=1), frames[chosen])


def frames_for(scan: Scan) -> np.ndarray:
    shape = (scan.n_frames, *scan.frame_shape)
    return (np.arange(np.prod(shape)).reshape(shape) % 60_000 + 1).astype(scan.dtype)


@pytest.mark.parametrize("scan_shape", [(3, 5), (11,)])
@pytest.mark.parametrize("frame_shape", [(), (7,), (3, 2), (200, 200)])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_batches_in_any_order_land_where_they_belong(tmp_path_factory, scan_shape, frame_shape, data) -> None:
    scan = scan_of(scan_shape, frame_shape)
    frames = frames_for(scan)
    order = data.draw(st.permutations(range(scan.n_frames)))
    seen = order[: data.draw(st.integers(0, scan.n_frames))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(seen)), max_size=4)))
    with h5py.File(tmp_path_factory.mktemp("grow") / "f.h5", "w") as file:
        growing = create_signal(file, "Channel_000", "d", scan)
        for part in np.split(np.array(seen, dtype=np.int64), cuts):
            growing.write_batch(batch(scan, frames, part.tolist()))
        written = growing.dataset[()].reshape(scan.n_frames, *frame_shape)
        valid = growing.dataset.parent["valid"][()].ravel().astype(bool)
        assert sorted(np.flatnonzero(valid)) == sorted(seen)
        np.testing.assert_array_equal(growing.valid, valid)
        np.testing.assert_array_equal(written[valid], frames[valid])
        assert not written[~valid].any()


def test_frames_that_never_came_are_nan_in_float_data(tmp_path: Path) -> None:
    scan = scan_of((2, 2), (3,), "<f4")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        growing = create_signal(file, "Channel_000", "d", scan)
        growing.write_batch(batch(scan, frames_for(scan), [1]))
        assert np.isnan(growing.dataset[()]).any(axis=2).tolist() == [[True, False], [True, True]]


def test_a_list_of_points_keeps_its_positions_in_nm(tmp_path: Path) -> None:
    scan = scan_of((4,), (3,))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        growing = create_signal(file, "Channel_000", "d", scan)
        growing.write_batch(batch(scan, frames_for(scan), [2]))
        places = growing.dataset.parent["positions"]
        assert places.attrs["units"] == "nm"
        np.testing.assert_allclose(places[2], [2.0, 4.0])
        assert np.isnan(places[[0, 1, 3]]).all()


def test_what_was_flushed_can_be_read_from_a_copy_of_the_unfinished_file(tmp_path: Path) -> None:
    scan = scan_of((4, 4), (8, 8))
    frames = frames_for(scan)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        growing = create_signal(file, "Channel_000", "camera", scan)
        growing.write_batch(batch(scan, frames, [5, 6, 9]))
        growing.flush()
        shutil.copyfile(tmp_path / "run.h5", tmp_path / "killed.h5")
        growing.write_batch(batch(scan, frames, [0]))
    with open_recording(tmp_path / "killed.h5") as recording:
        (camera,) = recording.detectors
        assert np.flatnonzero(camera.valid).tolist() == [5, 6, 9]
        np.testing.assert_array_equal(camera.frames(np.array([9, 5])), frames[[9, 5]])


def test_the_header_of_the_scan_is_kept(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        create_signal(file, "Channel_000", "d", scan_of((2, 2), ()), metadata={"operator": "me"})
        metadata = file["Measurement_000/Channel_000/d/metadata"]
        assert (metadata.attrs["operator"], metadata.attrs["dwell_s"]) == ("me", 2e-3)
        assert metadata["scan"].attrs["detector"] == "d"
        assert metadata["scan/state"].attrs["tilt_rad"] == 0.1


def test_a_batch_that_the_header_did_not_announce_is_refused(tmp_path: Path) -> None:
    scan = scan_of((2, 2), (3,))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        growing = create_signal(file, "Channel_000", "d", scan)
        with pytest.raises(FrameShapeWrong):
            growing.write_batch(batch(scan, frames_for(scan).astype("<f4"), [1]))
        assert not growing.valid.any()
