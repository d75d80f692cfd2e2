"""The report: complete, self-contained, and never mistaken for a real specimen."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.record.events import Described, Ended, Interrupted, Intervened, Resumed
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.story import Seen, story_of
from beamloop.edge_client.reporting.answer import answer
from beamloop.edge_client.reporting.asked import commands
from beamloop.edge_client.reporting.chapters import MOST_CHAPTERS, chapters
from beamloop.edge_client.reporting.decisions import notable
from beamloop.edge_client.reporting.figures import Length, map_layers
from beamloop.edge_client.reporting.report import report

VOID = {"img", "meta", "br"}


class Reader(HTMLParser):
    """Collects text and pictures, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(given.get("src") or "")
            assert given.get("alt")
        self.links += [value or "" for name, value in attrs if name in ("href", "action", "srcset")]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def html(entries: list[Entry], seen: Seen) -> str:
    return report(story_of(entries), seen)


def test_the_page_needs_no_other_file(html: str) -> None:
    page = read(html)
    assert not page.links
    assert len(page.pictures) == 7
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in page.pictures)
    assert "url(" not in html
    assert "@import" not in html


def test_it_says_what_was_asked_by_whom_and_how_it_ended(html: str) -> None:
    words = " ".join(read(html).words)
    for part in (
        "SIMULATOR", "not from a specimen", "Where is the edge & its ratio strongest?", "12 of 480",
        "12 of 12 points measured", "LimitRefused: dose <spent>", "largest log expected improvement",
        "beamloop run experiment.toml --instrument simulator --seed 3 -o ..", "# Where is the <edge> strongest?",
        "abandoned",
    ):  # fmt: skip
        assert part in words, part


def test_text_from_outside_cannot_become_markup(html: str) -> None:
    assert "<spent>" not in html
    assert "<edge>" not in html


def test_hardware_is_not_called_a_simulator(entries: list[Entry], seen: Seen) -> None:
    story = story_of(entries)
    described = story.described
    real = Described.model_validate(
        {**described.model_dump(), "info": {**described.info.model_dump(), "source": "hardware", "expects": False}}
    )
    words = " ".join(read(report(replace(story, described=real), replace(seen, truth=None))).words)
    assert "SIMULATOR" not in words
    assert "no comparison with random sampling" in words


def test_a_run_without_measurements_pictures_or_end_still_has_a_report(entries: list[Entry], seen: Seen) -> None:
    bare = replace(seen, overview=None, belief=None, truth=None, best_frame=None)
    words = " ".join(read(report(replace(story_of(entries), steps=(), ended=None), bare)).words)
    assert "Nothing was measured" in words
    assert "cut off" in words
    assert "`beamloop resume canned` continues it" in words


def test_an_intervention_is_told(entries: list[Entry], seen: Seen) -> None:
    stop = Intervened(word="stop", reason="stopped by a person; arm the instrument to go on")
    told = [*entries, Entry(len(entries) + 1, entries[-1].time_s + 1, stop)]
    assert "stopped by a person" in " ".join(read(report(story_of(told), seen)).words)


def test_the_answer_is_the_best_place_with_belief_map_and_truth(entries: list[Entry], seen: Seen) -> None:
    story = story_of(entries)
    best = max(story.measurements, key=lambda m: m.value)
    assert seen.truth is not None
    assert seen.belief is not None
    better = int((seen.truth > max(seen.truth[m.candidate] for m in story.measurements)).sum())
    y, x = (1e9 * coordinate for coordinate in best.position)
    told = answer(story, seen)
    for part in (
        f"The largest edge ratio measured is {best.value:.4g} ± 1.5 counts, at y, x = {y:.4g}, {x:.4g} nm.",
        f"believes {seen.belief.mean[best.candidate]:.4g} ± 3 counts there; it expects the most",
        f"runs from {seen.belief.mean.min():.4g} to {seen.belief.mean.max():.4g} counts, known to ± 3",
        f"{better} of 480 places are better than any that was measured",
    ):
        assert part in told, (part, told)
    assert "True" not in answer(story, replace(seen, truth=None, belief=None))
    assert "no answer" in answer(replace(story, steps=()), seen)


