"""A number as a person reads it, with as many digits as it needs to be told from its neighbours."""

from __future__ import annotations


def spelt(value: float) -> str:
    """Return a number in few digits if these are the whole of it, else in all.

    >>> spelt(2e-06), spelt(5.0), spelt(1.0000000000000002)
    ('2e-06', '5', '1.0000000000000002')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
