"""Run files of every format that was ever written, kept in `versions/`: five spectra, a picture, a map.

`run_file_N_killed.h5` is the file as it was before its end, when the fifth row was stored.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record.recovery import recover
from beamloop.edge_client.record.run_file import RunFile

KEPT = Path(__file__).parent / "versions"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("end", ["", "_killed"])
def test_it_is_recovered_with_every_row(tmp_path: Path, version: int, end: str) -> None:
    shutil.copy(KEPT / f"run_file_{version}{end}.h5", tmp_path / "run.h5")
    done = recover(tmp_path)
    assert (done.rows, done.changed) == (5, bool(end))
    with h5py.File(tmp_path / "run.h5") as file:
        group = file["Measurement_000/Channel_001/measured"]
        np.testing.assert_array_equal(group["measured"][:, 7], np.arange(5))
        np.testing.assert_allclose(group["positions"], [[n, 2.0 * n] for n in range(5)], atol=1e-12)
        np.testing.assert_allclose(group["energy_loss"][:2], [400.0, 402.5])
        picture = file["Measurement_000/Channel_000/overview/overview"]
        np.testing.assert_array_equal(picture[()].ravel(), np.arange(64.0))
        assert ("Measurement_000/Channel_002/predicted/predicted" in file) == (not end)
    assert not recover(tmp_path).changed


@pytest.mark.parametrize("end", ["", "_killed"])
def test_a_run_goes_on_in_format_2_and_format_1_says_that_it_cannot(tmp_path: Path, end: str) -> None:
    for version in (1, 2):
        shutil.copy(KEPT / f"run_file_{version}{end}.h5", tmp_path / f"{version}.h5")
    with closing(RunFile.reopened(tmp_path / "2.h5", 8)) as file:
        assert file.rows() == {f"m{n}": n for n in range(5)}
    with pytest.raises(RecordingUnreadable, match="before run file format 2: it can be read and reported"):
        RunFile.reopened(tmp_path / "1.h5", 8)
