"""Several recorded datasets laid over one field of view, pixel group by pixel group.

While a spectrum is taken at each position, a fast detector often records an image with a
whole number of pixels for each: 32 x 32, say. Both cover the same field, but their files
rarely say so: lengths are missing, or both count from the middle of their first pixel, which
are different places. So a dataset whose pixels divide the main grid evenly is laid over its
field, with a note:

- from another file always, because origins of different files mean nothing to each other;
- in the same file if it starts at the same coordinate and is as long, to half a position.

The field's lengths are those of the main grid, or of a dataset laid over it that has some
when the main grid has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...core.plan import Region
from ...core.signal import Axis
from .recorded import RecordedDetector

SAME = 1e-3
"""Part of a pixel by which two origins may differ and still be the same."""


def main_of(detectors: Sequence[RecordedDetector]) -> RecordedDetector:
    """Return the grid of spectra or frames with most positions, of several the one with the largest frames.

    If there are only images it is the first.
    """
    grids = [detector for detector in detectors if detector.kind != "image"]
    return max(grids, key=lambda d: (d.valid.size, math.prod(d.frame_shape))) if grids else detectors[0]


def field_of(detector: RecordedDetector) -> Region:
    """Return the rectangle that the pixels of a recorded grid tile."""
    y, x = detector.y, detector.x
    return Region(
        y_m=y.offset - y.scale / 2, x_m=x.offset - x.scale / 2, height_m=y.size * y.scale, width_m=x.size * x.scale
    )


def aligned(detectors: Sequence[RecordedDetector]) -> list[RecordedDetector]:
    """Return the detectors with those that divide the main grid evenly laid over its field."""
    if not detectors:
        return []
    main = main_of(detectors)
    together = [d for d in detectors if d is main or _belongs(d, main)]
    if len(together) == 1:
        return list(detectors)
    ruler = next((d for d in (main, *together) if d.calibrated), main)
    field = field_of(ruler)
    return [_laid(d, main, ruler, field) if d in together and d is not ruler else d for d in detectors]


def _belongs(detector: RecordedDetector, main: RecordedDetector) -> bool:
    if any(mine % theirs for mine, theirs in zip(detector.shape, main.shape, strict=True)):
        return False
    if detector.file != main.file:
        return True
    return all(_same_start(a, b) for a, b in ((detector.y, main.y), (detector.x, main.x)))


def _same_start(fine: Axis, coarse: Axis) -> bool:
    """Tell whether two axes that start at the same coordinate are of the same length."""
    at_the_same = abs(fine.offset - coarse.offset) <= SAME * fine.scale
    return at_the_same and abs(fine.size * fine.scale - coarse.size * coarse.scale) <= coarse.scale / 2


def _laid(
    detector: RecordedDetector, main: RecordedDetector, ruler: RecordedDetector, field: Region
) -> RecordedDetector:
    y, x = field.grid(detector.shape)
    if detector.shape == ruler.shape and detector.file == ruler.file:
        # Nothing is to be moved where both have the same grid already.
        return detector
    ny, nx = (mine // theirs for mine, theirs in zip(detector.shape, main.shape, strict=True))
    if detector is main:
        note = f"{detector.path} tells no lengths; those of {ruler.path} are taken"
    else:
        each = "as many positions as" if ny == nx == 1 else f"{ny} x {nx} pixels for each position of"
        note = f"{detector.path} has {each} {main.path} and is laid over its field"
    return replace(detector, y=y, x=x, calibrated=ruler.calibrated, place=note)
