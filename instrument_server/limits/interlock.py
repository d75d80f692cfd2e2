"""What stands between a command and the instrument: limits, rates, rules and the dose budget, as they hold now.

One object that the desk asks before anything is moved or exposed and tells what became of it. It
knows no driver and no guard; it says what must not be, and the desk sees to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ...core import (
    Acquisition,
    BeamloopError,
    InstrumentOutside,
    Limits,
    Plan,
    ScanEnd,
    SetParameters,
    SettingsInvalid,
    Situation,
    StorageFailed,
    Travel,
)
from ...core.limits_table import LimitRow, LimitsTable, Restriction
from ..dose import Dose
from . import restrictions

Values = Mapping[str, float]


class Interlock:
    """The limits of one instrument as they hold now; any thread may call.

    Parameters
    ----------
    limits
        As instrument and configuration have them.
    dose
        The dose and its budget; None where nobody can count it.
    file
        Where restrictions are kept; None to keep none.
    clock
        Monotonic seconds.

    Raises
    ------
    SettingsInvalid
        If the file is damaged.

    Attributes
    ----------
    limits
        As they hold now.
    version
        Raised whenever they change.
    dropped
        Restrictions of the file that the configuration does not allow any more, and why.
    """

    def __init__(
        self, limits: Limits, dose: Dose | None = None, file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._widest, self._file, self._clock = limits, file, clock
        self._budgets = None if dose is None else dose.settings
        self._lock = threading.RLock()
        self._travel = Travel()
        self._held: dict[str, Restriction] = {}
        self._dispute = ""
        self.limits, self.dose, self.version = limits, dose, 0
        self.dropped = tuple(self._adopt({} if file is None else restrictions.read(file)))

    def situation(self, values: Values, beam_dark: bool = True, acquiring: bool = False) -> Situation:
        """Return the moment as the limits judge it."""
        with self._lock:
            return Situation(values, beam_dark, acquiring, self._travel.lately(self._clock()))

    def require(self, plan: Plan, now: Situation) -> None:
        """Raise unless a plan is within everything that holds now; its dose is looked at when it begins.

        Raises
        ------
        LimitRefused, UnknownName
            As `Limits.check`.
        InstrumentOutside
            Also after the two counts of a dose disagreed, until it is armed again.
        """
        self.limits.check(plan, now)
        if self._dispute and not isinstance(plan, SetParameters) and not plan.expected:
            raise InstrumentOutside(f"{self._dispute}. See to current and detector, then arm the instrument")

    def moves(self, before: Values, after: Values) -> None:
        """Note that parameters are going to move."""
        with self._lock:
            self._travel.note(before, after, self._clock())

    def begins(self, scan_id: str, plan: Acquisition, values: Values) -> None:
        """Charge the dose of a scan that is going to begin.

        Raises
        ------
        DoseRefused, LimitRefused, StorageFailed
            As `Dose.reserve`.
        """
        if self.dose is not None:
            self.dose.reserve(scan_id, plan, values)

    def ended(self, end: ScanEnd) -> str:
        """Settle the dose of a scan; return what must be said: the counts disagree, or the disk took nothing."""
        return self._settled(lambda dose: dose.settle(end))

    def never_began(self, scan_id: str) -> str:
        """Give the dose of a refused scan back; returns as `ended`."""
        return self._settled(lambda dose: dose.release(scan_id))

    def unknown(self, scan_id: str) -> str:
        """Leave the whole dose charged: nobody knows how the scan ended; returns as `ended`."""
        return self._settled(lambda dose: dose.stay(scan_id))

    @property
    def disputed(self) -> bool:
        """Whether nothing may be exposed because two counts of a dose disagreed."""
        return bool(self._dispute)

    def armed(self) -> None:
        """Let exposures go on: a person has looked."""
        self._dispute = ""

    def violation(self, values: Values) -> str:
        """Return why the instrument may not go on as it does; empty if it may."""
        outside = next(self.limits.outside(values), None)
        passed = None if outside or self.dose is None else self.dose.passed()
        return str(outside or passed or "")

    def restrict(self, wanted: Mapping[str, Restriction], restored: Iterable[str]) -> str:
        """Narrow limits and budgets, and restore others; return what is to be said of keeping them.

        Raises
        ------
        SettingsInvalid, UnknownName
            If a key is unknown or a value would widen what the configuration allows; nothing is changed then.
        """
        with self._lock:
            held = {**restrictions.without(self._held, restored), **wanted}
            self._apply(held)
            try:
                if self._file is not None:
                    restrictions.write(self._file, held)
            except StorageFailed as full:
                # What makes it safer must not wait for a disk.
                return f"it holds until the server is restarted, for it could not be kept: {full}"
            return ""

    def table(self, values: Values) -> LimitsTable:
        """Return all limits with the present values."""
        with self._lock:
            rows = (
                LimitRow(
                    name=p.name, units=p.units, writable=p.writable, value=values.get(p.name, p.value),
                    limit=self.limits.of(p.name), widest=self._widest.of(p.name),
                )
                for p in self.limits.info.parameters
            )  # fmt: skip
            return LimitsTable(
                parameters=tuple(rows),
                rules={
                    name: f"{rule}{f' ({rule.why})' if rule.why else ''}" for name, rule in self.limits.rules.items()
                },
                budgets={} if self.dose is None else self.dose.settings.budgets(),
                widest_budgets={} if self._budgets is None else self._budgets.budgets(),
                restrictions=dict(self._held),
                outside=tuple(str(error) for error in self.limits.outside(values)),
            )

    def _adopt(self, held: Mapping[str, Restriction]) -> Iterable[str]:
        """Take up what was narrowed before a restart, one by one."""
        for key, restriction in held.items():
            try:
                self._apply({**self._held, key: restriction})
            except BeamloopError as error:
                yield f"{key} = {restriction.value:g} ({restriction}): {error}"

    def _apply(self, held: Mapping[str, Restriction]) -> None:
        limits = self._widest.narrowed(restrictions.narrower(held), restrictions.remarks(held))
        budgets = restrictions.budgets(held)
        if self._budgets is None and budgets:
            raise SettingsInvalid(
                f"{next(iter(budgets))}: {limits.info.name} has no parameter for its beam current, so its dose is not "
                "counted; give dose.current_a in its configuration"
            )
        if self._budgets is not None and self.dose is not None:
            self.dose.settings = self._budgets.narrowed(budgets)
        self.limits, self._held = limits, dict(held)
        self.version += 1

    def _settled(self, act: Callable[[Dose], str | None]) -> str:
        if self.dose is None:
            return ""
        try:
            wrong = act(self.dose) or ""
        except StorageFailed as full:
            return f"what a scan cost could not be kept, so it stays charged in full: {full}"
        self._dispute = wrong or self._dispute
        return wrong
