"""A pass over a file gives every recorded frame once, in bounded parts, however it lies in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, FrameShapeWrong, Signal
from beamloop.edge_client.file_reductions import passing
from beamloop.edge_client.file_reductions.passing import batches, begin, header, numbered
from beamloop.edge_client.file_reductions.spelling import Wanted, spectrum_window
from beamloop.streaming.files import Recording, open_recording, write_signal

NY, NX, CHANNELS = 7, 9, 5
DATA = np.random.default_rng(4).poisson(20, (NY, NX, CHANNELS)).astype("<u2")


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    y, x = (Axis(name=n, size=s, units="m", scale=1e-9, offset=5e-9) for n, s in (("y", NY), ("x", NX)))
    energy = Axis(name="energy_loss", size=CHANNELS, units="eV", offset=100.0)
    valid = np.ones((NY, NX), np.bool_)
    valid[2, 3:] = False
    with h5py.File(tmp_path / "si.h5", "w") as file:
        write_signal(file, "Channel_000", "eels", Signal(DATA, (y, x, energy), "intensity", "counts", valid))
    with open_recording(tmp_path / "si.h5") as opened:
        yield opened


@pytest.mark.parametrize("block", [1 << 25, 4 * NX * CHANNELS * 2, NX * CHANNELS * 2, 3 * CHANNELS * 2, 1])
def test_every_recorded_frame_comes_once_at_its_place(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(passing, "BLOCK_BYTES", block)
    recorded = recording.main
    came = list(batches(recorded))
    indices = np.concatenate([b.indices for b in came])
    np.testing.assert_array_equal(indices, np.flatnonzero(recorded.valid))
    np.testing.assert_array_equal(np.concatenate([b.frames for b in came]), DATA.reshape(-1, CHANNELS)[indices])
    places = np.concatenate([b.positions for b in came])
    np.testing.assert_allclose(places, 5e-9 + 1e-9 * np.column_stack(np.divmod(indices, NX)), rtol=1e-12)
    assert max(b.frames.nbytes for b in came) <= max(block, CHANNELS * 2)
    for part in came:
        part.check(header(recorded))


def test_several_reductions_share_one_pass_and_what_was_not_recorded_stays_unknown(recording: Recording) -> None:
    wanted = [spectrum_window("101,103", recording.main.frame_axes), Wanted("sum", "sum", {}, "--sum")]
    reducing = begin(recording.main, wanted)
    for batch in batches(recording.main):
        reducing.add(batch)
    results = reducing.results()
    valid = recording.main.valid
    np.testing.assert_array_equal(results["window"]["value"].data[valid], DATA[valid][:, 1:4].sum(1))
    np.testing.assert_array_equal(results["sum"]["frame"].data, DATA[valid].sum(0))
    assert np.isnan(results["window"]["std"].data[~valid]).all()


def test_a_reduction_that_does_not_fit_is_told_as_it_was_spelt(recording: Recording) -> None:
    with pytest.raises(FrameShapeWrong, match=r"--spectrum-window 101,300: window 101 .. 300 eV does not fit"):
        begin(recording.main, [spectrum_window("101,300", recording.main.frame_axes)])
    with pytest.raises(FrameShapeWrong, match="--com: a centre of mass needs two frame axes"):
        begin(recording.main, [Wanted("com", "centre-of-mass", {}, "--com")])


def test_a_name_that_comes_again_gets_a_number() -> None:
    names = [one.name for one in numbered([Wanted(name, "sum", {}, "") for name in ("a", "b", "a", "a")])]
    assert names == ["a", "b", "a_2", "a_3"]
