"""What to do, as a value: immutable, validated, the same for simulator, recording and hardware.

A plan says what is wanted and nothing about how an instrument does it. Positions are
`(y, x)` in metres within the instrument's field of view.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, StrictBool, TypeAdapter, ValidationError

from .errors import PlanInvalid
from .frozen import Frozen
from .number import Number
from .signal import Axis

MOST_POINTS = 10_000
"""Positions that one list may name; arrays do not travel on the control channel."""

MOST_PIXELS = 1 << 26
"""Positions of the largest grid."""

Pixels = Annotated[int, Field(strict=True, gt=0)]
Seconds = Annotated[Number, Field(gt=0)]


class Region(Frozen):
    """A rectangle on the specimen, metres.

    Attributes
    ----------
    y_m, x_m
        Its corner of least `y` and `x`.
    height_m, width_m
        Its extent.
    """

    y_m: float
    x_m: float
    height_m: PositiveFloat
    width_m: PositiveFloat

    def grid(self, shape: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return the axes `(y, x)` of a grid whose pixels tile the region, at pixel centres.

        >>> y, x = Region(y_m=0.0, x_m=0.0, height_m=2.0, width_m=4.0).grid((2, 2))
        >>> x.coordinates().tolist()
        [1.0, 3.0]
        """
        corners, extents = (self.y_m, self.x_m), (self.height_m, self.width_m)
        y, x = (
            Axis(
                name=name, size=size, units="m", quantity="length",
                offset=corner + extent / size / 2, scale=extent / size,
            )
            for name, size, corner, extent in zip("yx", shape, corners, extents, strict=True)
        )  # fmt: skip
        return y, x

    def contains(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which positions, shape (n, 2), lie inside; shape (n,)."""
        low = np.array([self.y_m, self.x_m])
        high = low + np.array([self.height_m, self.width_m])
        return np.all((positions >= low) & (positions <= high), axis=1)


class GridScan(Frozen):
    """Scan a rectangle row by row.

    Attributes
    ----------
    detector
        Which detector to read.
    shape
        Pixels `(ny, nx)`.
    dwell_s
        Exposure of one pixel.
    region
        The rectangle; None for the whole field of view.
    expected
        Ask for the noise-free expectation, at no dose; real hardware refuses.
    """

    kind: Literal["grid"] = "grid"
    detector: str
    shape: tuple[Pixels, Pixels]
    dwell_s: Seconds
    region: Region | None = None
    expected: StrictBool = False

    @property
    def count(self) -> int:
        """How many positions it has."""
        return self.shape[0] * self.shape[1]

    def axes(self, field: Region) -> tuple[Axis, ...]:
        """Return the scan axes `(y, x)` in this field of view."""
        return (self.region or field).grid(self.shape)

    def positions(self, field: Region) -> NDArray[np.float64]:
        """Return every position, `(y, x)` in metres, shape (ny * nx, 2), x fastest."""
        y, x = self.axes(field)
        rows, columns = np.meshgrid(y.coordinates(), x.coordinates(), indexing="ij")
        return np.column_stack([rows.ravel(), columns.ravel()])


class PointScan(Frozen):
    """Visit a list of points in order; one point is a single spectrum or frame.

    Attributes
    ----------
    detector
        Which detector to read.
    points
        `(y, x)` of each point in metres.
    dwell_s
        Exposure of one point.
    expected
        Ask for the noise-free expectation, at no dose; real hardware refuses.
    """

    kind: Literal["points"] = "points"
    detector: str
    points: Annotated[tuple[tuple[Number, Number], ...], Field(min_length=1, max_length=MOST_POINTS)]
    dwell_s: Seconds
    expected: StrictBool = False

    @property
    def count(self) -> int:
        """How many positions it has."""
        return len(self.points)

    def axes(self, field: Region) -> tuple[Axis, ...]:
        """Return the one scan axis, a bare index; `field` does not matter to a list."""
        return (Axis(name="index", size=len(self.points)),)

    def positions(self, field: Region) -> NDArray[np.float64]:
        """Return every position, `(y, x)` in metres, shape (n, 2)."""
        return np.asarray(self.points, dtype=np.float64)


class SetParameters(Frozen):
    """Set parameters of the instrument, stage moves among them, in SI units."""

    kind: Literal["set"] = "set"
    values: Annotated[dict[str, Number], Field(min_length=1)]


Acquisition = GridScan | PointScan
Plan = GridScan | PointScan | SetParameters

_PLANS: TypeAdapter[Plan] = TypeAdapter(Annotated[Plan, Field(discriminator="kind")])


def plan_from(data: object) -> Plan:
    """Return the plan that a mapping from the wire or a file describes.

    Raises
    ------
    PlanInvalid
        If it is not a valid plan; the message names each wrong field with what was found.
    """
    try:
        plan = _PLANS.validate_python(data)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r:.60}" for e in _innermost(error))
        raise PlanInvalid(f"not a valid plan: {'; '.join(wrong)}") from None
    if isinstance(plan, GridScan) and plan.count > MOST_PIXELS:
        raise PlanInvalid(f"a grid of {plan.shape} positions was asked for; the most is {MOST_PIXELS}")
    return plan


def _innermost(error: ValidationError) -> list[Any]:
    """Return what is wrong, without complaints about a whole that only repeat one about its part."""
    found = error.errors()
    return [e for e in found if not any(o["loc"][: len(e["loc"])] == e["loc"] != o["loc"] for o in found)]
