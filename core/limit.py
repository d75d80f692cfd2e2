"""How far one parameter may go: its range, its rate of change, and the largest step of one command."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveFloat, model_validator

from .errors import SettingsInvalid
from .frozen import Frozen
from .instrument import Parameter
from .spelling import spelt


class Limit(Frozen):
    """The limit of one parameter, SI units; what is None is as it was before.

    Attributes
    ----------
    low, high
        Lowest and highest value, both inclusive.
    rate_per_s
        Furthest way within any second, there and back counted.
    step
        Furthest way by one command.
    """

    low: float | None = None
    high: float | None = None
    rate_per_s: PositiveFloat | None = None
    step: PositiveFloat | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        return self

    @classmethod
    def of(cls, parameter: Parameter) -> Self:
        """Return what an instrument says of its own parameter."""
        return cls(low=parameter.low, high=parameter.high, rate_per_s=parameter.rate_per_s, step=parameter.step)

    def within(self, own: Limit, name: str) -> Limit:
        """Return this limit where it says something, and `own` where it does not.

        Raises
        ------
        SettingsInvalid
            If it would widen `own`, with the key, what was asked and what is allowed.
        """
        merged = own.model_copy(update={k: v for k, v in self.model_dump().items() if v is not None})
        for part, is_wider in (
            ("low", not own.holds(merged.low)), ("high", not own.holds(merged.high)),
            ("rate_per_s", _exceeds(merged.rate_per_s, own.rate_per_s)), ("step", _exceeds(merged.step, own.step)),
        ):  # fmt: skip
            if is_wider:
                asked = spelt(getattr(merged, part))
                bound = own.range() if part in ("low", "high") else f"at most {spelt(getattr(own, part))}"
                raise SettingsInvalid(
                    f"limits.{name}.{part} = {asked} is not within {bound}: a setting may only narrow a limit"
                )
        return merged._is_a_range_of(name)

    def holds(self, value: float | None) -> bool:
        """Tell whether a value is in the range; nan never is.

        >>> Limit(low=0.0, high=1.0).holds(1.0), Limit(low=0.0).holds(float("nan"))
        (True, False)
        """
        if value is None:
            return True
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high) and value == value

    def range(self) -> str:
        """Return the range for a message."""
        low, high = ("any" if edge is None else spelt(edge) for edge in (self.low, self.high))
        return f"{low} .. {high}"

    def _is_a_range_of(self, name: str) -> Limit:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise SettingsInvalid(f"limits.{name}: no value is within {self.range()}")
        return self


def _exceeds(wanted: float | None, own: float | None) -> bool:
    return own is not None and (wanted is None or wanted > own)
