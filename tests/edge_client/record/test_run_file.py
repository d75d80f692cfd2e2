"""The run file: NSID that other programs open, and `/run` as plain tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, FrameBatch, InstrumentInfo, OutputExists, PointScan, Region, Scan, Signal
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.run_file import RunFile
from beamloop.edge_client.record.story import Seen, story_of

from .measured import batch_of, scan_of

MANDATORY = {"quantity", "units", "data_type", "modality", "source", "main_data_name", "pyNSID_version"}
"""Without one of these an NSID reader passes a dataset over in silence."""


@pytest.fixture
def written(tmp_path: Path, info: InstrumentInfo, entries: list[Entry], seen: Seen) -> Iterator[h5py.File]:
    path = tmp_path / "run.h5"
    story = story_of(entries)
    with closing(RunFile(path, capacity=20)) as file:
        assert seen.overview is not None
        file.put_overview(seen.overview)
        for number in range(5):
            assert file.add(scan_of(info, number), [batch_of(number)]) == number
        frame = file.frame(3)
        assert frame is not None
        assert frame.data.tolist() == [3] * 40
        assert file.frame(5) is None
        file.put_values(story.measurements, "edge ratio", "counts")
        y, x = info.field.grid((20, 24))
        assert seen.truth is not None
        file.put_map("truth", Signal(seen.truth.reshape(20, 24), (y, x), "edge ratio", "counts"))
        file.put_journal(story, entries)
    with h5py.File(path) as opened:
        yield opened


def mains(file: h5py.File) -> dict[str, h5py.Dataset]:
    found = {}
    for channel in file["Measurement_000"].values():
        for name, group in channel.items():
            found[name] = group[name]
    return found


def test_every_main_dataset_is_nsid(written: h5py.File) -> None:
    found = mains(written)
    assert set(found) == {"overview", "measured", "values", "standard_errors", "truth"}
    for name, main in found.items():
        assert set(main.attrs) >= MANDATORY, name
        assert main.attrs["main_data_name"] == name
        assert len(main.attrs["DIMENSION_LABELS"]) == main.ndim
        for dimension in main.dims:
            (scale,) = dimension.values()
            assert scale.attrs["CLASS"] == b"DIMENSION_SCALE"
            assert {"name", "quantity", "units", "dimension_type"} <= set(scale.attrs)


def test_pictures_and_maps_have_their_numbers_and_nanometres(written: h5py.File, seen: Seen) -> None:
    assert seen.overview is not None
    main = mains(written)["overview"]
    np.testing.assert_array_equal(main[...], seen.overview.data)
    x = main.parent["x"]
    assert x.attrs["units"] == "nm"
    np.testing.assert_allclose(x[:2], [1.25, 3.75])
    np.testing.assert_array_equal(mains(written)["truth"][...].ravel(), seen.truth)


def test_measured_frames_are_one_row_each_with_their_place(written: h5py.File) -> None:
    main = mains(written)["measured"]
    assert main.shape == (5, 40), "rows that stayed empty are taken off"
    np.testing.assert_array_equal(main[:, 0], np.arange(5))
    np.testing.assert_allclose(main.parent["positions"], [[n, 2.0 * n] for n in range(5)], atol=1e-12)
    np.testing.assert_array_equal(main.parent["valid"], np.ones(5))
    np.testing.assert_allclose(main.parent["energy_loss"][:2], [400.0, 402.5])
    assert list(written["Measurement_000"]) == [f"Channel_{n:03d}" for n in range(5)]


def test_values_are_those_of_the_journal(written: h5py.File, entries: list[Entry]) -> None:
    measured = story_of(entries).measurements
    np.testing.assert_array_equal(mains(written)["values"], [m.value for m in measured])
    np.testing.assert_array_equal(mains(written)["standard_errors"], [m.std for m in measured])


def test_the_run_group_holds_the_journal_the_decisions_and_the_budgets(
    written: h5py.File, entries: list[Entry], experiment_text: str
) -> None:
    run = written["run"]
    assert run["experiment"].asstr()[()] == experiment_text
    assert run["events"]["seq"][...].tolist() == [entry.seq for entry in entries]
    assert run["events"]["kind"].asstr()[...].tolist() == [entry.event.kind for entry in entries]
    assert (run.attrs["outcome"], run.attrs["source"], run.attrs["seed"]) == ("finished", "simulator", 3)
    decisions = run["decisions"]
    assert decisions["outcome"].asstr()[5] == "refused"
    assert np.isnan(decisions["value"][5])
    assert np.isnan(decisions["believed_mean"][0])
    budget = run["budget"]
    assert set(budget) == {
        "step", "wait_s", "move_s", "acquire_s", "produce_s", "transfer_s", "reduce_s", "store_s", "decide_s",
        "react_s",
    }  # fmt: skip
    assert all(len(column) == 12 for column in budget.values())
    assert 5 not in budget["step"][...]


def test_a_file_that_was_cut_off_opens_with_all_that_was_stored(tmp_path: Path, info: InstrumentInfo) -> None:
    path, copy = tmp_path / "run.h5", tmp_path / "copy.h5"
    with closing(RunFile(path, capacity=8)) as file:
        for number in range(3):
            file.add(scan_of(info, number), [batch_of(number)])
        shutil.copy(path, copy)
    with h5py.File(copy) as opened:
        main = mains(opened)["measured"]
        valid = main.parent["valid"][...].astype(bool)
        assert valid.tolist() == [True] * 3 + [False] * 5
        np.testing.assert_array_equal(main[valid][:, 0], [0, 1, 2])


def test_images_at_points_are_kept_as_a_stack(tmp_path: Path) -> None:
    pixels = tuple(Axis(name=name, size=16, units="1/m", scale=1e8) for name in "vu")
    plan = PointScan(detector="camera", points=((0.0, 0.0),), dwell_s=0.01)
    scan = Scan(
        scan_id="s", measurement_id="m", receiver="me", detector="camera", frame_axes=pixels, dtype="<u2", dwell_s=0.01,
        scan_axes=plan.axes(Region(y_m=0, x_m=0, height_m=1, width_m=1)),
    )  # fmt: skip
    frame = np.arange(256, dtype="<u2").reshape(1, 16, 16)
    with closing(RunFile(tmp_path / "run.h5", capacity=1)) as file:
        file.add(scan, [FrameBatch("s", np.zeros(1, np.int64), np.zeros((1, 2)), frame)])
    with h5py.File(tmp_path / "run.h5") as opened:
        main = mains(opened)["measured"]
        assert main.attrs["data_type"] == "IMAGE_STACK"
        np.testing.assert_array_equal(main[...], frame)


def test_an_existing_run_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.h5").write_text("something of yours")
    with pytest.raises(OutputExists, match="already exists"):
        RunFile(tmp_path / "run.h5", capacity=1)
    assert (tmp_path / "run.h5").read_text() == "something of yours"
