"""One table of limits for simulator, recording and hardware: refuse, never clamp.

The table comes from what the instrument says of itself, narrowed (never widened) by the
server's configuration. The same function serves the command and the dry run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .errors import LimitRefused, SettingsInvalid
from .frozen import Frozen
from .instrument import InstrumentInfo
from .plan import Acquisition, Plan, SetParameters


class Range(Frozen):
    """Lowest and highest allowed value, both inclusive, SI units."""

    low: float
    high: float


class Limits:
    """The limits of one instrument; immutable once built, so any thread may ask.

    Parameters
    ----------
    info
        The instrument's description.
    narrower
        Ranges from the configuration, by parameter name; each must lie within the instrument's own.

    Raises
    ------
    UnknownName
        If `narrower` names a parameter that does not exist.
    SettingsInvalid
        If `narrower` would widen a limit.
    """

    def __init__(self, info: InstrumentInfo, narrower: Mapping[str, Range] | None = None) -> None:
        self._info = info
        self._ranges = {p.name: Range(low=p.low, high=p.high) for p in info.parameters}
        for name, wanted in (narrower or {}).items():
            own = info.parameter(name)
            if wanted.low < own.low or wanted.high > own.high or wanted.low > wanted.high:
                raise SettingsInvalid(
                    f"limits.{name} = {wanted.low:g} .. {wanted.high:g} is not within the instrument's own "
                    f"{own.low:g} .. {own.high:g} {own.units}; a configuration may only narrow a limit"
                )
            self._ranges[name] = wanted

    def of(self, name: str) -> Range:
        """Return the range of one parameter; raises UnknownName if there is no such parameter."""
        return self._ranges[self._info.parameter(name).name]

    def check(self, plan: Plan) -> None:
        """Raise unless the whole plan lies within the limits.

        Raises
        ------
        LimitRefused
            With the value, the limit and the key that sets it.
        UnknownName
            If the plan names a parameter or detector that does not exist.
        """
        if isinstance(plan, SetParameters):
            for name, value in plan.values.items():
                self._check_value(name, value)
        else:
            self._check_acquisition(plan)

    def _check_value(self, name: str, value: float) -> None:
        parameter, allowed = self._info.parameter(name), self.of(name)
        if not parameter.writable:
            raise LimitRefused(f"{name} can be read but not set on {self._info.name}")
        if not math.isfinite(value) or not allowed.low <= value <= allowed.high:
            raise LimitRefused(
                f"{name} = {value:g} {parameter.units} refused: limit is {allowed.low:g} .. {allowed.high:g} "
                f"{parameter.units} (config key limits.{name})"
            )

    def _check_acquisition(self, plan: Acquisition) -> None:
        detector, field = self._info.detector(plan.detector), self._info.field
        if not detector.shortest_dwell_s <= plan.dwell_s <= detector.longest_dwell_s:
            raise LimitRefused(
                f"dwell_s = {plan.dwell_s:g} s refused: {detector.name} takes {detector.shortest_dwell_s:g} .. "
                f"{detector.longest_dwell_s:g} s"
            )
        if plan.expected and not self._info.expects:
            raise LimitRefused(
                f"{self._info.name} is {self._info.source}: it cannot give noise-free expectations; "
                "ask with expected = false"
            )
        positions = plan.positions(field)
        outside = ~(np.isfinite(positions).all(axis=1) & field.contains(positions))
        if outside.any():
            index = int(outside.argmax())
            y, x = positions[index]
            raise LimitRefused(
                f"position {index} at y = {y:g} m, x = {x:g} m refused: the field of view is y {field.y_m:g} .. "
                f"{field.y_m + field.height_m:g} m, x {field.x_m:g} .. {field.x_m + field.width_m:g} m"
            )
