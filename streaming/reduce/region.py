"""Parts of a detector: which pixels count, decided by their centres.

A region is given in the units of the frame axes (`1/m`, `rad`, `m`), so it survives another
binning of the detector; with `pixels = true` it counts from 0 at the centre of the first
pixel. Borders are half-open: a disk and the ring around it share no pixel and miss none.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from ...core.errors import FrameShapeWrong
from ...core.frozen import Frozen
from ...core.signal import Axis

Point = tuple[float, float]


class Disk(Frozen):
    """Pixels closer to `centre` than `radius`."""

    kind: Literal["disk"] = "disk"
    radius: PositiveFloat
    centre: Point = (0.0, 0.0)
    pixels: bool = False

    def covers(self, v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which places `(v, u)` lie inside; any shapes that broadcast."""
        return _squared_distance(self.centre, v, u) < self.radius**2


class Ring(Frozen):
    """Pixels at least `inner` and less than `outer` away from `centre`."""

    kind: Literal["ring"] = "ring"
    inner: NonNegativeFloat
    outer: PositiveFloat
    centre: Point = (0.0, 0.0)
    pixels: bool = False

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        if self.inner >= self.outer:
            raise ValueError(f"inner = {self.inner:g} must be less than outer = {self.outer:g}")
        return self

    def covers(self, v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which places `(v, u)` lie inside; any shapes that broadcast."""
        squared = _squared_distance(self.centre, v, u)
        return (squared >= self.inner**2) & (squared < self.outer**2)


class Polygon(Frozen):
    """Pixels inside a closed line through `vertices`, by the even-odd rule.

    Attributes
    ----------
    vertices
        `(v, u)` of each corner in order; the last is joined to the first.

    Notes
    -----
    Two polygons that share an edge share no pixel. Source: the crossing test of Shimrat, "Algorithm 112:
    Position of point relative to polygon", Commun. ACM 5 (1962) 434.
    """

    kind: Literal["polygon"] = "polygon"
    vertices: Annotated[tuple[Point, ...], Field(min_length=3)]
    pixels: bool = False

    def covers(self, v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which places `(v, u)` lie inside; any shapes that broadcast."""
        inside = np.zeros(np.broadcast_shapes(v.shape, u.shape), dtype=np.bool_)
        for (v1, u1), (v2, u2) in zip(self.vertices, self.vertices[1:] + self.vertices[:1], strict=True):
            # A level edge is never crossed; the half-open comparison counts a shared corner once.
            if v1 != v2:
                crossing = u1 + (v - v1) * ((u2 - u1) / (v2 - v1))
                inside ^= ((v1 <= v) != (v2 <= v)) & (u < crossing)
        return inside


class Mask(Frozen):
    """Pixels chosen one by one.

    Attributes
    ----------
    mask
        One truth value for each pixel, shape (v, u); lists or an array.
    """

    kind: Literal["mask"] = "mask"
    mask: tuple[tuple[bool, ...], ...]

    @field_validator("mask", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        return value.tolist() if isinstance(value, np.ndarray) else value


Region = Annotated[Disk | Ring | Polygon | Mask, Field(discriminator="kind")]


def chosen_pixels(region: Disk | Ring | Polygon | Mask, axes: tuple[Axis, ...]) -> NDArray[np.bool_]:
    """Return which pixels of a detector with these axes `(v, u)` a region covers, shape (v, u).

    >>> v, u = Axis(name="v", size=2), Axis(name="u", size=3)
    >>> chosen_pixels(Disk(radius=1.1), (v, u)).astype(int).tolist()
    [[1, 1, 0], [1, 0, 0]]

    Raises
    ------
    FrameShapeWrong
        If the frames have no two axes, a mask has another shape, or the region covers no pixel.
    """
    shape = tuple(axis.size for axis in axes)
    if len(axes) != 2:
        raise FrameShapeWrong(f"a {region.kind} needs frames with two axes (v, u); these have shape {shape}")
    if isinstance(region, Mask):
        mask = _as_array(region, shape)
    else:
        at = [np.arange(a.size, dtype=np.float64) if region.pixels else a.coordinates() for a in axes]
        mask = region.covers(at[0][:, None], at[1][None, :])
    if not mask.any():
        spans = ", ".join(f"{a.name} {a.coordinates().min():g} .. {a.coordinates().max():g} {a.units}" for a in axes)
        raise FrameShapeWrong(f"no pixel lies in {region!r}; the detector has {shape} pixels, {spans}")
    return mask


def _as_array(region: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    lengths = {len(row) for row in region.mask}
    if (len(region.mask), *lengths) != shape:
        raise FrameShapeWrong(
            f"a mask of {len(region.mask)} rows of {sorted(lengths)} pixels does not fit frames of shape {shape}"
        )
    return np.array(region.mask, dtype=np.bool_)


def _squared_distance(centre: Point, v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    return (v - centre[0]) ** 2 + (u - centre[1]) ** 2