def test_what_happened_is_told_in_chapters_of_one_reason(entries: list[Entry]) -> None:
    story = story_of(entries)
    rows = chapters(story)
    assert [row[1] for row in rows] == ["note", "steps 1-14", "finished"]
    assert "12 values, 1 refused, 1 without outcome, best so far" in rows[1][2]
    shuffled = [
        replace(step, commanded=step.commanded.model_copy(update={"suggestion": step.commanded.suggestion.model_copy(
            update={"why": f"reason {'ab'[i % 2]} {i}"})}))
        for i, step in enumerate(story.steps * 10)
    ]  # fmt: skip
    many = chapters(replace(story, steps=tuple(shuffled)))
    assert len(many) == MOST_CHAPTERS + 1
    assert many[MOST_CHAPTERS // 2][2] == "102 more, in journal.sqlite"


def test_a_run_that_was_cut_off_and_resumed_tells_both(entries: list[Entry], seen: Seen) -> None:
    story = story_of(entries)
    cut = Interrupted(measurement_id="m0004", reason="killed", electrons=2e6, duration_s=0.1, estimated=True)
    resumed = Resumed(instrument="simulator", started="2026-01-01T13:00:00+00:00", versions={"beamloop": "0.9"})
    at_s = story.steps[6].time_s - 0.01
    told = replace(story, interruptions=((at_s, cut),), resumptions=((at_s, resumed),))
    rows = [row[1:] for row in chapters(told)]
    assert [what for what, _ in rows] == ["note", "steps 1-6", "interrupted", "resumed", "steps 7-14", "finished"]
    assert rows[2][1] == "m0004, at most 2e+06 electrons charged: killed"
    assert rows[3][1] == "on simulator, beamloop 0.9"
    words = " ".join(read(report(told, seen)).words)
    # 12 measurements of 1e6 electrons and what the cut one is charged with.
    assert "1.4e+07" in words
    assert "m0004: killed" in words
    stopped = replace(story, ended=Ended(outcome="stopped", reason="Ctrl-C"))
    assert "`beamloop resume canned` goes on with it" in report(stopped, seen)


def test_a_long_run_shows_the_decisions_that_mattered_and_says_where_the_rest_is(
    entries: list[Entry], seen: Seen
) -> None:
    story = story_of(entries)
    done = [step for step in story.steps if step.arrived is not None]
    refused = next(step for step in story.steps if step.declined is not None)
    best = max(done, key=lambda step: step.arrived.measurement.value if step.arrived else 0)
    steps = [done[0]] * 900 + [refused, best] + [done[0]] * 900
    shown = notable(steps, 400)
    assert shown == [*steps[:100], refused, best, *steps[-100:]]
    words = " ".join(read(report(replace(story, steps=tuple(steps)), seen)).words)
    assert "202 of the 1802 steps" in words
    assert "All of them are in run.h5 under /run/decisions" in words
    assert "202 steps; they are also in run.h5" in words


def test_the_commands_that_do_it_again_tell_what_the_command_line_changed(entries: list[Entry]) -> None:
    story = story_of(entries)
    settings = {**story.opened.settings, "stop": {"points": 99}}
    opened = story.opened.model_copy(
        update={"instrument": "replay:/data of mine/a.h5", "seed": 7, "settings": settings}
    )
    again = commands(replace(story, opened=opened, experiment=Experiment.model_validate(settings)))
    assert again[0] == (
        "beamloop run experiment.toml --instrument 'replay:/data of mine/a.h5' --seed 7 --points 99 -o .."
    )
    assert "--points" not in commands(story)[0]


def test_what_could_not_be_read_back_is_told(entries: list[Entry], seen: Seen) -> None:
    words = " ".join(read(report(story_of(entries), replace(seen, notes=("the overview is <lost>",)))).words)
    assert "Of this report: the overview is <lost>." in words


def test_prediction_and_truth_share_their_colours() -> None:
    mean, truth = np.linspace(0, 1, 50), np.linspace(3, 4, 50)
    layers = {layer.title: layer for layer in map_layers("edge", "", mean, np.ones(50), truth)}
    predicted, true = layers["predicted edge"], layers["true edge"]
    assert (predicted.low, predicted.high, predicted.colours) == (true.low, true.high, true.colours)
    assert predicted.low < 0.1
    assert predicted.high > 3.9
    error = layers["error: predicted - true"]
    assert error.low == -error.high == pytest.approx(-3.0)


@pytest.mark.parametrize(("extent_m", "unit"), [(1e-7, "nm"), (2.5e-6, "µm"), (3e-3, "mm"), (2.0, "m")])
def test_lengths_are_told_in_readable_units(extent_m: float, unit: str) -> None:
    assert Length.fitting(extent_m).unit == unit
