"""What a run answers, in plain words with its uncertainty, and in which way it ended."""

from __future__ import annotations

import numpy as np

from ..record.story import Seen, Story
from .wording import in_units, place, plus_minus, with_error


def answer(story: Story, seen: Seen) -> str:
    """Return what was found, as sentences: the best place, what is believed of it, and the map."""
    best, target = story.best, story.experiment.target
    if best is None:
        return "Nothing was measured, so there is no answer."
    there = place(best.position, story.described.info)
    words = [f"The largest {target.name} measured is {with_error(best, target.units)}, at y, x = {there}."]
    if seen.belief is not None:
        words += _believed(story, seen, best.candidate)
    if seen.truth is not None:
        words.append(_true(story, seen, best.candidate))
    return " ".join(words)


def _believed(story: Story, seen: Seen, best: int) -> list[str]:
    assert seen.belief is not None
    mean, std, units = seen.belief.mean, seen.belief.std, story.experiment.target.units
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return ["The model's belief is not finite everywhere."]
    top = int(np.argmax(mean))
    here = f"After all measurements the model believes {plus_minus(mean[best], std[best], units)} there"
    if top == best:
        here += ", and less everywhere else."
    else:
        where = place(seen.pool.positions[top], story.described.info)
        here += f"; it expects the most at y, x = {where}: {plus_minus(mean[top], std[top], units)}."
    span = f"{mean.min():.4g} to {in_units(mean.max(), units)}"
    return [here, f"Over all {len(mean)} places its map runs from {span}, known to ± {np.median(std):.2g} (median)."]


def _true(story: Story, seen: Seen, best: int) -> str:
    """Say what is true at the best place, and how many places that were not measured are better."""
    assert seen.truth is not None
    value = in_units(seen.truth[best], story.experiment.target.units)
    reached = np.nanmax(seen.truth[[m.candidate for m in story.measurements]])
    better = int((seen.truth > reached).sum())
    if not better:
        return f"The true value there is {value}; no place is better than those that were measured."
    return (
        f"The true value there is {value}; {better} of {len(seen.truth)} places are better than any that was measured."
    )


def outcome_of(story: Story) -> tuple[str, str]:
    """Return in one word how a run ended, and why."""
    if story.ended is None:
        return "interrupted", "the journal tells of no end: the run was cut off, or is still under way"
    return story.ended.outcome, story.ended.reason
