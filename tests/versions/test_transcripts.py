"""Versions beside each other: the present client with an older server, an older client with the present server.

The transcripts were made by `record.py` with the versions they are named for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from beamloop.core import (
    GuardReport,
    LeaseHeld,
    LimitRefused,
    PlanInvalid,
    ProtocolMismatch,
    Request,
    Scan,
    UnknownName,
    error_named,
    plan_from,
)
from beamloop.core.hearing import heard
from beamloop.edge_client.connection.address import address_from
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.instrument import RemoteInstrument, connect

VERSIONS = ("1_0", "1_1")


def transcript(version: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / f"control_{version}.json").read_text())


def extended(reply: Any) -> Any:
    """Return a reply as a newer server might give it: every record in it tells something more."""
    if isinstance(reply, dict):
        return {**{key: extended(value) for key, value in reply.items()}, "of_the_future": 1.0}
    return [extended(value) for value in reply] if isinstance(reply, list) else reply


class OldServer:
    """Answers as a transcript says: to the same verb and plan the same reply; a verb that it lacks, as it did then."""

    def __init__(self, kept: dict[str, Any], newer: bool = False) -> None:
        self._kept, self._newer, self.asked = kept, newer, list[dict[str, Any]]()

    def answer(self, request: Request) -> Any:
        said = request.model_dump(mode="json")
        self.asked.append(said)
        replies = [
            entry["reply"] for entry in self._kept["control"]
            if entry["request"]["verb"] == said["verb"] and _plan(entry["request"]) == _plan(said)
        ]  # fmt: skip
        reply = replies[-1] if replies else self._kept["unknown"]
        return extended(reply) if self._newer else reply


@contextmanager
def connected(server: OldServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteInstrument]:
    monkeypatch.setattr(ControlLine, "_sent", lambda line, request: server.answer(request))
    with connect("localhost:7440", name="ada") as instrument:
        yield instrument


@pytest.mark.parametrize(("version", "newer"), [("1_0", False), ("1_1", False), ("1_0", True), ("1_1", True)])
def test_this_client_works_with_an_older_server_and_passes_over_what_a_newer_one_adds(
    version: str, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = OldServer(transcript(version), newer)
    with connected(server, monkeypatch) as instrument:
        assert instrument.info.source == "simulator"
        assert instrument.state().beam == "blanked"
        assert instrument.take_lease("transcript").holder == "ada"
        assert instrument.move(defocus_m=1e-8) >= 0
        with pytest.raises(LimitRefused):
            instrument.move(defocus_m=1.0)
        with pytest.raises(UnknownName):
            instrument.move(defokus_m=0.0)
        point = plan_from(next(_plans(version, "points"))).model_dump()
        header = instrument._control.ask("acquire", {"plan": point, "measurement_id": "m1"})["scan"]
        assert heard(Scan, header).detector == "haadf"
        instrument.arm()
    # What an older server would not take is not sent to it.
    fields = set(transcript(version)["control"][0]["request"])
    assert all(set(said) == fields and said["protocol"] == 1 for said in server.asked)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_report_of_an_older_guard_is_understood(version: str) -> None:
    for said in transcript(version)["guard"]:
        report = heard(GuardReport, extended(said["report"]))
        assert (report.word, report.beam) == (said["word"], "confirmed")


def test_what_an_older_server_does_not_know_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(OldServer(transcript("1_0")), monkeypatch) as instrument:
        with pytest.raises(ProtocolMismatch, match="is older and knows no 'limits'; install a newer beamloop there"):
            instrument.safety.limits()
        assert instrument.clock_offset() is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"protocol": 2}, "speaks control protocol 2, this side 1"), ({"plans": 0}, "plans up to version 0")],
)
def test_a_version_that_does_not_fit_is_refused_on_connecting(
    changed: dict[str, int], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = transcript("1_1")
    kept["control"][0]["reply"]["value"] |= changed
    with pytest.raises(ProtocolMismatch, match=told), connected(OldServer(kept), monkeypatch):
        pytest.fail("it was let in")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_clients_requests_are_answered_by_this_server_as_they_were_then(version: str) -> None:
    with embedded("simulator") as where:
        line = ControlLine(address_from(where), "ada")
        for entry in transcript(version)["control"]:
            with line._proxy() as proxy:
                reply = proxy.call(entry["request"])
            then = entry["reply"]
            assert (reply["status"], reply["error"]) == (then["status"], then["error"]), entry["request"]
            assert_tells(reply, then)
        line.close()


def assert_tells(reply: Any, then: Any) -> None:
    """Fail unless a reply has every field that it had then, of the same kind."""
    if isinstance(then, dict):
        for key, value in then.items():
            assert key in reply, f"{key} is not told any more"
            assert_tells(reply[key], value)
    elif isinstance(then, list) and then:
        assert len(reply) >= len(then)
        assert_tells(reply[0], then[0])
    elif then not in (None, [], "") and reply is not None:
        assert isinstance(reply, int | float if isinstance(then, int | float) else type(then))


def test_the_transcripts_hold_what_they_are_for() -> None:
    for version in VERSIONS:
        kept = transcript(version)["control"]
        errors = {error_named(entry["reply"]["error"]) for entry in kept if entry["reply"]["error"]}
        assert errors >= {LeaseHeld, LimitRefused, UnknownName, PlanInvalid}
        verbs = {entry["request"]["verb"] for entry in kept}
        assert verbs >= {"describe", "state", "lease", "renew", "set", "acquire", "arm", "release"}
        assert "minor" in kept[0]["reply"]["value"] or version == "1_0"


def _plan(request: dict[str, Any]) -> Any:
    plan = request["arguments"].get("plan")
    return plan if plan is None else json.dumps(plan, sort_keys=True)


def _plans(version: str, kind: str) -> Iterator[dict[str, Any]]:
    plans = (entry["request"]["arguments"].get("plan") for entry in transcript(version)["control"])
    return (plan for plan in plans if plan and plan["kind"] == kind)
