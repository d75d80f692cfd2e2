"""The minutes: what cannot be written down is not done, and what was done is told although it was not."""

from __future__ import annotations

from typing import Any

from beamloop.core import Reply, Request, StorageFailed
from beamloop.instrument_server.minutes import Minutes

ASKED = Request(request_id="r1", client="ada", verb="set", arguments={"plan": None})
DONE = Reply(status="done", value={"duration_s": 0.1})


class FullFrom:
    """An audit whose disk is full from the n-th line on."""

    def __init__(self, line: int) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._full = line

    def note(self, event: str, /, **facts: Any) -> None:
        if len(self.lines) >= self._full:
            raise StorageFailed("audit.jsonl could not be written: the disk is full")
        self.lines.append((event, facts))


def test_a_command_stands_between_two_lines() -> None:
    audit, rests = FullFrom(99), []
    minutes = Minutes(audit, lambda: rests.append(1))  # type: ignore[arg-type]
    reply = Reply(status="done", value={"scan": {"scan_id": "a1-000001"}})
    assert minutes.kept(ASKED, lambda: reply) == reply
    who = {"client": "ada", "verb": "set", "request": "r1"}
    assert audit.lines == [
        ("asked", {**who, "arguments": {"plan": None}}),
        ("done", {**who, "error": "", "message": "", "scan": "a1-000001"}),
    ]
    assert rests == []


def test_without_the_first_line_nothing_is_done_and_the_beam_rests() -> None:
    done, rests = [], []
    minutes = Minutes(FullFrom(0), lambda: rests.append(1))  # type: ignore[arg-type]
    reply = minutes.kept(ASKED, lambda: done.append(1) or DONE)
    assert (reply.status, reply.error) == ("refused", "StorageFailed")
    assert (done, rests) == ([], [1])


def test_without_the_second_line_the_caller_learns_what_was_done_and_the_beam_rests() -> None:
    rests: list[int] = []
    minutes = Minutes(FullFrom(1), lambda: rests.append(1))  # type: ignore[arg-type]
    reply = minutes.kept(ASKED, lambda: DONE)
    assert (reply.status, reply.error) == ("failed", "StorageFailed")
    assert "What was asked is done, and that could not be written down" in reply.message
    assert rests == [1]


def test_what_happens_by_itself_never_raises() -> None:
    rests: list[int] = []
    minutes = Minutes(FullFrom(0), lambda: rests.append(1))  # type: ignore[arg-type]
    minutes.mark("scan ended", scan_id="a1-000001")
    refused = Reply(status="refused", error="RoleLacking", message="no")
    assert minutes.refused(ASKED, refused) == refused
    assert rests == [1, 1]
