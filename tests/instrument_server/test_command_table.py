"""Every command once, over lost replies and restarts, and nobody gets the answer of another's request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from beamloop.core import PlanInvalid, Reply, Request, StorageFailed
from beamloop.core.control import MOST_WORDS
from beamloop.instrument_server.answers import Answers
from beamloop.instrument_server.command_table import CommandTable

SCAN = {"kind": "points", "detector": "haadf", "points": [[0.0, 0.0]], "dwell_s": 1e-3}


def asked(name: str, client: str = "ada", verb: Any = "acquire", **arguments: Any) -> Request:
    return Request(request_id=name, client=client, verb=verb, arguments=arguments or {"plan": SCAN})


def begun(scan_id: str) -> Reply:
    return Reply(status="done", value={"scan": {"scan_id": scan_id}})


def never() -> Reply:
    raise AssertionError("it was done a second time")


@contextmanager
def table(folder: Path, session: str = "s1") -> Iterator[CommandTable]:
    answers = Answers(folder / "answers.sqlite", "process")
    try:
        yield CommandTable(answers, session)
    finally:
        answers.close()


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize(
    "other", [asked("r", "bob"), asked("r", verb="set"), asked("r", plan={"kind": "grid"}), asked("r", verb="arm", x=1)]
)
def test_an_id_that_is_used_again_for_something_else_is_refused(tmp_path: Path, lasting: bool, other: Request) -> None:
    with table(tmp_path) as commands:
        first = commands.once(asked("r"), lambda: Reply(status="done", value={"mine": True}), lasting)
        for again in (True, False):
            reply = commands.once(other, never, again)
            assert (reply.status, reply.error, reply.value) == ("refused", "RequestReused", {})
            assert "'acquire points haadf' of ada" in reply.message
        assert commands.once(asked("r"), never, lasting) == first


def test_it_is_refused_after_a_restart_as_well(tmp_path: Path) -> None:
    with table(tmp_path) as commands:
        commands.once(asked("r"), lambda: Reply(status="done"), lasting=True)
    with table(tmp_path, "s2") as commands:
        assert commands.once(asked("r", "bob"), never, lasting=True).error == "RequestReused"
        assert commands.once(asked("r"), never, lasting=True) == Reply(status="done")


def test_it_is_refused_while_the_first_is_still_under_way(tmp_path: Path) -> None:
    with table(tmp_path) as commands:
        told = []

        def meanwhile() -> Reply:
            told.append(commands.once(asked("r", "bob"), never, lasting=False))
            return Reply(status="done")

        assert commands.once(asked("r"), meanwhile, lasting=True).status == "done"
        assert [reply.error for reply in told] == ["RequestReused"]


def test_a_scan_that_ended_interrupted_nothing(tmp_path: Path) -> None:
    with table(tmp_path) as commands:
        commands.once(asked("r1"), lambda: begun("s1-1"), lasting=True)
        commands.scan_ended("s1-1", complete=True)

        def ends_before_it_is_answered() -> Reply:
            commands.scan_ended("s1-2", complete=True)
            return begun("s1-2")

        commands.once(asked("r2"), ends_before_it_is_answered, lasting=True)
        commands.once(asked("r3", verb="arm"), lambda: Reply(status="done"), lasting=True)
    with table(tmp_path, "s2") as commands:
        assert commands.interrupted() == ()


def test_a_restarted_server_says_what_was_interrupted_until_it_was_told(tmp_path: Path) -> None:
    with table(tmp_path) as commands:
        commands.once(asked("goes on", "ada"), lambda: begun("s1-1"), lasting=True)

        def dies() -> Reply:
            raise SystemExit

        with pytest.raises(SystemExit):
            commands.once(asked("died on it", "bob", "set", plan={"kind": "set", "values": {"x": 1}}), dies, True)
    for session in ("s2", "s3"):
        with table(tmp_path, session) as commands:
            told = [(one.request_id, one.client, one.what) for one in commands.interrupted()]
            assert told == [("goes on", "ada", "acquire points haadf"), ("died on it", "bob", "set x")]
            assert all(one.began.endswith("+00:00") for one in commands.interrupted())
    with table(tmp_path, "s4") as commands:
        assert commands.once(asked("goes on", "bob"), never, True).error == "RequestReused"
        assert len(commands.interrupted()) == 2, "that was not asked by whom it concerns"
        assert commands.once(asked("goes on", "ada"), never, True).error == "Interrupted"
        assert [one.request_id for one in commands.interrupted()] == ["died on it"]
        commands.once(asked("next"), lambda: begun("s4-1"), lasting=True)
        commands.scan_ended("s4-1", complete=False)
        assert [one.request_id for one in commands.interrupted()] == ["died on it"]
        commands.once(asked("the one after"), lambda: begun("s4-2"), lasting=True)
        commands.scan_ended("s4-2", complete=True)
        assert commands.interrupted() == (), "a whole scan since then supersedes it"
    with table(tmp_path, "s5") as commands:
        assert commands.interrupted() == ()
        assert commands.once(asked("goes on", "ada"), never, True).error == "Interrupted"


def test_a_disk_that_is_full_hears_of_an_end_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(tmp_path / "answers.sqlite", "process")
    commands = CommandTable(answers, "s1")
    commands.once(asked("r1"), lambda: begun("s1-1"), lasting=True)

    def full() -> Any:
        raise StorageFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(answers, "_usable", full)
        commands.scan_ended("s1-1", complete=True)
    commands.once(asked("r2", verb="arm"), lambda: Reply(status="done"), lasting=True)
    answers.close()
    with table(tmp_path, "s2") as commands:
        assert commands.interrupted() == ()


def test_words_about_the_lease_end_with_the_server(tmp_path: Path) -> None:
    with table(tmp_path) as commands:
        first = commands.once(asked("r", verb="lease"), lambda: Reply(status="done", value={"n": 1}), lasting=False)
        assert commands.once(asked("r", verb="lease"), never, lasting=False) == first
    with table(tmp_path, "s2") as commands:
        assert commands.once(asked("r", verb="lease"), lambda: Reply(status="done"), lasting=False).value == {}
        assert commands.interrupted() == ()


@pytest.mark.parametrize("arguments", [{"plan": {1: 2, "a": 3}}, {"plan": {b"a": 3}}, {"plan": object()}, {"x": b"1"}])
def test_arguments_that_are_no_plain_values_are_refused_before_anything_is_done(tmp_path: Path, arguments: Any) -> None:
    with table(tmp_path) as commands, pytest.raises(PlanInvalid, match="no plain values"):
        commands.once(asked("r", **arguments), never, lasting=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": ""}, {"request_id": "x" * (2 * MOST_WORDS + 1)}, {"request_id": "a\x1b[2J"}, {"client": ""},
        {"client": "x" * (MOST_WORDS + 1)}, {"client": "a\nb"},
    ],
)  # fmt: skip
def test_names_are_bounded_and_carry_no_control_characters(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Request.model_validate({"request_id": "r", "client": "ada", "verb": "state", **wrong})
