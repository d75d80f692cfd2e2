"""Facts: whatever is sent becomes JSON of bounded length."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamloop.instrument_server.audit.facts import MOST_CHARACTERS, plain


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        (float("inf"), "inf"),
        (b"\x00\x01", "<2 bytes>"),
        (2**100, "<integer of 101 bits>"),
        ({1: (2.5, None, True)}, {"1": [2.5, None, True]}),
        (object(), "<object>"),
    ],
)
def test_what_json_cannot_say_is_described(fact: object, said: object) -> None:
    assert plain(fact) == said


def test_a_long_fact_is_told_by_its_beginning_length_and_digest() -> None:
    points = [[number * 1e-9, 0.5] for number in range(10_000)]
    said, text = plain({"points": points}), json.dumps({"points": points})
    assert said["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert text.startswith(said["begins"])
    assert said["characters"] == len(text)


def test_a_mapping_a_thousand_deep_is_cut() -> None:
    assert "too deep" in json.dumps(plain(deep(900)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(anything)
def test_every_fact_is_plain_json_and_bounded(fact: Any) -> None:
    assert len(json.dumps(plain(fact), allow_nan=False)) <= MOST_CHARACTERS
