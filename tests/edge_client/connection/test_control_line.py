"""The control line, against a server in this process that loses replies and refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import Pyro5.api
import Pyro5.server
import pytest

from beamloop.core import BeamloopError, InstrumentUnreachable, LimitRefused, ProtocolMismatch
from beamloop.core.control import FACE, PROTOCOL
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine


@Pyro5.api.expose
@dataclass
class Face:
    """Answers each request id once; a script may spoil single answers."""

    script: Callable[[int], None] = lambda number: None
    heard: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    reply: dict[str, Any] = field(default_factory=lambda: {"status": "done", "value": {"ok": True}})

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(request)
        answer = self.done.setdefault(request["request_id"], self.reply)
        self.script(len(self.heard))
        return answer


@pytest.fixture
def face() -> Face:
    return Face()


@pytest.fixture
def port(face: Face) -> Iterator[int]:
    daemon = Pyro5.server.Daemon(host="127.0.0.1")
    daemon.register(face, FACE)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    yield int(daemon.locationStr.rpartition(":")[2])
    daemon.shutdown()
    thread.join()
    daemon.close()


@pytest.fixture
def line(port: int) -> Iterator[ControlLine]:
    line = ControlLine(Address("127.0.0.1", port), "tester", timeout_s=0.4)
    yield line
    line.close()


def test_a_request_carries_id_client_verb_and_version(line: ControlLine, face: Face) -> None:
    assert line.ask("set", {"plan": {"kind": "set"}}, request_id="r1") == {"ok": True}
    assert face.heard == [
        {
            "request_id": "r1", "client": "tester", "verb": "set", "arguments": {"plan": {"kind": "set"}},
            "protocol": PROTOCOL,
        }
    ]  # fmt: skip


def test_every_request_without_a_name_gets_its_own(line: ControlLine, face: Face) -> None:
    for _ in range(3):
        line.ask("state")
    assert len({request["request_id"] for request in face.heard}) == 3


def test_a_later_process_of_the_same_name_names_its_requests_otherwise(port: int, face: Face) -> None:
    for _ in range(2):
        line = ControlLine(Address("127.0.0.1", port), "tester", timeout_s=0.4)
        line.ask("state")
        line.close()
    assert len({request["request_id"] for request in face.heard}) == 2


def test_a_lost_reply_is_asked_for_again_under_the_same_id(line: ControlLine, face: Face) -> None:
    face.script = lambda number: time.sleep(1.0) if number == 1 else None
    assert line.ask("state") == {"ok": True}
    assert len(face.heard) == 2
    assert len(face.done) == 1, "both requests are one"
    assert line.ask("state") == {"ok": True}, "the line works on"


def test_two_lost_replies_are_an_unreachable_instrument(line: ControlLine, face: Face) -> None:
    face.script = lambda number: time.sleep(0.8)
    with pytest.raises(InstrumentUnreachable, match=r"no answer from 127\.0\.0\.1:\d+ to 'state'"):
        line.ask("state")
    assert len(face.heard) == 2


@pytest.mark.parametrize(
    ("name", "kind"), [("LimitRefused", LimitRefused), ("SomethingNew", BeamloopError), ("ValueError", BeamloopError)]
)
def test_the_class_that_the_instrument_raised_is_raised_here(
    line: ControlLine, face: Face, name: str, kind: type[BeamloopError]
) -> None:
    face.reply = {"status": "refused", "error": name, "message": "limit is 1"}
    with pytest.raises(kind, match="limit is 1") as caught:
        line.ask("set")
    assert type(caught.value) is kind


def test_a_reply_of_another_protocol_is_refused(line: ControlLine, face: Face) -> None:
    face.reply = {"status": "postponed"}
    with pytest.raises(ProtocolMismatch, match="install the same beamloop"):
        line.ask("state")


def test_another_program_at_this_port_is_refused() -> None:
    stranger = Pyro5.server.Daemon(host="127.0.0.1")
    thread = threading.Thread(target=stranger.requestLoop)
    thread.start()
    other = ControlLine(Address("127.0.0.1", int(stranger.locationStr.rpartition(":")[2])), "tester", timeout_s=0.4)
    try:
        with pytest.raises((ProtocolMismatch, InstrumentUnreachable), match="unknown object"):
            other.ask("state")
    finally:
        other.close()
        stranger.shutdown()
        thread.join()
        stranger.close()


def test_nobody_there_is_said_within_the_time_out() -> None:
    line = ControlLine(Address("127.0.0.1", 1), "tester", timeout_s=0.4)
    with pytest.raises(InstrumentUnreachable, match="beamloop serve"):
        line.ask("state")
    line.close()


def test_a_slow_call_does_not_hold_up_another_thread(line: ControlLine, face: Face) -> None:
    first_is_in, go_on = threading.Event(), threading.Event()

    def script(number: int) -> None:
        if number == 1:
            first_is_in.set()
            go_on.wait(5)

    face.script = script
    slow = threading.Thread(target=lambda: line.ask("set"))
    slow.start()
    assert first_is_in.wait(5)
    assert line.ask("state") == {"ok": True}
    go_on.set()
    slow.join()


def test_a_closed_line_says_so(line: ControlLine) -> None:
    line.close()
    with pytest.raises(InstrumentUnreachable, match="closed by this side"):
        line.ask("state")
