"""Peers that lie, speak another version or flood are ignored and counted; others are served meanwhile."""

from __future__ import annotations

import random
import socket
import threading

import numpy as np
import pytest
import zmq

from beamloop.core import (
    FrameBatch,
    FrameShapeWrong,
    ProtocolMismatch,
    Signal,
)
from beamloop.streaming import Receiver, Sender, collect, wire

from .traffic import WAIT_S, after, batches_of, frames_of, scan_of, send_scan, until, whole


def test_hostile_bytes_at_the_sender_are_counted_and_others_are_served() -> None:
    rng = random.Random(0)
    with zmq.Context() as context, Sender() as sender:
        host, port = "127.0.0.1", int(sender.endpoint.rsplit(":", 1)[1])
        with socket.create_connection((host, port)) as raw, context.socket(zmq.DEALER) as liar:
            raw.sendall(rng.randbytes(4096))
            liar.linger = 0
            liar.connect(sender.endpoint)
            for _ in range(300):
                liar.send_multipart([rng.randbytes(rng.randrange(1, 50)) for _ in range(rng.randrange(1, 5))])
            for message in (wire.Received(10**9, 10**9, 1), wire.Stored(10**9, 1), wire.Welcome(1, 1, 1, 0)):
                liar.send_multipart(wire.encode(message))
            liar.send_multipart(wire.encode(wire.Hello("x" * 70_000)))
            with Receiver(sender.endpoint, "edge") as receiver:
                send_scan(sender, scan_of())
                np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan_of()))
            until(lambda: sender.statistics().invalid >= 301)


def test_a_flood_of_names_does_not_fill_the_sender() -> None:
    with zmq.Context() as context, Sender() as sender, context.socket(zmq.DEALER) as liar:
        liar.linger = 0
        liar.connect(sender.endpoint)
        with Receiver(sender.endpoint, "edge") as receiver:
            sender.begin(scan_of())
            for n in range(1000):
                liar.send_multipart(wire.encode(wire.Hello(f"name {n}", incarnation=1, link=1)))
            liar.send_multipart([b"the last"])
            until(lambda: sender.statistics().invalid == 1)
            assert len(sender.statistics().receivers) <= 256
            for batch in batches_of(scan_of()):
                sender.send(batch)
            sender.end(whole(scan_of()))
            assert collect(receiver.scan("a", WAIT_S), WAIT_S).valid is None


def test_hostile_bytes_at_the_receiver_are_counted_and_frames_still_come() -> None:
    rng, scan = random.Random(1), scan_of(n=4)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as instrument:
        instrument.linger = 0
        instrument.setsockopt(zmq.PROBE_ROUTER, 1)
        port = instrument.bind_to_random_port("tcp://127.0.0.1")
        with Receiver(f"tcp://127.0.0.1:{port}", "edge") as receiver:
            assert instrument.poll(int(WAIT_S * 1000))
            route, *parts = instrument.recv_multipart()
            hello = wire.decode(parts)
            assert isinstance(hello, wire.Hello)
            for _ in range(300):
                instrument.send_multipart([route, *(rng.randbytes(rng.randrange(1, 50)) for _ in range(4))])
            instrument.send_multipart([route, *wire.encode(hello)])
            frames = next(batches_of(scan))
            for message in (
                wire.Welcome(5, hello.link, 1, 0),
                wire.Begin(1, scan, 5, hello.link),
                wire.Batch(
                    2, FrameBatch("never begun", frames.indices, frames.positions, frames.frames), 5, hello.link
                ),
                wire.Batch(3, frames, 5, hello.link),
                wire.End(4, whole(scan), 5, hello.link),
            ):
                instrument.send_multipart([route, *wire.encode(message)])
            np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))
            assert receiver.statistics().invalid == 300
            assert receiver.statistics().unclaimed == 1


