"""What is asked of an instrument about limits and dose, and what an engineer changes of them; needs no lease."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import Acquisition, Frozen
from ...core.control import Verb
from ...core.dose import DoseReport
from ...core.dry_run import DryRun, TrialStep
from ...core.hearing import heard
from ...core.limits_table import LimitsTable
from .control_line import ControlLine


class Restricted(Frozen):
    """What came of a change of limits.

    Attributes
    ----------
    halted
        Why a running scan was halted; empty if none was.
    warning
        What is not as it should be, for example that the disk did not take it.
    table
        All limits, as they hold now.
    """

    halted: str
    warning: str
    table: LimitsTable


class Safety:
    """The questions; any thread may ask."""

    def __init__(self, control: ControlLine) -> None:
        self._control = control

    def limits(self) -> LimitsTable:
        """Return every limit, rule and budget with where the instrument stands."""
        return heard(LimitsTable, self._ask("limits"))

    def restrict(self, values: Mapping[str, float], restore: Iterable[str] = (), why: str = "") -> Restricted:
        """Narrow limits and budgets by configuration key, or let them fall back to the configuration.

        Raises
        ------
        RoleLacking
            If the caller is no engineer.
        SettingsInvalid, UnknownName
            If a key is unknown, or a value would widen what the configuration allows; nothing is changed.
        """
        wish = {"set": dict(values), "restore": list(restore), "why": why}
        return heard(Restricted, self._ask("restrict", wish))

    def check(self, steps: Iterable[TrialStep]) -> DryRun:
        """Return what would come of some steps, one after another; nothing is moved or exposed."""
        return heard(DryRun, self._ask("check", {"steps": [step.model_dump() for step in steps]}))

    def dose(self, everywhere: bool = False) -> DoseReport:
        """Return the dose over the field of view, or over all of the specimen that ever took any.

        Raises
        ------
        DoseUncounted
            If the instrument's beam current is not known.
        """
        area = "everywhere" if everywhere else "field"
        return heard(DoseReport, self._ask("dose", {"area": area}))

    def dose_left(self, plan: Acquisition) -> NDArray[np.bool_] | None:
        """Tell of each position of a plan whether it could be measured, alone, shape (n,); None if nothing is bounded.

        Raises
        ------
        DoseUncounted
            If the instrument's beam current is not known.
        """
        answer = self._ask("dose", {"plan": plan.model_dump()})
        if not answer["bounded"]:
            return None
        return np.unpackbits(np.frombuffer(answer["left"], dtype=np.uint8), count=plan.count).astype(bool)

    def new_specimen(self, name: str) -> None:
        """Begin the dose map anew: another specimen is in the instrument. For engineers."""
        self._ask("specimen", {"name": name})

    def _ask(self, verb: Verb, arguments: dict[str, object] | None = None) -> dict[str, Any]:
        return self._control.ask(verb, arguments)
