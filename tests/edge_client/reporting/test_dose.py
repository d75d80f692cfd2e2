"""The report's section about dose: told where there is something to tell, and drawn where it fell."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from beamloop.core import InstrumentInfo, Signal
from beamloop.edge_client.record.events import Closed
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.story import Seen, Story, story_of
from beamloop.edge_client.reporting.dose import FAINT, dose, dose_figure


@pytest.fixture
def story(entries: list[Entry]) -> Story:
    closings = [
        Entry(90, 1.7e9 + 20.0, Closed(candidates=(1, 2), reason="no dose left for a measurement of <1> s")),
        Entry(91, 1.7e9 + 21.0, Closed(candidates=(7,), reason="no dose left for a measurement of <1> s")),
    ]
    return story_of([*entries, *closings])


@pytest.fixture
def dosed(info: InstrumentInfo) -> Signal:
    """Return a map of 10 x 12 pixels of which one has had much and one hardly anything."""
    data = np.zeros((10, 12))
    data[2, 3], data[6, 7] = 1234.0, 1234.0 * FAINT / 2
    return Signal(data, info.field.grid((10, 12)), "dose", "1/nm^2")


def test_a_run_without_dose_or_closing_has_no_section(entries: list[Entry], seen: Seen) -> None:
    assert list(dose(story_of(entries), seen)) == []


def test_what_was_passed_over_is_counted_with_its_reason_said_once(story: Story, seen: Seen) -> None:
    html = "".join(dose(story, seen))
    words = re.sub("<[^>]+>", " ", html)
    assert "3 of the 480 candidates were passed over" in words
    assert html.count("no dose left for a measurement of &lt;1&gt; s") == 1
    assert "<img" not in html


def test_the_picture_says_the_largest_dose_in_the_fields_unit(story: Story, seen: Seen, dosed: Signal) -> None:
    html = "".join(dose(story, replace(seen, dose=dosed)))
    assert "at most 1234 e/nm²" in html
    assert html.count("<img") == 1


@pytest.mark.parametrize("has_overview", [True, False])
def test_the_map_lies_where_the_dose_fell_and_lets_the_picture_through_elsewhere(
    story: Story, seen: Seen, dosed: Signal, has_overview: bool
) -> None:
    field = story.described.info.field
    axes = dose_figure(dosed, field, seen.overview if has_overview else None).axes[0]
    *below, drawn = axes.images
    assert len(below) == has_overview
    alpha = np.asarray(drawn.get_alpha())
    assert np.argwhere(alpha > 0).tolist() == [[2, 3]]
    left, right, bottom, top = drawn.get_extent()
    # Of 12 and 10 pixels over a field of 240 nm x 200 nm, y downwards.
    assert (left, right, bottom, top) == pytest.approx((0.0, 240.0, 200.0, 0.0))
    assert drawn.get_clim() == (0.0, 1234.0)


def test_a_map_without_any_dose_is_drawn_all_the_same(story: Story, seen: Seen, dosed: Signal) -> None:
    empty = Signal(np.zeros_like(dosed.data), dosed.axes, dosed.quantity, dosed.units)
    drawn = dose_figure(empty, story.described.info.field, seen.overview).axes[0].images[-1]
    assert not np.any(np.asarray(drawn.get_alpha()))
