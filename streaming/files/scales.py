"""The axes of a recorded dataset as its file tells them, and which of them are y and x.

Files order and name axes as their authors liked: `x, y, energy`, `X, Y, Voltage`, `y, x`.
What is found is kept in a small table first; only then is it decided what it means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core.signal import Axis
from .nsid import group_of
from .units import si_units

EVEN = 1e-3
"""Part of a step by which coordinates may miss an even axis and still make one."""

_CANONICAL = {"kx": "u", "ky": "v", "qx": "u", "qy": "v"}


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis of a dataset, as found.

    Attributes
    ----------
    name, quantity, units
        As the file spells them.
    kind
        NSID's dimension type, or empty.
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
        return si_units(self.units, of_length=self.kind in ("SPATIAL", "RECIPROCAL"))

    @property
    def is_detector_axis(self) -> bool:
        """Whether the name says that it lies on a detector."""
        return self.name.lower() in ("u", "v", *_CANONICAL)

    def axis(self) -> Axis:
        """Return it as an axis of a frame: SI units, a plain name, even where it is even."""
        units, factor = self.si
        name = slug(self.name)
        known = {"name": _CANONICAL.get(name, name), "units": units, "quantity": self.quantity, "size": len(self.at)}
        return even_axis(known, self.at * factor, (self.step or 1.0) * factor) or Axis(
            **known, values=tuple((self.at * factor).tolist())
        )


def scales_of(dataset: h5py.Dataset) -> list[Scale]:
    """Return the axes of a dataset in the file's order; one without a scale becomes a bare index."""
    return [_scale(dataset, i) for i in range(dataset.ndim)]


def scan_dimensions(scales: list[Scale]) -> tuple[int, int] | None:
    """Return which dimensions are y and x; None if the data lie on no grid in space."""
    spatial = [i for i, s in enumerate(scales) if s.kind == "SPATIAL" and not s.is_detector_axis]
    named = {s.name.lower(): i for i, s in enumerate(scales)}
    if "y" in named and "x" in named:
        return named["y"], named["x"]
    return (spatial[0], spatial[1]) if len(spatial) == 2 else None


def frame_dimensions(scales: list[Scale], scan: tuple[int, int]) -> tuple[int, ...]:
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


def text_of(value: object) -> str:
    """Return an HDF5 attribute as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _scale(dataset: h5py.Dataset, i: int) -> Scale:
    dimension, size = dataset.dims[i], dataset.shape[i]
    label = text_of(dimension.label)
    found = dimension[0] if len(dimension) else group_of(dataset).get(label)
    if not isinstance(found, h5py.Dataset) or found.shape != (size,) or found.dtype.kind not in "iuf":
        return Scale(label or f"dimension_{i}", "", "", "", np.arange(size, dtype=np.float64))
    at = found[()].astype(np.float64)
    if not np.isfinite(at).all():
        # Coordinates that are no numbers tell nothing, and neither do their units.
        return Scale(label, "", "", "", np.arange(size, dtype=np.float64))
    facts = {key: text_of(found.attrs[key]) for key in ("quantity", "units", "dimension_type") if key in found.attrs}
    step = found.attrs.get("step")
    return Scale(
        label or str(found.name).rsplit("/", 1)[-1],
        facts.get("quantity", ""),
        facts.get("units", ""),
        facts.get("dimension_type", "").rsplit(".", 1)[-1].upper(),
        at,
        None if step is None else float(step),
    )
