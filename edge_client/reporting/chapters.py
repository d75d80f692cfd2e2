"""What a run did, when and why: its steps in chapters of one reason each, among everything else that happened."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, zip_longest

from ..record.story import Step, Story
from .wording import seconds, with_error

MOST_CHAPTERS = 40
"""So many rows are shown; of more, the first and last half."""

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of the story.

    Attributes
    ----------
    time_s
        When it began, seconds since 1970.
    what, why
        What happened, and why or with what result.
    """

    time_s: float
    what: str
    why: str


def chapters(story: Story) -> list[tuple[str, str, str]]:
    """Return what happened in order: when (seconds from the first), what, and why or with what result."""
    found = sorted([*_scans(story), *_steps(story), *_closings(story), *_words(story)], key=lambda row: row.time_s)
    if not found:
        return []
    start_s = found[0].time_s
    rows = [(f"{seconds(row.time_s - start_s)}", row.what, row.why) for row in found]
    if story.ended is not None:
        rows.append((seconds(story.duration_s), story.ended.outcome, story.ended.reason))
    if len(rows) <= MOST_CHAPTERS:
        return rows
    half = MOST_CHAPTERS // 2
    return [*rows[:half], ("", "…", f"{len(rows) - 2 * half} more, in journal.sqlite"), *rows[-half:]]


def range_of(first: str, last: str) -> str:
    """Return what two sentences say together that differ in numbers only.

    >>> range_of("first look 1 of 6", "first look 6 of 6")
    'first look 1-6 of 6'
    """
    words = _NUMBER.split(first)
    numbers = (a if a == b else f"{a}-{b}" for a, b in zip(_NUMBER.findall(first), _NUMBER.findall(last), strict=True))
    return "".join(word + number for word, number in zip_longest(words, numbers, fillvalue=""))


def _scans(story: Story) -> Iterator[Happening]:
    for time_s, acquired in story.acquired:
        scan, cost = acquired.scan, acquired.end
        dose = f"{cost.electrons:.3g} electrons" if cost.electrons else "no dose"
        shape = " x ".join(map(str, scan.scan_shape))
        what = {"overview": "overview taken", "truth": "truth asked for, to compare with"}[acquired.name]
        yield Happening(time_s, what, f"{scan.detector}, {shape} positions, {dose}")


def _steps(story: Story) -> Iterator[Happening]:
    best, again_s = float("-inf"), [time_s for time_s, _ in story.resumptions]

    def chapter(step: Step) -> tuple[str, int]:
        return _NUMBER.sub("", step.commanded.suggestion.why), bisect(again_s, step.time_s)

    for _, group in groupby(story.steps, chapter):
        steps = list(group)
        first, last = (steps[i].commanded for i in (0, -1))
        why = range_of(first.suggestion.why, last.suggestion.why)
        told, best = _came(steps, best, story.experiment.target.units)
        number = f"step {first.step + 1}" if first is last else f"steps {first.step + 1}-{last.step + 1}"
        yield Happening(steps[0].time_s, number, f"{why}: {told}")


def _came(steps: list[Step], best: float, units: str) -> tuple[str, float]:
    """Say what some steps gave; return it with the best value by their end."""
    values = [step.arrived.measurement for step in steps if step.arrived is not None]
    told = [f"{len(values)} values"] if len(values) != 1 else ["1 value"]
    for outcome in ("refused", "failed", "interrupted", "abandoned"):
        if count := sum(step.outcome == outcome for step in steps):
            told.append(f"{count} {'without outcome' if outcome == 'abandoned' else outcome}")
    top = max(values, key=lambda m: m.value, default=None)
    if top is not None and top.value > best:
        told.append(f"best so far {with_error(top, units)}")
        best = top.value
    return ", ".join(told), best


def _closings(story: Story) -> Iterator[Happening]:
    """Tell of the first and the last, since a tight budget closes some at every step."""
    if not story.closings:
        return
    first_s, count = story.closings[0][0], sum(len(event.candidates) for _, event in story.closings)
    yield Happening(first_s, "dose used up", story.closings[0][1].told())
    if len(story.closings) > 1:
        last_s, last = story.closings[-1]
        yield Happening(last_s, "dose used up", f"{count} candidates closed by now: {last.reason}")


def _words(story: Story) -> Iterator[Happening]:
    for time_s, event in story.interventions:
        yield Happening(time_s, event.word, event.reason)
    for time_s, noted in story.notes:
        yield Happening(time_s, "note", noted.text)
    for time_s, cut in story.interruptions:
        charge = f"{'at most ' if cut.estimated else ''}{cut.electrons:.3g} electrons charged"
        yield Happening(time_s, "interrupted", f"{cut.measurement_id}, {charge}: {cut.reason}")
    for time_s, resumed in story.resumptions:
        yield Happening(time_s, "resumed", f"on {resumed.instrument}, beamloop {resumed.versions.get('beamloop', '?')}")
