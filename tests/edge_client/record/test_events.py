"""Events cross JSON unchanged, and what this version does not know is refused by name."""

from __future__ import annotations

import json

import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record.events import Noted, event_from
from beamloop.edge_client.record.journal import Entry


def test_every_kind_comes_back_from_json_as_it_was(entries: list[Entry]) -> None:
    for entry in entries:
        event = entry.event
        assert event_from(event.kind, event.version, json.loads(event.model_dump_json())) == event


@pytest.mark.parametrize(
    ("kind", "version", "data", "told"),
    [
        ("noted", 2, {"text": "x"}, "version 2 .* knows version 1"),
        ("dreamt", 1, {}, "no such kind"),
        ("noted", 1, {"txt": "x"}, "damaged"),
    ],
)
def test_an_unknown_event_is_refused(kind: str, version: int, data: dict[str, str], told: str) -> None:
    with pytest.raises(RecordingUnreadable, match=told):
        event_from(kind, version, data)


def test_an_event_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Noted(text="x").text = "y"  # type: ignore[misc]
