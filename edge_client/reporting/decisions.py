"""Every decision of a run as a table that stays usable: of a long run, those that mattered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core import InstrumentInfo
from ..record.story import Step, Story
from .page import folded, heading, table, text
from .wording import length_of, with_error

MOST_OPEN = 100
"""Longer tables are folded."""

MOST_ROWS = 400
"""Of a longer run, the first and last steps are shown and those with a new best value or without a value."""

MOST_FAULTS = 60


def decisions(story: Story) -> Iterator[str]:
    """Return the section about what was decided, step by step."""
    steps = story.steps
    if not steps:
        return
    yield heading("Every decision")
    shown = notable(steps, MOST_ROWS)
    if len(shown) < len(steps):
        yield text(
            f"{len(shown)} of the {len(steps)} steps: the first, the last, each that gave a new best value, and those "
            "without a value. All of them are in run.h5 under /run/decisions and in journal.sqlite."
        )
    info, units = story.described.info, story.experiment.target.units
    head = (
        "step", f"y, x ({length_of(info).unit})", "why", "believed before",
        f"measured ({units})" if units else "measured", "outcome",
    )  # fmt: skip
    rows = table(head, (_decision(step, info) for step in shown), numbers=(0,), whole=(1, 3, 4))
    yield (
        rows
        if len(shown) <= MOST_OPEN
        else folded(f"{len(shown)} steps; they are also in run.h5 under /run/decisions", [rows])
    )


def faults(story: Story) -> Iterator[str]:
    """Return the section about what was refused, failed, or stopped by somebody."""
    yield heading("Refusals, faults and interventions")
    declined = [step for step in story.steps if step.declined is not None]
    rows = [
        (f"step {step.commanded.step + 1}", step.outcome, f"{step.declined.error}: {step.declined.message}")
        for step in declined[:MOST_FAULTS]
        if step.declined is not None
    ]
    start_s = story.steps[0].time_s if story.steps else 0.0
    rows += [(f"{time_s - start_s:+.1f} s", event.word, event.reason) for time_s, event in story.interventions]
    rows += [
        (f"{time_s - start_s:+.1f} s", "interrupted", f"{cut.measurement_id}: {cut.reason}")
        for time_s, cut in story.interruptions
    ]
    abandoned = sum(step.outcome == "abandoned" for step in story.steps)
    if abandoned:
        rows.append(("at the end", "abandoned", f"{abandoned} steps were asked for and have no outcome"))
    if not rows:
        yield text("None: nothing was refused, nothing failed, nobody intervened.")
        return
    yield table(("when", "what", "why"), rows, whole=(0,))
    if len(declined) > MOST_FAULTS:
        yield text(f"{len(declined) - MOST_FAULTS} more refusals and failures are in run.h5 under /run/decisions.")


def notable(steps: Sequence[Step], most: int) -> list[Step]:
    """Return at most about `most` steps, in order: all, or the first, the last and those that stand out."""
    if len(steps) <= most:
        return list(steps)
    quarter = most // 4
    chosen = {*range(quarter), *range(len(steps) - quarter, len(steps))}
    best, out = float("-inf"), 0
    for number, step in enumerate(steps):
        value = float("-inf") if step.arrived is None else step.arrived.measurement.value
        stands_out = value > best or step.arrived is None
        best = max(best, value)
        if stands_out and number not in chosen and out < most // 2:
            chosen.add(number)
            out += 1
    return [steps[number] for number in sorted(chosen)]


def _decision(step: Step, info: InstrumentInfo) -> tuple[str, ...]:
    suggestion = step.commanded.suggestion
    believed = "" if suggestion.mean is None else f"{suggestion.mean:.4g} ± {suggestion.std or 0.0:.2g}"
    measured = "" if step.arrived is None else with_error(step.arrived.measurement, "")
    y, x = (f"{coordinate * length_of(info).per_metre:.4g}" for coordinate in suggestion.position)
    return str(step.commanded.step + 1), f"{y}, {x}", suggestion.why, believed, measured, step.outcome
