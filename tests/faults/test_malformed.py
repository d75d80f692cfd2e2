"""A million malformed messages to both channels: nothing falls, memory stays flat, and who speaks right is served.

With BEAMLOOP_FAULTS=all: 400,000 to the decoder, 150,000 each to a sender and a receiver, 150,000 to what guard and
servers unpack, 100,000 to a guard's process and 50,000 to the control port. Each is made from a seed.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from beamloop.core import WireInvalid
from beamloop.edge_client.connection.guard_line import say
from beamloop.instrument_server.guard.guard import Guard
from beamloop.instrument_server.processes.post import pack, unpack
from beamloop.simulators.blanker import SharedLine
from beamloop.streaming import Receiver, Sender, collect, wire

from ..instrument_server.test_door import asked, greeting, invocation, shown
from ..instrument_server.test_processes import Served, served
from ..streaming.test_wire import MESSAGES
from ..streaming.traffic import WAIT_S, batches_of, frames_of, scan_of, send_scan, until, whole
from .amount import amount
from .malformed import malformed, resident_mib

GROWTH_MIB = 24.0
"""More than an allocator's noise, far less than what the messages weigh together if they are kept."""

GOLDEN = [[bytes(part) for part in wire.encode(message)] for message in MESSAGES.values()]
WORDS = [
    [pack({"word": "state"})], [pack({"word": "state", "follow": True})],
    [pack({"token": "wrong", "who": "driver", "act": "begin", "number": 1})],
]  # fmt: skip


def refusals(count: int, seed: int) -> int:
    refused = 0
    for parts in malformed(random.Random(seed), GOLDEN, count):
        try:
            wire.decode(parts)
        except WireInvalid:
            refused += 1
    return refused


def test_the_decoder_refuses_and_never_falls() -> None:
    count = amount(20_000, 400_000)
    refusals(2000, 1)
    before = resident_mib()
    assert refusals(count, 0) > 0.6 * count
    assert resident_mib() - before < GROWTH_MIB


