"""An overview that was taken before a run was cut off is taken up again exactly."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from beamloop.core import Axis, InstrumentInfo, Scan, ScanEnd, Signal
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.preparation import prepare
from beamloop.edge_client.record.events import Acquired
from beamloop.edge_client.record.journal import Entry, Journal
from beamloop.edge_client.side_scans import SideScans


class Kept:
    """A run file with an overview on axes as they come back from nm."""

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self._axes = tuple(axis.model_copy(update={"scale": axis.scale * 1e9 * 1e-9 * (1 + 1e-15)}) for axis in axes)

    def overview(self) -> Signal:
        return Signal(np.zeros([axis.size for axis in self._axes]), self._axes, "intensity", "counts")


def test_its_axes_are_those_of_the_scan_to_the_last_bit(
    tmp_path: Path, info: InstrumentInfo, experiment_text: str
) -> None:
    prepared = prepare(Experiment.model_validate(tomllib.loads(experiment_text)), info)
    axes = info.field.grid((80, 96))
    scan = Scan(
        scan_id="s", measurement_id="overview", receiver="me", detector="haadf", scan_axes=axes, frame_axes=(),
        dtype="<f8", dwell_s=1e-6,
    )  # fmt: skip
    end = ScanEnd(scan_id="s", status="complete", n_frames=80 * 96)
    past = [Entry(1, 1.7e9, Acquired(name="overview", scan=scan, end=end, sha256="0"))]
    file: Any = Kept(axes)
    nobody: Any = None
    assert file.overview().axes != axes
    with Journal(tmp_path / "journal.sqlite") as journal:
        overview = SideScans(nobody, prepared, journal, "me", past).overview(file)
    assert overview is not None
    assert overview.axes == axes
