"""The table of limits as an instrument tells it: what holds now, what stands there, who narrowed it."""

from __future__ import annotations

from pydantic import Field

from .frozen import Frozen
from .limit import Limit


class LimitRow(Frozen):
    """One parameter of the table.

    Attributes
    ----------
    name, units, writable
        Which parameter.
    value
        Where it stands.
    limit
        What holds now.
    widest
        What the instrument and its configuration allow; nothing set while it runs goes beyond.
    """

    name: str
    units: str
    writable: bool
    value: float
    limit: Limit
    widest: Limit


class Restriction(Frozen):
    """A limit or budget that was narrowed while the instrument ran: to what, by whom, why, since when (ISO 8601)."""

    value: float
    by: str
    why: str
    since: str

    def __str__(self) -> str:
        return f"narrowed by {self.by} since {self.since}{f': {self.why}' if self.why else ''}"


class LimitsTable(Frozen):
    """All limits of an instrument.

    Attributes
    ----------
    parameters
        One row each.
    rules
        Forbidden combinations in words, by name.
    budgets, widest_budgets
        Dose budgets by configuration key, electrons per square metre: now, and as the configuration has them.
    restrictions
        What was narrowed while it ran, by key.
    outside
        What is said of each parameter that stands outside its limits.
    """

    parameters: tuple[LimitRow, ...]
    rules: dict[str, str] = Field(default_factory=dict)
    budgets: dict[str, float] = Field(default_factory=dict)
    widest_budgets: dict[str, float] = Field(default_factory=dict)
    restrictions: dict[str, Restriction] = Field(default_factory=dict)
    outside: tuple[str, ...] = ()
