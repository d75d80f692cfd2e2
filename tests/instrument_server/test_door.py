"""The control port against peers that are silent, slow or hostile: each costs itself, and nobody else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
from Pyro5 import protocol
from Pyro5.client import Proxy

from beamloop.core import KeyRefused, Reply, Request
from beamloop.core.control import FACE
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.instrument_server import door as bounds
from beamloop.instrument_server import face, pace
from beamloop.instrument_server.keys.key_list import KeyList
from beamloop.instrument_server.keys.making import make_folder
from beamloop.instrument_server.keys.place import Place
from beamloop.instrument_server.rights import Caller

from .keyed import new_key
from .test_processes import until

WAIT_S = 20.0
MSGPACK = 4


def echo(request: Request, caller: Caller) -> Reply:
    return Reply(status="done", value={"caller": caller.name, **request.arguments})


@contextmanager
def shown(keys: KeyList | None = None, answer: Callable[[Request, Caller], Reply] = echo) -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with face.shown(answer, ("127.0.0.1", port), keys, lambda peer, why: None):
        yield Address("127.0.0.1", port)


@pytest.fixture
def plain() -> Iterator[Address]:
    with shown() as address:
        yield address


def asked(address: Address, **arguments: Any) -> dict[str, Any]:
    line = ControlLine(address, "test", WAIT_S)
    try:
        return line.ask("state", arguments)
    finally:
        line.close()


def peer(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port), WAIT_S)


def sent(stream: socket.socket, data: bytes) -> bool:
    try:
        stream.sendall(data)
    except ConnectionError:
        return False
    return True


def is_closed(stream: socket.socket) -> bool:
    """Tell whether the server has closed; whatever it said before is read."""
    stream.settimeout(WAIT_S)
    try:
        while stream.recv(65_536):
            continue
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def invocation(flags: int = 0, request: object = None, method: str = "call") -> bytes:
    call = msgpack.packb((FACE, method, [request], {}))
    message = protocol.SendingMessage(protocol.MSG_INVOKE, 0, 1, MSGPACK, call).data
    return message[:8] + flags.to_bytes(2, "big") + message[10:]


def greeting() -> bytes:
    hello = msgpack.packb({"handshake": "hello", "object": FACE})
    return protocol.SendingMessage(protocol.MSG_CONNECT, 0, 0, MSGPACK, hello).data


def test_silent_peers_give_way_to_those_who_speak(plain: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_STRANGERS", 8)
    monkeypatch.setattr(bounds, "HANDSHAKE_S", 0.5)
    with ExitStack() as stack:
        silent = [stack.enter_context(peer(plain)) for _ in range(50)]
        assert asked(plain, n=1)["n"] == 1
        assert sum(thread.name == "control" for thread in threading.enumerate()) <= 10
        assert all(map(is_closed, silent)), "those who were pushed out at once, the others when their time was over"


def test_a_flood_of_one_client_ends_its_own_connections_and_no_stranger_s(
    plain: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_OF_ONE", 4)
    line = ControlLine(plain, "test", WAIT_S)
    assert line.ask("state", {"n": 1})["n"] == 1
    for n in range(12):
        stream = peer(plain)
        stream.sendall(greeting())
        assert stream.recv(4), n
        assert asked(plain, n=n)["n"] == n
        stream.close()
    assert line.ask("state", {"n": 2})["n"] == 2, "its connection gave way, and it made a new one by itself"
    line.close()


def test_a_peer_that_trickles_is_left_and_others_are_served_meanwhile(
    plain: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "MESSAGE_S", 0.5)
    slow, over = peer(plain), threading.Event()

    def trickle() -> None:
        try:
            for byte in greeting():
                slow.send(bytes([byte]))
                time.sleep(0.05)
        except ConnectionError:
            over.set()

    thread = threading.Thread(target=trickle)
    thread.start()
    assert asked(plain, n=1)["n"] == 1
    assert over.wait(WAIT_S)
    thread.join()
    slow.close()


def test_a_key_that_asks_on_many_connections_is_answered_at_one_pace_and_without_keys_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "MOST_PER_S", 20.0)
    monkeypatch.setattr(pace, "BURST", 1)
    waits: list[float] = []
    wait = pace.Pace.wait
    monkeypatch.setattr(pace.Pace, "wait", lambda self, key: (waits.append(time.monotonic()), wait(self, key)))
    place = Place(tmp_path / "keys")
    make_folder(place)
    key = new_key(place, "ada", "operator", 1.0, tmp_path)
    with shown(KeyList(place)) as keyed, shown() as plain:
        lines = [ControlLine(keyed, f"ada/test{number}", WAIT_S, key) for number in range(3)]
        began_s = time.monotonic()
        for number in range(12):
            assert lines[number % 3].ask("state", {"n": number})["n"] == number
        # The first two come at once; a busy machine makes the rest later, and nothing makes it sooner.
        assert time.monotonic() - began_s > 10 / 20.0 - 0.01
        paced = len(waits)
        open_to_all = ControlLine(plain, "test", WAIT_S)
        assert open_to_all.ask("state", {"n": 1})["n"] == 1
        assert len(waits) == paced
        for line in [*lines, open_to_all]:
            line.close()


def test_a_peer_that_does_not_read_its_replies_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "MESSAGE_S", 0.5)
    with shown(answer=lambda request, caller: Reply(status="done", value={"much": "x" * 3_000_000})) as address:
        deaf = peer(address)
        deaf.sendall(greeting())
        request = Request(request_id="r", client="test", verb="state").model_dump()
        until(lambda: not sent(deaf, invocation(request=request)), WAIT_S)
        deaf.close()


@pytest.mark.parametrize(
    ("what", "flags"), [("compressed", protocol.FLAGS_COMPRESSED), ("without a reply", protocol.FLAGS_ONEWAY),
                        ("in a batch", protocol.FLAGS_BATCH), ("kept serialised", protocol.FLAGS_KEEPSERIALIZED)],
)  # fmt: skip
def test_a_call_that_is_more_than_a_call_is_not_answered(what: str, flags: int) -> None:
    heard: list[str] = []

    def answer(request: Request, caller: Caller) -> Reply:
        heard.append(request.request_id)
        return echo(request, caller)

    asking = Request(request_id="r", client="test", verb="state").model_dump()
    with shown(answer=answer) as address, peer(address) as stream:
        stream.sendall(greeting() + invocation(flags, request=asking))
        assert is_closed(stream), what
        assert heard == []
        assert asked(address, n=1)["n"] == 1


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x00" * 64,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        greeting()[:12] + (2**31).to_bytes(4, "big") + greeting()[16:],
        greeting()[:16] + (2**32 - 1).to_bytes(4, "big") + greeting()[20:],
        bytes(range(256)) * 8,
    ],
)
def test_what_is_no_message_ends_its_connection_only(header: bytes, plain: Address) -> None:
    stream = peer(plain)
    stream.sendall(header)
    stream.shutdown(socket.SHUT_WR)
    assert is_closed(stream)
    assert asked(plain, n=1)["n"] == 1
    stream.close()


@pytest.mark.parametrize(
    "hidden",
    [
        {"__class__": "Pyro5.client.Proxy", "state": ["PYRO:x@127.0.0.1:1", [], [], [], "hello", "msgpack"]},
        {"__class__": "builtins.SystemExit", "__exception__": True, "args": [], "attributes": {}},
        b"bytes",
    ],
)
def test_an_object_in_a_request_is_refused_before_anybody_looks_at_it(hidden: object, plain: Address) -> None:
    request = Request(request_id="r", client="test", verb="state").model_dump() | {"arguments": {"plan": hidden}}
    with peer(plain) as stream:
        stream.sendall(greeting() + invocation(request=request))
        told = b""
        while b"something else than text" not in told:
            piece = stream.recv(4096)
            assert piece, told
            told += piece


def test_a_plain_pyro_client_is_answered_as_ever(plain: Address) -> None:
    request = Request(request_id="r", client="test", verb="state", arguments={"n": 3}).model_dump()
    with Proxy(f"PYRO:{FACE}@{plain.host}:{plain.port}") as proxy:
        proxy._pyroSerializer = "msgpack"
        assert proxy.call(request)["value"]["n"] == 3


def test_a_keyed_and_a_plain_instrument_are_used_side_by_side_in_one_process(tmp_path: Path, plain: Address) -> None:
    place = Place(tmp_path / "keys")
    make_folder(place)
    key = new_key(place, "ada", "operator", 1.0, tmp_path)
    with shown(KeyList(place)) as keyed:
        lines = [ControlLine(plain, "test", WAIT_S), ControlLine(keyed, "ada/test", WAIT_S, key)]
        for _ in range(3):
            assert [line.ask("state")["caller"] for line in lines] == ["", "ada"]
        with pytest.raises(KeyRefused, match="serves without keys, so it is not the instrument"):
            ControlLine(plain, "ada/test", WAIT_S, key).ask("state")
        for line in lines:
            line.close()


def test_a_silent_client_is_left_after_a_while_and_comes_back_by_itself(
    plain: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "IDLE_S", 0.2)
    line = ControlLine(plain, "test", WAIT_S)
    assert line.ask("state", {"n": 1})["n"] == 1
    time.sleep(0.5)
    assert line.ask("state", {"n": 2})["n"] == 2
    line.close()
