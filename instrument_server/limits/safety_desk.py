"""What is asked about limits and dose, and what an engineer changes of them while the instrument runs.

None of it waits for a command or for the driver: a limit that is narrowed while a stage hangs must
hold at once. The desk halts what violates the limits from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from ...core import (
    Acquisition,
    DoseUncounted,
    Frozen,
    InstrumentInfo,
    PlanInvalid,
    Request,
    SetParameters,
    Situation,
    plan_from,
)
from ...core.control import MOST_WORDS, Verb
from ...core.dry_run import MOST_STEPS, TrialStep
from ...core.limits_table import Restriction
from ...core.number import Number
from ..audit import wall_clock
from ..dose import Dose
from ..dose.report import dose_report
from ..minutes import Minutes
from .dry_run import dry_run
from .interlock import Interlock

MOST_ASKED = 1 << 20
"""Positions of which it may be asked at once whether they have dose left."""

Words = Annotated[str, Field(max_length=MOST_WORDS)]

_STEPS: TypeAdapter[tuple[TrialStep, ...]] = TypeAdapter(
    Annotated[tuple[TrialStep, ...], Field(min_length=1, max_length=MOST_STEPS)]
)


class Wish(Frozen):
    """What an engineer wishes: values by configuration key, keys to fall back to the configuration, and why."""

    set: Annotated[dict[str, Number], Field(max_length=MOST_STEPS)] = Field(default_factory=dict)
    restore: Annotated[tuple[Words, ...], Field(max_length=MOST_STEPS)] = ()
    why: Words = ""


class SafetyDesk:
    """Answers about limits and dose; any thread may call.

    Parameters
    ----------
    info, interlock
        The instrument, its limits and its dose.
    situation
        Says how the instrument stands.
    uphold
        Called when limits have changed: halts what violates them and returns why.
    minutes
        Takes what must be in the audit.
    today
        Date and time.
    """

    def __init__(
        self, info: InstrumentInfo, interlock: Interlock, situation: Callable[[], Situation],
        uphold: Callable[[], str], minutes: Minutes, today: Callable[[], datetime] = wall_clock,
    ) -> None:  # fmt: skip
        self._info, self._interlock = info, interlock
        self._situation, self._uphold, self._minutes, self._today = situation, uphold, minutes, today
        self.deeds: Mapping[Verb, Callable[[Request], dict[str, Any]]] = {
            "check": self._check, "dose": self._dose, "limits": self._limits, "restrict": self._restrict,
            "specimen": self._specimen,
        }  # fmt: skip

    def _limits(self, request: Request) -> dict[str, Any]:
        return self._interlock.table(self._situation().values).model_dump()

    def _restrict(self, request: Request) -> dict[str, Any]:
        wish = _understood(TypeAdapter(Wish), request.arguments, "a wish to change limits")
        if not wish.set and not wish.restore:
            raise PlanInvalid("'restrict' names nothing: give 'set' with values by key, or 'restore' with keys")
        since = self._now()
        wanted = {k: Restriction(value=v, by=request.client, why=wish.why, since=since) for k, v in wish.set.items()}
        warning = self._interlock.restrict(wanted, wish.restore)
        if warning:
            self._minutes.mark("limits not kept", why=warning)
        return {"halted": self._uphold(), "warning": warning, "table": self._limits(request)}

    def _check(self, request: Request) -> dict[str, Any]:
        steps = _understood(_STEPS, request.arguments.get("steps"), "a list of steps")
        for step in steps:
            plan_from(step.plan.model_dump())
        return dry_run(steps, self._info, self._interlock.limits, self._interlock.dose, self._situation()).model_dump()

    def _dose(self, request: Request) -> dict[str, Any]:
        dose, values = self._counted(), self._situation().values
        area = request.arguments.get("area", "field")
        if area not in ("field", "everywhere"):
            raise PlanInvalid(f"'dose' knows the areas 'field' and 'everywhere'; got {area!r:.60}")
        if "plan" not in request.arguments:
            return dose_report(dose, self._info, values, area).model_dump()
        left = np.packbits(dose.allowed(self._asked_about(request), values)).tobytes()
        return {"left": left, "bounded": bool(dose.settings.budgets())}

    def _asked_about(self, request: Request) -> Acquisition:
        """Return the plan of the request, if its positions are within reach."""
        plan = plan_from(request.arguments["plan"])
        if isinstance(plan, SetParameters):
            raise PlanInvalid("which positions have dose left is asked with an acquisition, not with 'set'")
        if plan.count > MOST_ASKED:
            raise PlanInvalid(f"{plan.count} positions were asked about at once; the most is {MOST_ASKED}")
        self._interlock.limits.check(plan)
        return plan

    def _specimen(self, request: Request) -> dict[str, Any]:
        name = _understood(TypeAdapter(Words), request.arguments.get("name", ""), "a name of a specimen")
        self._counted().exchange(name, self._now())
        return {}

    def _counted(self) -> Dose:
        if self._interlock.dose is None:
            raise DoseUncounted(
                f"{self._info.name} has no parameter for its beam current, so its dose is not counted; give "
                "dose.current_a in its configuration"
            )
        return self._interlock.dose

    def _now(self) -> str:
        return self._today().isoformat(timespec="seconds")


def _understood(kind: TypeAdapter[Any], data: object, what: str) -> Any:
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PlanInvalid(f"not {what}: {place}: {first['msg']}, got {first['input']!r:.60}") from None