def test_a_sender_serves_others_among_malformed_messages_and_keeps_nothing_of_them() -> None:
    count, rounds = amount(5000, 150_000), 10
    with zmq.Context() as context, Sender() as sender, Receiver(sender.endpoint, "honest") as receiver:
        # Not `edge`: without keys whoever says hello under a name has it, and some of these do.
        with context.socket(zmq.DEALER) as liar:
            liar.linger = 0
            liar.connect(sender.endpoint)
            before = 0.0
            for n in range(rounds):
                for parts in malformed(random.Random(n), GOLDEN, count // rounds):
                    liar.send_multipart(parts)
                scan = scan_of(f"scan {n}", receiver="honest")
                send_scan(sender, scan)
                incoming = receiver.scan(scan.scan_id, WAIT_S)
                np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))
                incoming.stored()
                before = before or resident_mib()
            until(lambda: sender.statistics().invalid > count // 3)
        assert len(sender.statistics().receivers) <= 256
        assert resident_mib() - before < GROWTH_MIB


def test_a_receiver_takes_right_frames_among_malformed_messages_and_keeps_nothing_else() -> None:
    count, scan = amount(5000, 150_000), scan_of(n=40)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as instrument:
        instrument.linger = 0
        instrument.setsockopt(zmq.PROBE_ROUTER, 1)
        port = instrument.bind_to_random_port("tcp://127.0.0.1")
        with Receiver(f"tcp://127.0.0.1:{port}", "edge") as receiver:
            line = _Instrument(instrument)
            before = resident_mib()
            # What would end the conversation for good is another test's: a refusal, and a numbering that changes.
            harmless = [parts for kind, parts in zip(MESSAGES, GOLDEN, strict=True) if kind not in ("refused", "knock")]
            batches = list(batches_of(scan))
            line.tell(wire.Begin(1, scan, 5, line.link))
            for number, batch in enumerate(batches):
                for parts in malformed(random.Random(number), harmless, count // len(batches)):
                    line.throw(parts)
                line.tell(wire.Batch(number + 2, batch, 5, line.link))
            line.tell(wire.End(len(batches) + 2, whole(scan), 5, line.link))
            np.testing.assert_array_equal(line.while_answering(receiver, "a"), frames_of(scan))
            assert receiver.statistics().invalid > count // 3
            assert resident_mib() - before < GROWTH_MIB


class _Instrument:
    """A sender's end of the line that may say anything; what it numbered is said again when it is asked for."""

    def __init__(self, router: zmq.Socket[bytes]) -> None:
        self._router, self._said = router, []
        assert router.poll(int(WAIT_S * 1000))
        self._route, *parts = router.recv_multipart()
        hello = wire.decode(parts)
        assert isinstance(hello, wire.Hello)
        self.link = hello.link
        self._send(wire.encode(wire.Welcome(5, self.link, 1, 0)))

    def _send(self, parts: list[wire.Buffer] | list[bytes]) -> None:
        self._router.send_multipart([self._route, *parts])

    def throw(self, parts: list[bytes]) -> None:
        self._send(parts)

    def tell(self, message: wire.Numbered) -> None:
        self._said.append(message)
        self._send(wire.encode(message))

    def while_answering(self, receiver: Receiver, scan_id: str) -> np.ndarray:
        got: list[np.ndarray] = []
        reading = threading.Thread(target=lambda: got.append(collect(receiver.scan(scan_id, WAIT_S), WAIT_S).data))
        reading.start()
        while reading.is_alive():
            if not self._router.poll(20):
                continue
            _, *parts = self._router.recv_multipart()
            said = wire.decode(parts)
            if isinstance(said, wire.Hello):
                first = said.received + 1 if said.session == 5 else 1
                self._send(wire.encode(wire.Welcome(5, said.link, first, first - 1)))
                for message in self._said[first - 1 :]:
                    again = {"session": 5, "link": said.link}
                    self._send(wire.encode(type(message)(message.seq, _content(message), **again)))
        reading.join()
        return got[0]


def _content(message: wire.Numbered):
    match message:
        case wire.Begin():
            return message.scan
        case wire.Batch():
            return message.batch
        case wire.Lost():
            return message.loss
        case wire.End():
            return message.end


def test_what_guard_and_servers_unpack_refuses_and_never_falls(tmp_path: Path) -> None:
    guard = Guard(SharedLine(tmp_path), "token", 1.0, 0.0)
    count, refused = amount(10_000, 150_000), 0
    before = resident_mib()
    for parts in malformed(random.Random(0), WORDS, count):
        for how in (guard.hear, guard.private):
            try:
                how(unpack(parts[0]), 0.1)
            except WireInvalid:
                refused += 1
    assert refused > count
    assert resident_mib() - before < GROWTH_MIB


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def test_a_guard_answers_among_malformed_messages_and_keeps_nothing_of_them(bench: Served) -> None:
    count, rounds, pid = amount(2000, 100_000), 10, bench.pid_of("guard")
    before = 0.0
    with zmq.Context() as context:
        for n in range(rounds):
            with context.socket(zmq.DEALER) as liar:
                liar.linger = 1000
                liar.connect(bench.address.guard)
                for parts in malformed(random.Random(n), WORDS, count // rounds):
                    # A guard hears so many at once of each connection; what it cannot take waits here.
                    liar.send_multipart([b"", *parts])
                    while liar.poll(0):
                        liar.recv_multipart()
                assert say(bench.address, "state", WAIT_S).beam == "confirmed"
            before = before or resident_mib(pid)
    assert resident_mib(pid) - before < GROWTH_MIB


def test_the_control_port_answers_among_malformed_messages_and_keeps_nothing_of_them() -> None:
    count, rounds = amount(500, 50_000), 10
    request = {"id": "1", "client": "a", "verb": "state", "arguments": {}}
    golden = [[greeting()], [invocation(request=request)], [greeting() + invocation(request=request)]]
    with shown() as address:
        before = 0.0
        for n in range(rounds):
            for parts in malformed(random.Random(n), golden, count // rounds):
                with socket.create_connection((address.host, address.port), WAIT_S) as peer, suppress(OSError):
                    peer.sendall(b"".join(parts))
            assert asked(address, n=n)["n"] == n
            before = before or resident_mib()
        assert resident_mib() - before < GROWTH_MIB
