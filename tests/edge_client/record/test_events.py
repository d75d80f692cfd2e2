"""Events cross JSON unchanged, and what this version does not know is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record import events
from beamloop.edge_client.record.events import Data, Noted, Recorded, as_it_was, event_from, event_of_json
from beamloop.edge_client.record.journal import Entry


def test_every_kind_comes_back_from_json_as_it_was(entries: list[Entry]) -> None:
    for entry in entries:
        event, text = entry.event, entry.event.model_dump_json(exclude={"kind"})
        assert event_of_json(event.kind, event.version, text) == event
        assert event_from(event.kind, event.version, json.loads(event.model_dump_json())) == event


@pytest.mark.parametrize(
    ("kind", "version", "data", "told"),
    [
        ("noted", 2, {"text": "x"}, "of version 2 .* knows up to version 1; install the one that wrote it"),
        ("dreamt", 1, {}, "'dreamt' .* does not know that kind; install"),
        ("noted", 1, {"txt": "x"}, "damaged"),
    ],
)
def test_an_unknown_event_is_refused(kind: str, version: int, data: dict[str, str], told: str) -> None:
    with pytest.raises(RecordingUnreadable, match=told):
        event_from(kind, version, data)


class Renamed(Recorded):
    """A kind in its third version: `words` was `text`, and `loud` is new."""

    version: ClassVar[int] = 3
    older: ClassVar[Mapping[int, Callable[[Data], Data]]] = {
        1: lambda data: {"words": data["text"]},
        2: as_it_was,
    }
    kind: Literal["renamed"] = "renamed"
    words: str
    loud: bool = False


@pytest.mark.parametrize(
    ("version", "data"), [(1, {"text": "x"}), (2, {"words": "x"}), (3, {"words": "x", "loud": False})]
)
def test_older_versions_of_a_kind_are_read_as_todays(
    version: int, data: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_KINDS", {"renamed": Renamed})
    assert event_from("renamed", version, data) == Renamed(words="x")
    assert event_of_json("renamed", version, json.dumps(data)) == Renamed(words="x")
    with pytest.raises(RecordingUnreadable, match=r"version 0 .* no longer reads"):
        event_from("renamed", 0, data)


def test_an_event_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Noted(text="x").text = "y"  # type: ignore[misc]
