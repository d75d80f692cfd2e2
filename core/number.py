"""A number in a plan: a real one. `true`, `"1.0"` and what has no end are refused, not made into one."""

from __future__ import annotations

from numbers import Real
from typing import Annotated

from pydantic import BeforeValidator


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError("a number is wanted")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number that a computer can hold is wanted") from None


Number = Annotated[float, BeforeValidator(_number)]
