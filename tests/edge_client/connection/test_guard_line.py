"""The guard line: a bounded wait, whatever answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgpack
import pytest
import zmq

from beamloop.core import InstrumentUnreachable, ProtocolMismatch, WireInvalid
from beamloop.core.control import GUARD_OFFSET
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.guard_line import reports, say

REPORT = {"word": "stop", "beam": "confirmed", "acquisition": "commanded", "armed": False, "reason": "stopped"}


@contextmanager
def guard(answer: Callable[[dict[str, str]], object]) -> Iterator[Address]:
    """Answer one word from a thread, a list with one message after another; None does not answer at all."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as line:
        line.linger = 0
        port = line.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            if line.poll(2000):
                *envelope, payload = line.recv_multipart()
                said = answer(msgpack.unpackb(payload))
                for report in said if isinstance(said, list) else [] if said is None else [said]:
                    line.send_multipart([*envelope, msgpack.packb(report)])

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address("127.0.0.1", port - GUARD_OFFSET)
        thread.join()


def test_a_word_is_answered_with_a_report() -> None:
    heard: list[dict[str, str]] = []
    with guard(lambda word: heard.append(word) or REPORT) as address:
        report = say(address, "stop")
    assert heard == [{"word": "stop", "follow": True}]
    assert (report.beam, report.acquisition, report.armed) == ("confirmed", "commanded", False)


def test_what_is_read_back_later_comes_as_a_second_report() -> None:
    answers = [{**REPORT, "motion": "commanded", "follows_within_s": 0.5}, {**REPORT, "acquisition": "confirmed"}]
    with guard(lambda word: answers) as address:
        first, last = reports(address, "stop")
    assert (first.acquisition, first.follows_within_s) == ("commanded", 0.5)
    assert (last.acquisition, last.follows_within_s) == ("confirmed", 0.0)


def test_a_second_report_that_never_comes_leaves_the_rest_unknown() -> None:
    with guard(lambda word: {**REPORT, "motion": "commanded", "follows_within_s": 0.05}) as address:
        report = say(address, "stop", timeout_s=0.3)
    assert (report.beam, report.acquisition, report.motion) == ("confirmed", "unknown", "unknown")
    assert "did not say whether the rest came to rest" in report.reason


def test_a_guard_of_an_older_version_knows_nothing_of_motion() -> None:
    with guard(lambda word: REPORT) as address:
        assert say(address, "stop").motion == "unknown"


def test_a_silent_guard_is_said_to_be_unknown() -> None:
    with (
        guard(lambda word: None) as address,
        pytest.raises(InstrumentUnreachable, match="unknown whether it was heard"),
    ):
        say(address, "stop", timeout_s=0.1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": "the guard knows blank, stop"}, WireInvalid),
        ({"beam": "maybe"}, ProtocolMismatch),
        (7, ProtocolMismatch),
    ],
)
def test_an_answer_that_is_no_report_is_refused(answer: object, kind: type[Exception]) -> None:
    with guard(lambda word: answer) as address, pytest.raises(kind):
        say(address, "stop")
