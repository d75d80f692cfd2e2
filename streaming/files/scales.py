"""The axes of a recorded dataset as its file tells them, and which of them are y and x.

Files order and name axes as their authors liked: `x, y, energy`, `X, Y, Voltage`, `y, x`,
`height, width, Energy`. What is found is kept in a small table first; only then is it decided
what it means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.signal import Axis
from .units import si_units

EVEN = 1e-3
"""Part of a step by which coordinates may miss an even axis and still make one."""

_ON_THE_SPECIMEN = {
    "y": "y", "height": "y", "scany": "y",
    "x": "x", "width": "x", "scanx": "x",
}  # fmt: skip
_ON_A_DETECTOR = {
    "v": "v", "ky": "v", "qy": "v", "dy": "v", "dety": "v",
    "u": "u", "kx": "u", "qx": "u", "dx": "u", "detx": "u",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis of a dataset, as found.

    Attributes
    ----------
    name, quantity, units
        As the file spells them.
    kind
        NSID's dimension type (`SPATIAL`, `RECIPROCAL`, `SPECTRAL`, ...), or empty.
    at
        The coordinates, shape (size,), in `units`.
    step
        The step where one coordinate alone does not tell it; None if the file does not either.
    """

    name: str
    quantity: str
    units: str
    kind: str
    at: NDArray[np.float64]
    step: float | None = None

    @property
    def si(self) -> tuple[str, float]:
        """SI units and the factor to them."""
        on_a_plane = self.kind in ("SPATIAL", "RECIPROCAL") or self.is_detector_axis or bool(self.on_specimen)
        return si_units(self.units, of_length=on_a_plane)

    @property
    def is_detector_axis(self) -> bool:
        """Whether name or kind says that it lies on a detector."""
        return self.kind == "RECIPROCAL" or _short(self.name) in _ON_A_DETECTOR

    @property
    def on_specimen(self) -> str:
        """`y` or `x` if it lies on the specimen under this name, else empty."""
        return "" if self.is_detector_axis else _ON_THE_SPECIMEN.get(_short(self.name), "")

    def axis(self) -> Axis:
        """Return it as an axis of a frame: SI units, a plain name, even where it is even."""
        units, factor = self.si
        name = _ON_A_DETECTOR.get(_short(self.name), slug(self.name))
        if units == "eV" and name in ("", "z"):
            name = "energy"
        known = {"name": name, "units": units, "quantity": self.quantity, "size": len(self.at)}
        return even_axis(known, self.at * factor, (self.step or 1.0) * factor) or Axis(
            **known, values=tuple((self.at * factor).tolist())
        )


def even_scale(name: str, units: str, size: int, step: float, offset: float = 0.0, kind: str = "") -> Scale:
    """Return an axis that a file tells by its step and first coordinate."""
    return Scale(name, "", units, kind, offset + step * np.arange(size, dtype=np.float64), step)


def bare_scale(name: str, size: int, kind: str = "") -> Scale:
    """Return an axis that a file tells nothing about."""
    return even_scale(name, "", size, 1.0, kind=kind)


def scan_dimensions(scales: Sequence[Scale]) -> tuple[int | None, int | None] | None:
    """Return which dimensions are y and x; None if the data lie on no grid in space.

    A line of positions is a grid of one row, its y None, or of one column if it is called y. One frame alone,
    all of whose axes are a detector's, is a grid of one position: both are None.
    """
    named = {scale.on_specimen: i for i, scale in reversed(list(enumerate(scales)))}
    if "y" in named and "x" in named:
        return named["y"], named["x"]
    spatial = [i for i, s in enumerate(scales) if s.on_specimen or (s.kind == "SPATIAL" and not s.is_detector_axis)]
    if len(spatial) == 2:
        return spatial[0], spatial[1]
    if len(spatial) == 1:
        return (spatial[0], None) if "y" in named else (None, spatial[0])
    if not spatial and scales and all(s.is_detector_axis or s.kind == "SPECTRAL" for s in scales):
        return None, None
    return None


def frame_dimensions(scales: Sequence[Scale], scan: tuple[int | None, int | None]) -> tuple[int, ...]:
    """Return which dimensions make a frame, `(v, u)` in this order."""
    rest = [i for i in range(len(scales)) if i not in scan]
    names = [scales[i].axis().name for i in rest]
    return tuple(reversed(rest)) if names == ["u", "v"] else tuple(rest)


def even_axis(known: dict, at: NDArray[np.float64], lone_step: float) -> Axis | None:
    """Return the even axis through these coordinates, or None if they are uneven.

    `known` holds the other attributes of the axis; `lone_step` is the step of a single coordinate.
    """
    n = len(at)
    step = float(at[-1] - at[0]) / (n - 1) if n > 1 else lone_step
    off = np.abs(at - (at[0] + step * np.arange(n)))
    # Written so that nan, and a step of zero, are uneven.
    if not (step != 0 and bool(np.all(off <= EVEN * abs(step)))):
        return None
    return Axis(**known, offset=float(at[0]), scale=step)


def slug(text: str) -> str:
    """Return a name that a person can type.

    >>> slug("HeightRetrace"), slug("$\\\\sqrt E$")
    ('height_retrace', 'sqrt_e')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"\W+", "_", apart).strip("_").lower()


def _short(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
