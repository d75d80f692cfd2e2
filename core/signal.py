"""Numbers with calibrated axes: what an acquisition returns and a file stores.

Units in the code are SI (`m`, `1/m`, `s`), with the field's exceptions (`eV` for energy loss,
`V` for bias). Axis order is scan `(y, x)`, then detector `(v, u)` or energy, last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, model_validator

from .errors import FrameShapeWrong
from .frozen import Frozen


class Axis(Frozen):
    """One calibrated axis, evenly spaced unless `values` lists every coordinate.

    Attributes
    ----------
    name
        Short name: `y`, `x`, `v`, `u`, `energy_loss`, `index`, ...
    units
        Units of the coordinates; empty for a bare index.
    quantity
        What the coordinates measure, for example `length`.
    size
        Number of coordinates.
    offset, scale
        First coordinate and step; ignored where `values` is given.
    values
        Every coordinate of an uneven axis, length `size`; empty for an even one.
    """

    name: str
    size: PositiveInt
    units: str = ""
    quantity: str = ""
    offset: float = 0.0
    scale: float = 1.0
    values: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _lists_every_value(self) -> Self:
        if self.values and len(self.values) != self.size:
            raise ValueError(f"axis {self.name!r} has size {self.size} but {len(self.values)} values")
        return self

    def coordinates(self) -> NDArray[np.float64]:
        """Return all coordinates, shape (size,), in `units`.

        >>> Axis(name="x", size=3, scale=0.5).coordinates().tolist()
        [0.0, 0.5, 1.0]
        """
        if self.values:
            return np.asarray(self.values, dtype=np.float64)
        return self.offset + self.scale * np.arange(self.size, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Signal:
    """An array whose every axis is calibrated.

    Attributes
    ----------
    data
        The numbers, shape equal to the sizes of `axes` in order.
    axes
        One axis for each dimension of `data`.
    quantity, units
        What `data` measures, and in which units.
    valid
        Which scan positions hold real data, shape of the leading axes; None if all do.
    metadata
        Facts about the acquisition, JSON-like.
    """

    data: NDArray
    axes: tuple[Axis, ...]
    quantity: str = ""
    units: str = ""
    valid: NDArray[np.bool_] | None = None
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = tuple(axis.size for axis in self.axes)
        if self.data.shape != sizes:
            names = ", ".join(axis.name for axis in self.axes)
            raise FrameShapeWrong(f"data of shape {self.data.shape} do not fit axes ({names}) of sizes {sizes}")
