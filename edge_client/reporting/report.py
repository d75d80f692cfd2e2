"""The report of a run: what was asked, where was measured, what was found, how to do it again.

Made from the story and what was seen, never from live objects, so it can be made again
from a run folder at any time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core import InstrumentInfo, Measurement
from ..record.story import Seen, Step, Story
from .curves import belief_figure, best_figure, budget_figure, frame_figure
from .figures import Length, map_layers, maps_figure, overview_figure, way_figure
from .page import badge, facts, heading, listing, page, picture, row, table, text, title

_SOURCES = {"simulator": "SIMULATOR", "recording": "RECORDING", "hardware": "HARDWARE"}
_WARNINGS = {
    "simulator": "These data come from a simulator, not from a specimen.",
    "recording": "These data were played back from a recording; nothing was measured now.",
}
_TONES = {"finished": "good", "stopped": "loud", "failed": "bad"}


def report(story: Story, seen: Seen) -> str:
    """Return the report as one HTML document that needs no other file."""
    sections = (_title, _summary, _places, _found, _learning, _time, _decisions, _faults, _again)
    parts = (part for section in sections for part in section(story, seen))
    return page(f"{story.experiment.name}: beamloop report", parts)


def _title(story: Story, seen: Seen) -> Iterator[str]:
    info, ended = story.described.info, story.ended
    outcome = "interrupted" if ended is None else ended.outcome
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


def _summary(story: Story, seen: Seen) -> Iterator[str]:
    target, best = story.experiment.target, story.best
    shown = [("measured of candidates", f"{len(story.measurements)} of {len(seen.pool)}")]
    if best is not None:
        shown.insert(0, (f"best {target.name}", _with_error(best, target.units)))
        shown.insert(1, ("at y, x", _place(best.position, story.described.info)))
    if best is not None and seen.truth is not None:
        shown.append(("of the true range below the maximum", _regret(story, seen)))
    shown += [
        ("electrons on the specimen", f"{sum(m.electrons for m in story.measurements):.3g}"),
        ("instrument time", _seconds(sum(m.duration_s for m in story.measurements))),
        ("time on the wall", _seconds(story.duration_s)),
    ]
    yield facts(shown)
    yield text("Ended: " + ("the run was cut off" if story.ended is None else story.ended.reason) + ".")


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
        where = _place(story.best.position, story.described.info)
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
        yield row([best, picture(figure, "What was believed before each measurement, and what came.")])


def _time(story: Story, seen: Seen) -> Iterator[str]:
    done = [step for step in story.steps if step.arrived is not None]
    if not done:
        return
    yield heading("Where the time of a step went")
    yield picture(
        budget_figure(story.steps),
        "Deciding runs while the instrument measures: it costs time only where the instrument waits.",
        small=True,
    )
    yield table(("part", "median", "90 % are below", "clock"), _budget_rows(done), numbers=(1, 2))


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
        yield name, _seconds(float(median)), _seconds(float(most)), clock


def _decisions(story: Story, seen: Seen) -> Iterator[str]:
    if not story.steps:
        return
    info, target = story.described.info, story.experiment.target
    yield heading("Every decision")
    head = ("step", "y, x", "why", "believed", f"measured ({target.units})" if target.units else "measured", "outcome")
    yield table(head, (_decision(step, info) for step in story.steps), numbers=(0,))


def _decision(step: Step, info: InstrumentInfo) -> tuple[str, ...]:
    suggestion = step.commanded.suggestion
    believed = "" if suggestion.mean is None else f"{suggestion.mean:.4g} ± {suggestion.std or 0.0:.2g}"
    measured = "" if step.arrived is None else _with_error(step.arrived.measurement, "")
    place = _place(suggestion.position, info)
    return str(step.commanded.step + 1), place, suggestion.why, believed, measured, step.outcome


def _faults(story: Story, seen: Seen) -> Iterator[str]:
    yield heading("Refusals, faults and interventions")
    start_s = story.steps[0].time_s if story.steps else 0.0
    rows = [
        (f"step {step.commanded.step + 1}", step.outcome, f"{step.declined.error}: {step.declined.message}")
        for step in story.steps
        if step.declined is not None
    ]
    rows += [(f"{time_s - start_s:+.1f} s", event.word, event.reason) for time_s, event in story.interventions]
    rows += [(f"{time_s - start_s:+.1f} s", "note", event.text) for time_s, event in story.notes]
    yield (
        table(("when", "what", "why"), rows)
        if rows
        else text("None: nothing was refused, nothing failed, nobody intervened.")
    )


def _again(story: Story, seen: Seen) -> Iterator[str]:
    opened, described = story.opened, story.described
    yield heading("How to do it again")
    yield listing(f"beamloop run experiment.toml --instrument {opened.instrument} --seed {opened.seed}")
    yield text(
        f"experiment.toml is in this run folder and below. Seed {opened.seed}, policy {story.installed.policy.name}, "
        f"journal durability {opened.durability}, control protocol {described.protocol}."
    )
    yield table(
        ("program", "version"), [*opened.versions.items(), ("beamloop at the instrument", described.version_there)]
    )
    yield listing(opened.experiment)


def _place(position: tuple[float, float], info: InstrumentInfo) -> str:
    length = Length.fitting(max(info.field.height_m, info.field.width_m))
    y, x = (coordinate * length.per_metre for coordinate in position)
    return f"{y:.4g}, {x:.4g} {length.unit}"


def _with_error(measurement: Measurement, units: str) -> str:
    error = "" if measurement.std is None else f" ± {measurement.std:.2g}"
    return f"{measurement.value:.4g}{error} {units}".strip()


def _regret(story: Story, seen: Seen) -> str:
    assert seen.truth is not None
    reached = np.nanmax(seen.truth[[m.candidate for m in story.measurements]])
    most, least = np.nanmax(seen.truth), np.nanmin(seen.truth)
    return f"{(most - reached) / (most - least):.1%}" if most > least else "0 %"


def _seconds(value: float) -> str:
    if value == 0.0:
        return "0 s"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value / 60:.3g} min"
