"""What a run answers, in plain words with its uncertainty, and in which way it ended."""

from __future__ import annotations

import numpy as np

from ...core import InstrumentInfo, Measurement
from ..record.story import Seen, Story
from .figures import Length


def answer(story: Story, seen: Seen) -> str:
    """Return what was found, as sentences: the best place, then the map."""
    best = story.best
    if best is None:
        return "Nothing was measured, so there is no answer."
    target, info = story.experiment.target, story.described.info
    words = [f"The largest {target.name} measured is {with_error(best, target.units)}, at y, x = {place(best, info)}."]
    if seen.belief is None:
        return words[0]
    mean, std = seen.belief.mean, seen.belief.std
    here, top = best.candidate, int(np.nanargmax(mean))
    believed = f"the model believes {plus_minus(mean[here], std[here], target.units)} there"
    if top == here:
        words.append(f"With all measurements {believed}, and less everywhere else.")
    else:
        elsewhere = place(seen.pool.positions[top], info)
        words.append(
            f"With all measurements {believed}; it expects most, {plus_minus(mean[top], std[top], target.units)}, "
            f"at y, x = {elsewhere}."
        )
    spread = f"{np.nanmin(mean):.4g} to {in_units(np.nanmax(mean), target.units)}"
    doubt = in_units(np.nanmedian(std), target.units, digits=2)
    words.append(f"Over all {len(seen.pool)} places it runs from {spread}, known to ± {doubt} (median).")
    return " ".join(words)


def outcome_of(story: Story) -> tuple[str, str]:
    """Return in one word how a run ended, and why."""
    if story.ended is None:
        return "interrupted", "the journal tells of no end: the run was cut off, or is still under way"
    return story.ended.outcome, story.ended.reason


def place(where: Measurement | np.ndarray | tuple[float, float], info: InstrumentInfo) -> str:
    """Return `y, x` in units that fit the field of view."""
    length = Length.fitting(max(info.field.height_m, info.field.width_m))
    position = where.position if isinstance(where, Measurement) else where
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
