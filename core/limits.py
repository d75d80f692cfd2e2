"""One table of limits for simulator, recording and hardware: refuse, never clamp.

The table comes from what the instrument says of itself, narrowed (never widened) by the
server's configuration and then, while it runs, by an engineer. The same function serves the
command and the dry run: it is given the situation, so it asks nobody and knows no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from .errors import InstrumentOutside, LimitRefused
from .instrument import InstrumentInfo, Parameter
from .limit import Limit
from .plan import Acquisition, GridScan, Plan, Region, SetParameters
from .rules import Rule
from .situation import Situation
from .spelling import spelt

ROUNDING = 1e-9
"""Part of a rate or step by which sums of decimal fractions may miss it and still count as exactly there."""


class Limits:
    """The limits of one instrument; immutable once built, so any thread may ask.

    Parameters
    ----------
    info
        The instrument's description.
    narrower
        Limits from the configuration, by parameter name; each must lie within the instrument's own.
    rules
        Forbidden combinations, by name.
    remarks
        What to add to the key of a limit when it refuses, by parameter name.

    Raises
    ------
    UnknownName
        If `narrower` or a rule names something that does not exist.
    SettingsInvalid
        If `narrower` would widen a limit.

    Attributes
    ----------
    info, rules
        As they were given.
    """

    def __init__(
        self,
        info: InstrumentInfo,
        narrower: Mapping[str, Limit] | None = None,
        rules: Mapping[str, Rule] | None = None,
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        self.info, self.rules, self._remarks = info, dict(rules or {}), dict(remarks or {})
        self._limits = {p.name: Limit.of(p) for p in info.parameters}
        for name, wanted in (narrower or {}).items():
            self._limits[info.parameter(name).name] = wanted.within(self.of(name), name)
        for name, rule in self.rules.items():
            rule.check_names(f"rules.{name}", info)

    def of(self, name: str) -> Limit:
        """Return the limit of one parameter; raises UnknownName if there is no such parameter."""
        return self._limits[self.info.parameter(name).name]

    def described(self) -> InstrumentInfo:
        """Return the instrument's description with these limits in it."""
        parameters = (p.model_copy(update=self._limits[p.name].model_dump()) for p in self.info.parameters)
        return self.info.model_copy(update={"parameters": tuple(parameters)})

    def narrowed(self, narrower: Mapping[str, Limit], remarks: Mapping[str, str]) -> Limits:
        """Return these limits made narrower; a remark tells who did it.

        Raises
        ------
        UnknownName, SettingsInvalid
            As when limits are built.
        """
        return Limits(self.described(), narrower, self.rules, remarks)

    def check(self, plan: Plan, now: Situation | None = None) -> None:
        """Raise unless the whole plan lies within the limits.

        Parameters
        ----------
        plan
            What is asked.
        now
            What the instrument is doing; None to look at the plan alone.

        Raises
        ------
        LimitRefused
            With the value, the limit and the key that sets it.
        InstrumentOutside
            If an acquisition is asked for while the instrument itself is outside its limits.
        UnknownName
            If the plan names a parameter or detector that does not exist.
        """
        for refusal in self.objections(plan, now):
            raise refusal

    def objections(self, plan: Plan, now: Situation | None = None) -> Iterator[LimitRefused]:
        """Yield everything that speaks against a plan; raises UnknownName as `check`."""
        situation = now or Situation()
        if isinstance(plan, SetParameters):
            for name, value in plan.values.items():
                yield from self._setting(self.info.parameter(name), value, situation)
        else:
            yield from self._acquisition(plan)
            yield from () if plan.expected else self.outside(situation.values)
        for name, rule in self.rules.items():
            if now is not None and rule.forbids(plan, situation):
                yield LimitRefused(_forbidden(f"rules.{name}", rule, situation))

    def outside(self, values: Mapping[str, float]) -> Iterator[InstrumentOutside]:
        """Yield what is said of each present value that is outside its range."""
        for parameter in self.info.parameters:
            value, allowed = values.get(parameter.name), self._limits[parameter.name]
            if value is not None and not allowed.holds(value):
                yield InstrumentOutside(
                    f"{parameter.name} stands at {spelt(value)} {parameter.units}: limit is {allowed.range()} "
                    f"{parameter.units} {self._key(parameter.name)}; set it within before anything is exposed"
                )

    def _setting(self, parameter: Parameter, value: float, now: Situation) -> Iterator[LimitRefused]:
        name, units, allowed = parameter.name, parameter.units, self._limits[parameter.name]
        if not parameter.writable:
            yield LimitRefused(f"{name} can be read but not set on {self.info.name}")
        elif not (math.isfinite(value) and allowed.holds(value)):
            yield LimitRefused(
                f"{name} = {spelt(value)} {units} refused: limit is {allowed.range()} {units} {self._key(name)}"
            )
        elif name in now.values:
            yield from self._move(parameter, value, now.values[name], now.travelled.get(name, 0.0))

    def _move(self, parameter: Parameter, value: float, stands: float, before: float) -> Iterator[LimitRefused]:
        name, units, allowed = parameter.name, parameter.units, self._limits[parameter.name]
        jump, refused = abs(value - stands), f"{name} = {spelt(value)} {units} refused: it stands at {spelt(stands)}"
        if allowed.step is not None and jump > allowed.step * (1 + ROUNDING):
            yield LimitRefused(
                f"{refused}, and one command takes it no further than {spelt(allowed.step)} {units} "
                f"{self._key(name, 'step')}; go in smaller steps"
            )
        if allowed.rate_per_s is not None and jump and before + jump > allowed.rate_per_s * (1 + ROUNDING):
            yield LimitRefused(
                f"{refused} and has moved {spelt(before)} {units} within the last second; limit is "
                f"{spelt(allowed.rate_per_s)} {units} in any second {self._key(name, 'rate_per_s')}; wait, or go in "
                "smaller steps"
            )

    def _acquisition(self, plan: Acquisition) -> Iterator[LimitRefused]:
        detector, field = self.info.detector(plan.detector), self.info.field
        if not detector.shortest_dwell_s <= plan.dwell_s <= detector.longest_dwell_s:
            yield LimitRefused(
                f"dwell_s = {spelt(plan.dwell_s)} s refused: {detector.name} takes "
                f"{spelt(detector.shortest_dwell_s)} .. {spelt(detector.longest_dwell_s)} s (the instrument's own)"
            )
        if plan.expected and not self.info.expects:
            yield LimitRefused(
                f"{self.info.name} is {self.info.source}: it cannot give noise-free expectations; "
                "ask with expected = false"
            )
        count, index, (y, x) = _outside(plan, field)
        if count:
            yield LimitRefused(
                f"position {index} at y = {spelt(y)} m, x = {spelt(x)} m refused"
                f"{f' ({count - 1} more too)' if count > 1 else ''}: the field of view is y {field.y_m:g} .. "
                f"{field.y_m + field.height_m:g} m, x {field.x_m:g} .. {field.x_m + field.width_m:g} m (the "
                "instrument's own)"
            )

    def _key(self, name: str, part: str = "") -> str:
        key = f"limits.{name}{f'.{part}' if part else ''}"
        remark = self._remarks.get(key)
        return f"(config key {key}{f', {remark}' if remark else ''})"