def test_a_batch_damaged_on_its_way_is_asked_for_again_and_arrives_whole() -> None:
    scan, damaged = scan_of(n=64), {3, 7, 8}
    with zmq.Context() as context, Sender() as sender:
        front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        with front, back:
            front.linger = back.linger = 0
            port = front.bind_to_random_port("tcp://127.0.0.1")
            back.connect(sender.endpoint)
            with Receiver(f"tcp://127.0.0.1:{port}", "edge") as receiver:
                send_scan(sender, scan)
                got: list[Signal] = []
                reading = threading.Thread(target=lambda: got.append(collect(receiver.scan("a", WAIT_S), WAIT_S)))
                reading.start()
                route, batches, late = b"", 0, after(WAIT_S)
                while reading.is_alive() and not late():
                    if front.poll(5):
                        route, *parts = front.recv_multipart()
                        back.send_multipart(parts)
                    if route and back.poll(5):
                        parts = back.recv_multipart()
                        batches += len(parts) == 4
                        if len(parts) == 4 and batches in damaged:
                            parts[3] = parts[3][:-1] + bytes([parts[3][-1] ^ 1])
                        front.send_multipart([route, *parts])
                reading.join()
                np.testing.assert_array_equal(got[0].data, frames_of(scan))
                assert got[0].valid is None
                assert receiver.statistics().channel.damaged == len(damaged)


def test_frames_that_break_the_announcement_are_refused_on_both_sides() -> None:
    scan = scan_of(n=4)
    good = next(batches_of(scan))
    bad = FrameBatch("a", good.indices, good.positions, good.frames.astype("<u4"))
    with Sender() as sender:
        sender.begin(scan)
        with pytest.raises(FrameShapeWrong, match=r"dtype <u4, its header said <u2"):
            sender.send(bad)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as instrument:
        instrument.linger = 0
        port = instrument.bind_to_random_port("tcp://127.0.0.1")
        with Receiver(f"tcp://127.0.0.1:{port}", "edge") as receiver:
            assert instrument.poll(int(WAIT_S * 1000))
            route, *parts = instrument.recv_multipart()
            hello = wire.decode(parts)
            assert isinstance(hello, wire.Hello)
            for message in (
                wire.Welcome(5, hello.link, 1, 0),
                wire.Begin(1, scan, 5, hello.link),
                wire.Batch(2, bad, 5, hello.link),
            ):
                instrument.send_multipart([route, *wire.encode(message)])
            with pytest.raises(FrameShapeWrong, match=r"dtype <u4, its header said <u2"):
                next(receiver.scan("a", WAIT_S).batches(WAIT_S))


def test_a_receiver_of_another_version_is_refused_with_both_versions() -> None:
    with zmq.Context() as context, Sender() as sender, context.socket(zmq.DEALER) as old:
        old.linger = 0
        old.connect(sender.endpoint)
        old.send_multipart(wire.encode(wire.Hello("edge", protocol=2)))
        while True:
            assert old.poll(int(WAIT_S * 1000))
            message = wire.decode(old.recv_multipart())
            if message != wire.Knock():
                break
        assert isinstance(message, wire.Refused)
        assert message.error == "ProtocolMismatch"
        assert "speaks data protocol 1" in message.reason
        assert "speaks 2" in message.reason


def test_a_refusal_is_raised_as_the_error_it_names() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as instrument:
        instrument.linger = 0
        port = instrument.bind_to_random_port("tcp://127.0.0.1")
        with Receiver(f"tcp://127.0.0.1:{port}", "edge") as receiver:
            assert instrument.poll(int(WAIT_S * 1000))
            route, *_ = instrument.recv_multipart()
            instrument.send_multipart([route, *wire.encode(wire.Refused("speaks 3", "ProtocolMismatch"))])
            with pytest.raises(ProtocolMismatch, match="speaks 3"):
                receiver.scan("a", WAIT_S)


def test_a_replaced_receiver_that_speaks_again_is_refused_and_the_new_one_stays() -> None:
    with zmq.Context() as context, Sender() as sender, context.socket(zmq.DEALER) as first:
        first.linger = 0
        first.connect(sender.endpoint)
        first.send_multipart(wire.encode(wire.Hello("edge", incarnation=1, link=1)))
        until(lambda: sender.statistics().receivers != {})
        with Receiver(sender.endpoint, "edge") as second:
            until(lambda: second.statistics().channel.session != 0)
            first.send_multipart(wire.encode(wire.Hello("edge", incarnation=1, link=2)))
            said = []
            while sum(isinstance(message, wire.Refused) for message in said) < 2:
                assert first.poll(int(WAIT_S * 1000))
                said.append(wire.decode(first.recv_multipart()))
            send_scan(sender, scan_of())
            assert collect(second.scan("a", WAIT_S), WAIT_S).valid is None
