"""From frames to the number under study: the experiment's reduction, asked for one output."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core import DetectorInfo, FrameShapeWrong, PointScan, Reduction, Region, Scan, SettingsInvalid
from ..core.nearest import nearest
from ..core.registry import REDUCTIONS
from ..streaming.reduce import Reducing
from .experiment import Target
from .plugins import made

NAME = "target"


@dataclass(frozen=True, slots=True)
class TargetValue:
    """What a reduction says at each scan position, and how sure it is.

    Attributes
    ----------
    reduction
        The reduction.
    output, uncertainty
        Names of its results that are the value and its standard error.
    plausible
        Lowest and highest value that can be real; None believes everything finite.
    """

    reduction: Reduction
    output: str
    uncertainty: str | None
    plausible: tuple[float, float] | None = None

    def begin(self, scan: Scan) -> Reducing:
        """Return the growing results of one scan."""
        return Reducing(scan, {NAME: self.reduction})

    def values(self, reducing: Reducing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and standard errors by flat scan index, each shape (n,); nan where unknown or implausible."""
        results = reducing.results()[NAME]
        value = np.array(results[self.output].data, dtype=np.float64).reshape(-1)
        low, high = self.plausible or (-math.inf, math.inf)
        value[~((value >= low) & (value <= high))] = math.nan
        if self.uncertainty is None:
            return value, np.full(len(value), math.nan)
        return value, np.asarray(results[self.uncertainty].data, dtype=np.float64).reshape(-1)


def target_value(target: Target, detector: DetectorInfo) -> TargetValue:
    """Return the target of an experiment, tried on an empty scan of this detector.

    Raises
    ------
    UnknownName, SettingsInvalid
        If reduction, settings or output names are wrong; the nearest valid one is named.
    FrameShapeWrong
        If the reduction does not fit the detector's frames.
    """
    reduction: Reduction = made(REDUCTIONS, target.reduction, target.settings, "[target.settings]")
    scan = _empty_scan(detector)
    try:
        results = Reducing(scan, {NAME: reduction}).results()[NAME]
    except FrameShapeWrong as error:
        raise FrameShapeWrong(f"[target] does not fit [measure] detector {detector.name!r}: {error}") from None
    per_position = [name for name, signal in results.items() if signal.axes == scan.scan_axes]
    for key, name in (("output", target.output), ("uncertainty", target.uncertainty)):
        if name is not None and name not in per_position:
            raise SettingsInvalid(
                f"[target] {key} = {name!r}: reduction {target.reduction!r} gives no such number per position"
                f"{nearest(name, per_position)}"
            )
    return TargetValue(reduction, target.output, target.uncertainty, target.plausible)


def _empty_scan(detector: DetectorInfo) -> Scan:
    anywhere = Region(y_m=0.0, x_m=0.0, height_m=1.0, width_m=1.0)
    plan = PointScan(detector=detector.name, points=((0.5, 0.5),), dwell_s=detector.shortest_dwell_s)
    return Scan(
        scan_id="trial", measurement_id="trial", receiver="", detector=detector.name, scan_axes=plan.axes(anywhere),
        frame_axes=detector.frame_axes, dtype=detector.dtype, dwell_s=plan.dwell_s, quantity=detector.quantity,
        units=detector.units,
    )  # fmt: skip