def _forbidden(key: str, rule: Rule, now: Situation) -> str:
    stands = ", ".join(f"{name} = {spelt(now.values[name])}" for name in rule.when if name in now.values)
    why = f"; {rule.why}" if rule.why else ""
    return f"refused: {rule} (config key {key}){f'; now {stands}' if stands else ''}{why}"


def _outside(plan: Acquisition, field: Region) -> tuple[int, int, tuple[float, float]]:
    """Return how many positions of a plan lie outside the field, the first of them, and where it is."""
    if isinstance(plan, GridScan):
        # A grid may have 2^26 positions: look at its axes, not at them all.
        y, x = (axis.coordinates() for axis in plan.axes(field))
        is_in_y = field.contains(np.column_stack([y, np.full(len(y), field.x_m)]))
        is_in_x = field.contains(np.column_stack([np.full(len(x), field.y_m), x]))
        row = int((~is_in_y).argmax()) if is_in_x.all() else 0
        column = 0 if row or not is_in_y[0] else int((~is_in_x).argmax())
        count = len(y) * len(x) - int(is_in_y.sum()) * int(is_in_x.sum())
        return count, row * len(x) + column, (float(y[row]), float(x[column]))
    positions = plan.positions(field)
    outside = ~(np.isfinite(positions).all(axis=1) & field.contains(positions))
    index = int(outside.argmax())
    return int(outside.sum()), index, (float(positions[index, 0]), float(positions[index, 1]))
