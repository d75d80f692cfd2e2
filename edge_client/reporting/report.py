"""The report of a run: what was asked, where was measured, what was found, how to do it again.

Made from the story and what was seen, never from live objects, so it can be made again
from a run folder at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..record.story import Seen, Step, Story
from .answer import answer, outcome_of
from .asked import again, asked
from .chapters import chapters
from .curves import belief_figure, best_figure, budget_figure, every, frame_figure
from .decisions import decisions, faults
from .dose import dose
from .figures import map_layers, maps_figure, overview_figure, way_figure
from .page import badge, facts, heading, page, picture, row, table, text, title
from .wording import place, seconds, with_error

_SOURCES = {"simulator": "SIMULATOR", "recording": "RECORDING", "hardware": "HARDWARE"}
_WARNINGS = {
    "simulator": "These data come from a simulator, not from a specimen.",
    "recording": "These data were played back from a recording; nothing was measured now.",
}
_TONES = {"finished": "good", "stopped": "loud", "failed": "bad"}
MOST_NOTES = 12


def report(story: Story, seen: Seen) -> str:
    """Return the report as one HTML document that needs no other file."""
    parts = [*_title(story), *_summary(story, seen), *asked(story), *_when(story), *_places(story, seen)]
    parts += [
        *dose(story, seen),
        *_found(story, seen),
        *_learning(story, seen),
        *_time(story),
        *faults(story),
        *decisions(story),
    ]
    return page(f"{story.experiment.name}: beamloop report", [*parts, *again(story)])


def _title(story: Story) -> Iterator[str]:
    info, (outcome, _) = story.described.info, outcome_of(story)
    yield badge(_SOURCES[info.source], "" if info.source == "hardware" else "loud")
    yield badge(outcome, _TONES.get(outcome, "bad"))
    yield title(story.experiment.name)
    yield text(story.experiment.question, "lead")
    started = story.opened.started.replace("T", " ").replace("+00:00", " UTC")
    yield text(f"{info.name} at {story.described.address}; started {started}; run {story.opened.run}", "over")
    if info.source in _WARNINGS:
        yield text(_WARNINGS[info.source], "banner")
    if info.source == "recording" and info.simulated:
        yield text("What was recorded came from a simulator, not from a specimen.", "banner")
    if story.ended is None:
        yield text(
            "This run has no end: it was cut off, or is still under way. What follows is what it had when this report "
            f"was made. If it was cut off, `beamloop resume {story.opened.run}` continues it.",
            "alarm",
        )


def _summary(story: Story, seen: Seen) -> Iterator[str]:
    target, best = story.experiment.target, story.best
    yield text(answer(story, seen), "answer")
    shown = [("measured of candidates", f"{len(story.measurements)} of {len(seen.pool)}")]
    if best is not None:
        shown.insert(0, (f"best {target.name}", with_error(best, target.units)))
        shown.insert(1, ("at y, x", place(best.position, story.described.info)))
    if best is not None and seen.truth is not None:
        shown.append(("of the true range below the maximum", _regret(story, seen)))
    scans = [acquired.end for _, acquired in story.acquired]
    shown += [
        ("electrons on the specimen", f"{story.electrons + sum(scan.electrons for scan in scans):.3g}"),
        ("instrument time", seconds(sum(part.duration_s for part in (*story.measurements, *scans)))),
        ("time on the wall", seconds(story.duration_s)),
    ]
    yield facts(shown)
    if story.ended is not None:
        more = "" if story.ended.outcome == "finished" else f" `beamloop resume {story.opened.run}` goes on with it."
        yield text(f"Ended: {story.ended.reason}.{more}")
    for note in seen.notes[:MOST_NOTES]:
        yield text(f"Of this report: {note}.", "over")


def _when(story: Story) -> Iterator[str]:
    rows = chapters(story)
    if rows:
        yield heading("What happened, and why")
        yield table(("after", "what", "why, and what came of it"), rows, whole=(0,))


def _places(story: Story, seen: Seen) -> Iterator[str]:
    yield heading("Where it looked")
    field, measured = story.described.info.field, story.measurements
    pictures = []
    if seen.overview is not None:
        pictures.append(picture(overview_figure(seen.overview, field), "The overview, taken first."))
    if measured:
        overview = seen.overview
        way = way_figure(field, measured) if overview is None else overview_figure(overview, field, measured)
        caption = f"All {len(measured)} measured points in the order of measuring."
        pictures.append(picture(way, caption, small=overview is None))
    yield row(pictures) if len(pictures) > 1 else "".join(pictures) or text("Nothing was measured.")


def _found(story: Story, seen: Seen) -> Iterator[str]:
    target, belief = story.experiment.target, seen.belief
    mean, std = (None, None) if belief is None else (belief.mean, belief.std)
    layers = map_layers(target.name, target.units, mean, std, seen.truth)
    if layers:
        yield heading("What it found")
        shared = (
            " Prediction and truth share one colour scale." if belief is not None and seen.truth is not None else ""
        )
        dots = "White dots in the first map: measured points."
        yield picture(maps_figure(seen.pool, story.described.info.field, layers, story.measurements), dots + shared)
    figure = None if seen.best_frame is None else frame_figure(seen.best_frame)
    if figure is not None and story.best is not None:
        where = place(story.best.position, story.described.info)
        yield picture(
            figure, f"What {story.experiment.measure.detector} gave at the best place, y, x = {where}.", small=True
        )


def _learning(story: Story, seen: Seen) -> Iterator[str]:
    if not story.measurements:
        return
    target = story.experiment.target
    yield heading("How fast it learnt")
    against = (
        "True values at the places measured, beside the exact expectation and quartiles of measuring at random."
        if seen.truth is not None
        else "Values as measured; the truth is not known here, so there is no comparison with random sampling."
    )
    best = picture(best_figure(target.name, target.units, story.measurements, seen.truth), against, small=True)
    figure = belief_figure(target.name, target.units, story.steps)
    if figure is None:
        yield best
    else:
        believed = "What was believed before each measurement, and what came."
        yield row([best, picture(figure, believed + _thinned(len(story.measurements)))])


def _time(story: Story) -> Iterator[str]:
    done = [step for step in story.steps if step.arrived is not None]
    if not done:
        return
    yield heading("Where the time of a step went")
    yield picture(
        budget_figure(story.steps),
        "Deciding runs while the instrument measures: it costs time only where the instrument waits."
        + _thinned(len(done)),
        small=True,
    )
    yield table(("part", "median", "90 % are below", "clock"), _budget_rows(done), numbers=(1, 2))


def _thinned(steps: int) -> str:
    return "" if every(steps) == 1 else f" Of {steps} steps, one in {every(steps)} is drawn."


def _budget_rows(done: list[Step]) -> Iterator[tuple[str, str, str, str]]:
    budgets = [step.arrived.budget for step in done if step.arrived is not None]
    there, beside = "the instrument's; virtual in a simulator or recording", "wall, beside measuring"
    for name, clock, values in (
        ("move", there, [b.move_s for b in budgets]),
        ("acquire", there, [b.acquire_s for b in budgets]),
        ("instrument at work (move and acquire)", "wall", [b.produce_s for b in budgets]),
        ("transfer", "wall", [b.transfer_s for b in budgets]),
        ("reduce", "wall", [b.reduce_s for b in budgets]),
        ("store", "wall", [b.store_s for b in budgets]),
        ("decide (the policy's thinking)", beside, [s.commanded.decide_s for s in done]),
        (
            "react (arrival to next command, less thinking)",
            beside,
            [s.commanded.react_s for s in done],
        ),
        ("instrument waited for a decision", "wall", [b.wait_s for b in budgets]),
    ):
        median, most = np.quantile(values, [0.5, 0.9])
        yield name, seconds(float(median)), seconds(float(most)), clock


def _regret(story: Story, seen: Seen) -> str:
    assert seen.truth is not None
    reached = np.nanmax(seen.truth[[m.candidate for m in story.measurements]])
    most, least = np.nanmax(seen.truth), np.nanmin(seen.truth)
    return f"{(most - reached) / (most - least):.1%}" if most > least else "0 %"
