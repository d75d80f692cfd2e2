"""Where experiment and instrument meet: everything that can be found wrong is found here, before the beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core import (
    Acquisition,
    Axis,
    DetectorInfo,
    GridScan,
    InstrumentInfo,
    PointScan,
    Pool,
    Region,
    SettingsInvalid,
    Signal,
)
from ..core.limits import Limits
from ..core.plan import MOST_POINTS
from ..core.registry import POLICIES, find
from ..models.features import patch_features
from .experiment import Experiment
from .target_value import TargetValue, target_value


@dataclass(frozen=True, slots=True)
class Preparation:
    """An experiment made concrete for one instrument.

    Attributes
    ----------
    experiment, info
        The two that met.
    overview
        The plan of the first picture; None without one.
    target
        How frames become the value.
    pool
        The candidates, features not yet known.
    axes
        Axes `(y, x)` of the grid that the candidates form.
    notes
        What a person should know of how they met: where the pool comes from, what differs from the file.
    """

    experiment: Experiment
    info: InstrumentInfo
    overview: GridScan | None
    target: TargetValue
    pool: Pool
    axes: tuple[Axis, Axis]
    notes: tuple[str, ...]

    def point(self, position: tuple[float, float]) -> PointScan:
        """Return the plan that measures one place."""
        measure = self.experiment.measure
        return PointScan(detector=measure.detector, points=(position,), dwell_s=measure.dwell_s)

    def everywhere(self) -> tuple[Acquisition, ...]:
        """Return plans whose positions are the candidates in their order; more than one only for a very long list."""
        measure, axes = self.experiment.measure, self.axes
        y, x = axes
        if not y.values and not x.values and min(y.scale, x.scale) > 0:
            region = Region(
                y_m=y.offset - y.scale / 2, x_m=x.offset - x.scale / 2, height_m=y.scale * y.size,
                width_m=x.scale * x.size,
            )  # fmt: skip
            return (
                GridScan(detector=measure.detector, shape=(y.size, x.size), dwell_s=measure.dwell_s, region=region),
            )
        points = [(float(y), float(x)) for y, x in self.pool.positions]
        return tuple(
            PointScan(detector=measure.detector, points=tuple(points[i : i + MOST_POINTS]), dwell_s=measure.dwell_s)
            for i in range(0, len(points), MOST_POINTS)
        )

    def expectation(self) -> GridScan:
        """Return the plan that gives the truth over the whole pool, without noise or dose."""
        measure, (y, x) = self.experiment.measure, self.axes
        return GridScan(detector=measure.detector, shape=(y.size, x.size), dwell_s=measure.dwell_s, expected=True)

    def with_features(self, overview: Signal | None) -> Pool:
        """Return the pool with what the overview shows around each candidate, if the experiment asks for it."""
        return with_features(self.experiment, self.pool, overview)


def prepare(experiment: Experiment, info: InstrumentInfo) -> Preparation:
    """Return the experiment made concrete, with every plan checked against the instrument's limits.

    Raises
    ------
    BeamloopError
        `UnknownName`, `SettingsInvalid`, `LimitRefused` or `FrameShapeWrong`, naming what does not fit.
    """
    find(POLICIES, experiment.policy.name)
    target = target_value(experiment.target, info.detector(experiment.measure.detector))
    pool, axes, note = candidates(experiment, info)
    overview, more = _overview(experiment, info)
    prepared = Preparation(experiment, info, overview, target, pool, axes, (note, *more))
    limits = Limits(info)
    for plan in (prepared.overview, *prepared.everywhere()):
        if plan is not None:
            limits.check(plan)
    return prepared


def candidates(experiment: Experiment, info: InstrumentInfo) -> tuple[Pool, tuple[Axis, Axis], str]:
    """Return all places that may be measured, the axes `(y, x)` of their grid, and where that comes from.

    Raises
    ------
    UnknownName, SettingsInvalid
        If the detector is not known, or no grid is.
    """
    (y, x), note = _grid(experiment, info)
    rows, columns = np.meshgrid(y.coordinates(), x.coordinates(), indexing="ij")
    return Pool(np.column_stack([rows.ravel(), columns.ravel()]), shape=(y.size, x.size)), (y, x), note


def with_features(experiment: Experiment, pool: Pool, overview: Signal | None) -> Pool:
    """Return the pool with what the overview shows around each candidate, if the experiment asks for it."""
    choice = experiment.features
    if choice is None or overview is None:
        return pool
    features = patch_features(
        overview, pool.positions, components=choice.components, size_m=choice.size_m, size_px=choice.size_px
    )
    return Pool(pool.positions, features, pool.shape)


def _overview(experiment: Experiment, info: InstrumentInfo) -> tuple[GridScan | None, tuple[str, ...]]:
    """Return the plan of the first picture, if one is wanted, and what to note about it."""
    wanted = experiment.overview
    if wanted is None:
        return None, ()
    name = wanted.detector or info.overview
    if name is None:
        raise SettingsInvalid(
            f"[overview] was asked for, but {info.name} has no picture to start from; "
            "remove [overview] and [features] and use a policy that works on coordinates"
        )
    detector = info.detector(name)
    if detector.frame_axes:
        raise SettingsInvalid(f"[overview] detector {name!r} gives no picture: its frames have axes of their own")
    shape, instead = _recorded_or(wanted.shape, detector, "[overview]")
    note = f"overview: the {shape[0]} x {shape[1]} pixels that were recorded{instead}"
    return GridScan(detector=name, shape=shape, dwell_s=wanted.dwell_s), (note,) if instead else ()


def _grid(experiment: Experiment, info: InstrumentInfo) -> tuple[tuple[Axis, Axis], str]:
    """Return the axes of the pool, and where they come from."""
    wanted, detector = experiment.pool.shape, info.detector(experiment.measure.detector)
    if detector.grid is not None:
        shape, instead = _recorded_or(wanted or detector.grid.shape, detector, "[pool]")
        note = f"pool: the {shape[0]} x {shape[1]} positions that were recorded{instead}"
        return (detector.grid.y, detector.grid.x), note
    if wanted is None:
        raise SettingsInvalid(f"[pool] shape is missing: {info.name} can measure anywhere, so say on which grid")
    return info.field.grid(wanted), f"pool: a grid of {wanted[0]} x {wanted[1]} over the field of view"


def _recorded_or(wanted: tuple[int, int], detector: DetectorInfo, table: str) -> tuple[tuple[int, int], str]:
    """Return the recorded shape of a recording's detector, else the one wanted, and what to say if they differ."""
    if detector.grid is None or detector.grid.shape == wanted:
        return wanted, ""
    return detector.grid.shape, f", not the {wanted[0]} x {wanted[1]} of {table}"
