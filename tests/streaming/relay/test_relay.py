"""A relay joins an instrument and a client who both dial out, and harms neither when it dies."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from beamloop.core import InstrumentUnreachable, RelayRefused, SettingsInvalid, WireInvalid
from beamloop.streaming.relay import Gate
from beamloop.streaming.relay.dialling import RelayAddress, relay_address
from beamloop.streaming.relay.words import MOST_BYTES, Line, heard

from .relayed import answering, relay

LINES: tuple[Line, ...] = ("control", "frames", "guard")


@contextmanager
def echo() -> Iterator[int]:
    """Send back what comes, first the port's own number so that lines cannot be mistaken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def back(line: socket.socket) -> None:
            with line:
                line.sendall(f"{port:05d}".encode())
                while data := line.recv(2**16):
                    line.sendall(data)

        def accept() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=back, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield port
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def three_echoes() -> Iterator[dict[Line, int]]:
    with echo() as control, echo() as frames, echo() as guard:
        yield {"control": control, "frames": frames, "guard": guard}


def called(gate: Gate, line: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gate.port + line), timeout=10)


def exactly(line: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += (more := line.recv(2**16))
        assert more, f"ended after {len(got)} of {size} bytes"
    return got


def test_each_line_leads_to_its_own_port_and_passes_bytes_unchanged() -> None:
    payload = secrets.token_bytes(3_000_000)
    with relay() as where, three_echoes() as ports, answering(where, ports), Gate(where) as gate:
        for number, name in enumerate(LINES):
            with called(gate, number) as line:
                assert exactly(line, 5) == f"{ports[name]:05d}".encode()
                sender = threading.Thread(target=line.sendall, args=(payload,))
                sender.start()
                assert exactly(line, len(payload)) == payload
                sender.join()


def test_when_either_side_hangs_up_the_other_learns_it() -> None:
    with relay() as where, three_echoes() as ports, answering(where, ports), Gate(where) as gate:
        line = called(gate, 0)
        exactly(line, 5)
        gate.close()
        assert line.recv(1) == b""
        line.close()


def test_an_instrument_that_is_not_there_is_named() -> None:
    with relay() as where, pytest.raises(RelayRefused, match=f"no instrument {where.name} is at this relay"):
        Gate(where)


def test_a_relay_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(InstrumentUnreachable, match="no relay answers"):
        Gate(RelayAddress("127.0.0.1", port, "x"))


def test_something_else_at_the_address_is_told_from_a_relay() -> None:
    with echo() as port, pytest.raises(InstrumentUnreachable, match="is no relay of this version"):
        Gate(RelayAddress("127.0.0.1", port, "x"))


def test_after_the_relay_came_back_calls_go_through_again() -> None:
    with three_echoes() as ports, relay() as where:
        pass
    with three_echoes() as ports:
        with relay(where.port) as where, answering(where, ports) as told:
            pass
        with relay(where.port), answering(where, ports) as told, Gate(where) as gate, called(gate, 0) as line:
            assert exactly(line, 5) == f"{ports['control']:05d}".encode()
            assert told.empty()


def test_an_instrument_dials_again_when_its_relay_was_gone() -> None:
    with three_echoes() as ports, relay() as first:
        pass
    with (
        three_echoes() as ports, _relay_that_restarts(first, ports) as where, Gate(where) as gate,
        called(gate, 2) as line,
    ):  # fmt: skip
        assert exactly(line, 5) == f"{ports['guard']:05d}".encode()


@contextmanager
def _relay_that_restarts(where: RelayAddress, ports: dict[Line, int]) -> Iterator[RelayAddress]:
    before = relay(where.port)
    before.__enter__()
    with answering(where, ports) as told:
        before.__exit__(None, None, None)
        assert "dialling again" in told.get(timeout=10)
        with relay(where.port):
            while told.get(timeout=20) != f"reachable as {where}":
                continue
            yield where


@pytest.mark.parametrize(
    "rubbish", [b"\n", b"{}\n", b"x" * 200_000, b'{"kind":"ring","call":1,"line":"guard"}\n', b"GET / HTTP/1.1\r\n\r\n"]
)
def test_rubbish_is_hung_up_on_and_others_are_served(rubbish: bytes) -> None:
    with relay() as where, three_echoes() as ports, answering(where, ports), Gate(where) as gate:
        with socket.create_connection((where.host, where.port), timeout=10) as stranger:
            stranger.sendall(rubbish)
            with suppress(ConnectionResetError):
                assert stranger.recv(100) == b""
        with called(gate, 1) as line:
            assert exactly(line, 5) == f"{ports['frames']:05d}".encode()


def test_two_hundred_silent_peers_keep_nobody_from_calling() -> None:
    with relay() as where, three_echoes() as ports, answering(where, ports):
        silent = [socket.create_connection((where.host, where.port), timeout=10) for _ in range(200)]
        with Gate(where) as gate, called(gate, 0) as line:
            assert exactly(line, 5) == f"{ports['control']:05d}".encode()
        for line in silent:
            line.close()


@pytest.mark.parametrize("text", ["relay://", "relay://host:0/x", "relay://host:99999/x", "relay://host/a/b"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="no address at a relay"):
        relay_address(text)


def test_a_word_is_bounded() -> None:
    with pytest.raises(WireInvalid, match=f"the most is {MOST_BYTES}"):
        heard(b"x" * MOST_BYTES + b"\n")


def test_a_gate_and_a_relay_close_without_a_word_while_lines_are_open(capfd: pytest.CaptureFixture[str]) -> None:
    with relay() as where, three_echoes() as ports, answering(where, ports), Gate(where) as gate:
        line = called(gate, 0)
        exactly(line, 5)
    line.close()
    assert capfd.readouterr().err == ""
