"""What a run file holds, as far as it can be read; a file that was cut off gives what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 -- registers the decompressor of Bitshuffle with HDF5
import numpy as np
from numpy.typing import NDArray

from ...core import Pool, RecordingUnreadable, Signal
from ...streaming.files.facts import text_of
from ...streaming.files.nsid import MEASUREMENT, POSITIONS, VALID, group_of
from ...streaming.files.readers.nsid import scales_of
from .seal import check_seal
from .story import Story

MAPS = ("predicted", "uncertainty", "truth")

NEAR = 0.5
"""Part of the distance between two candidates within which a frame counts as taken at one of them."""

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises on files that are cut off or overwritten."""


@dataclass(slots=True)
class Found:
    """What a run file holds; filled as far as reading comes.

    Attributes
    ----------
    overview, best_frame
        The first picture, and what the detector gave at the best place; None if not there.
    dose
        The dose on the specimen at the end; None if not there.
    maps
        Maps over the pool by name, each shape (m,).
    notes
        What could not be read, and why.
    """

    overview: Signal | None = None
    maps: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    best_frame: Signal | None = None
    dose: Signal | None = None
    notes: list[str] = field(default_factory=list)


def found_in(run_file: Path, story: Story, pool: Pool) -> Found:
    """Return what a run file holds of a run over this pool; what could not be read is told in its notes."""
    found = Found()
    if not run_file.is_file():
        found.notes.append(f"there is no run file {run_file.name}: pictures and frames are missing")
        return found
    try:
        with h5py.File(run_file, "r") as file:
            _look_at_its_seal(file, run_file, found)
            _read(file, story, pool, found)
    except _DAMAGE as error:
        told = " ".join(str(error).split())
        found.notes.append(f"{run_file.name} could not be read to its end: HDF5 says {told}")
    return found


def _look_at_its_seal(file: h5py.File, run_file: Path, found: Found) -> None:
    try:
        check_seal(file, run_file)
    except RecordingUnreadable as error:
        found.notes.append(f"{error}; `beamloop recover` keeps what is whole")


def _read(file: h5py.File, story: Story, pool: Pool, found: Found) -> None:
    for dataset in _mains(file, "overview"):
        found.overview = _exactly(_signal(dataset, dataset[()]), story)
    for name in MAPS:
        for dataset in _mains(file, name):
            if dataset.size == len(pool):
                found.maps[name] = np.asarray(dataset[()], dtype=np.float64).ravel()
            else:
                found.notes.append(f"the map {name!r} has {dataset.size} values for {len(pool)} candidates; left out")
    for dataset in _mains(file, "dose"):
        found.dose = _signal(dataset, dataset[()])
    if story.best is None:
        return
    for dataset in _mains(file, "measured"):
        row = _row_at(dataset, story.best.position, pool)
        if row is not None:
            found.best_frame = _signal(dataset, dataset[row], first=1)


def _mains(file: h5py.File, name: str) -> Iterator[h5py.Dataset]:
    """Return the main datasets of this name, whichever channel they are in."""
    measurement = file.get(MEASUREMENT)
    if not isinstance(measurement, h5py.Group):
        return
    for channel in measurement.values():
        dataset = channel.get(f"{name}/{name}") if isinstance(channel, h5py.Group) else None
        if isinstance(dataset, h5py.Dataset):
            yield dataset


def _signal(dataset: h5py.Dataset, data: NDArray, first: int = 0) -> Signal:
    """Return data with the dataset's axes from number `first` on."""
    axes = tuple(scale.axis() for scale in scales_of(dataset)[first:])
    quantity, units = (text_of(dataset.attrs.get(key, "")) for key in ("quantity", "units"))
    return Signal(data, axes, quantity, units)


def _exactly(overview: Signal, story: Story) -> Signal:
    """Return the overview on the axes of its scan header: those of the file are rounded by their nm."""
    for _, acquired in story.acquired:
        if acquired.name == "overview" and acquired.scan.scan_shape == overview.data.shape:
            return Signal(overview.data, acquired.scan.scan_axes, overview.quantity, overview.units)
    return overview


def _row_at(measured: h5py.Dataset, place: tuple[float, float], pool: Pool) -> int | None:
    """Return the row of the frame that was taken at a place; None if there is none."""
    positions, valid = (group_of(measured).get(name) for name in (POSITIONS, VALID))
    if not isinstance(positions, h5py.Dataset):
        return None
    away = np.hypot(*(positions[()] * 1e-9 - np.array(place)).T)
    if isinstance(valid, h5py.Dataset):
        away[valid[()] == 0] = np.nan
    if np.isnan(away).all():
        return None
    row = int(np.nanargmin(away))
    return row if away[row] <= NEAR * _spacing(pool, place) else None


def _spacing(pool: Pool, place: tuple[float, float]) -> float:
    """Return how far the nearest other candidate is from a place, metres."""
    away = np.hypot(*(pool.positions - np.array(place)).T)
    others = away[away > 0]
    return float(others.min()) if len(others) else np.inf
