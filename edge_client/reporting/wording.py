"""How numbers are written for a person: with their errors, in units that fit."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from ...core import InstrumentInfo, Measurement
from .figures import Length


def length_of(info: InstrumentInfo) -> Length:
    """Return the unit of length that fits the field of view."""
    return Length.fitting(max(info.field.height_m, info.field.width_m))


def place(position: Sequence[float] | NDArray, info: InstrumentInfo) -> str:
    """Return `y, x`, given in metres, in a unit that fits the field of view."""
    length = length_of(info)
    y, x = (coordinate * length.per_metre for coordinate in position)
    return f"{y:.4g}, {x:.4g} {length.unit}"


def with_error(measurement: Measurement, units: str) -> str:
    """Return a measured value with its standard error, where that is known."""
    if measurement.std is None:
        return in_units(measurement.value, units)
    return plus_minus(measurement.value, measurement.std, units)


def plus_minus(value: float, std: float, units: str) -> str:
    """Return a value with its standard deviation.

    >>> plus_minus(1234.5, 12.0, "counts"), plus_minus(0.5, 0.01, "")
    ('1234 ± 12 counts', '0.5 ± 0.01')
    """
    return f"{value:.4g} ± {in_units(std, units, digits=2)}"


def in_units(value: float, units: str, digits: int = 4) -> str:
    """Return a value with its units, if it has any."""
    return f"{value:.{digits}g} {units}".strip()


def seconds(value: float) -> str:
    """Return a duration in the unit that fits.

    >>> seconds(0.0), seconds(2.5e-4), seconds(61.0), seconds(7200.0)
    ('0 s', '250 µs', '61 s', '2 h')
    """
    if abs(value) < 1e-9:
        # Less than anybody has timed is the rounding of a difference.
        return "0 s"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value / 3600:.3g} h"
