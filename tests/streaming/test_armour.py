"""A data channel with keys: who is let in, who is told why not, and what a revoked key still gets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import zmq

from beamloop.core import InstrumentUnreachable, KeyRefused
from beamloop.streaming import crowd
from beamloop.streaming.admittance import CurveKey
from beamloop.streaming.armour import Armour
from beamloop.streaming.crowd import MOST_OF_KEY
from beamloop.streaming.receiver import Receiver
from beamloop.streaming.sender import Sender
from beamloop.streaming.wire import Hello, encode

from .traffic import WAIT_S, batches_of, scan_of, until


def pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class Listed:
    """Admits the public halves it holds."""

    def __init__(self, **names: str) -> None:
        self.names = names

    def look(self) -> None:
        """Nothing to read."""

    def admit_new(self, curve: str) -> str:
        return self.admit(curve)

    def admit(self, curve: str) -> str:
        for name, listed in self.names.items():
            if listed == curve:
                return name
        raise KeyRefused("that key is not on the list")


SERVER, ADA, BOB, EVE = pair(), pair(), pair(), pair()


class Keyed:
    """A sender with keys for ada and bob, and what it told of those it turned away."""

    def __init__(self) -> None:
        self.listed, self.told = Listed(ada=ADA[0], bob=BOB[0]), []
        self.armour = Armour(SERVER[1], self.listed, lambda who, why: self.told.append((who, why)))
        self.sender = Sender(armour=self.armour)


@pytest.fixture
def keyed() -> Iterator[Keyed]:
    keyed = Keyed()
    with keyed.sender:
        yield keyed


def refusal(endpoint: str, name: str, key: CurveKey | None, timeout_s: float = WAIT_S) -> str:
    with Receiver(endpoint, name, key=key) as receiver, pytest.raises(KeyRefused) as refused:
        receiver.scan("a", timeout_s)
    return str(refused.value)


def key_of(pair: tuple[str, str], server: str = SERVER[0]) -> CurveKey:
    return CurveKey(*pair, server)


def test_a_listed_key_receives_under_its_own_name(keyed: Keyed) -> None:
    scan = scan_of(receiver="ada/edge", n=4)
    with Receiver(keyed.sender.endpoint, "ada/edge", key=key_of(ADA)) as receiver:
        keyed.sender.begin(scan)
        assert receiver.scan(scan.scan_id, WAIT_S).header == scan


@pytest.mark.parametrize(
    ("key", "said", "audited"),
    [
        (None, "a key; give --key FILE", "it came without a key"),
        (key_of(EVE), "the key is not on its list", "that key is not on the list"),
        (key_of(ADA, server=EVE[0]), "it has other keys than the one", "made for another server"),
    ],
)
def test_whoever_is_not_let_in_is_told_at_once_and_the_server_says_why(
    key: CurveKey | None, said: str, audited: str, keyed: Keyed
) -> None:
    assert said in refusal(keyed.sender.endpoint, "ada/edge", key)
    until(lambda: any(audited in why for _, why in keyed.told))


@pytest.fixture
def bare() -> Iterator[zmq.Context]:
    """Return a context for clients made of nothing but pyzmq."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def dealer(context: zmq.Context, keyed: Keyed, pair: tuple[str, str]) -> zmq.Socket:
    made = context.socket(zmq.DEALER)
    made.linger = 0
    made.curve_publickey, made.curve_secretkey = (half.encode() for half in pair)
    made.curve_serverkey = SERVER[0].encode()
    made.connect(keyed.sender.endpoint)
    return made


def test_a_crowd_of_bare_clients_gets_a_bounded_number_of_connections_and_another_key_is_served(
    keyed: Keyed, bare: zmq.Context
) -> None:
    clients = [dealer(bare, keyed, key) for key in (ADA, EVE) for _ in range(80)]
    for number, client in enumerate(clients):
        hello = Hello(f"ada/{number}", incarnation=number + 1, link=1, credit=1)
        client.send_multipart(encode(hello))
    scan = scan_of(receiver="bob/edge", n=400)
    with Receiver(keyed.sender.endpoint, "bob/edge", key=key_of(BOB)) as receiver:
        keyed.sender.begin(scan)
        incoming, served = receiver.scan("a", WAIT_S), 0
        for batch in batches_of(scan):
            keyed.sender.send(batch)
            assert incoming.take(WAIT_S) is not None
            incoming.stored()
            served = max(served, sum(one.linked for one in keyed.sender.statistics().receivers.values()))
    until(lambda: any(f"the key 'ada' has {MOST_OF_KEY} connections open here" in why for _, why in keyed.told))
    until(lambda: any("that key is not on the list" in why for _, why in keyed.told))
    assert 0 < served <= MOST_OF_KEY + 1
    heard = [client for client in clients if client.poll(0)]
    assert 0 < len(heard) <= MOST_OF_KEY
    assert not any(client.poll(0) for client in clients[80:])
    # Room is made by those that leave.
    for client in clients:
        client.close()
    keyed.sender.begin(scan_of("b", receiver="ada/again"))

    def is_let_in() -> bool:
        with Receiver(keyed.sender.endpoint, "ada/again", key=key_of(ADA)) as receiver, suppress(KeyRefused):
            return receiver.scan("b", WAIT_S).header.scan_id == "b"
        return False

    until(is_let_in)


def test_a_client_with_a_key_that_says_nothing_is_cut_off(
    keyed: Keyed, bare: zmq.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "SILENT_S", 0.3)
    with Receiver(keyed.sender.endpoint, "bob/edge", key=key_of(BOB)) as receiver:
        until(lambda: receiver.statistics().channel.session != 0)
        links = receiver.statistics().channel.links
        silent = dealer(bare, keyed, ADA)
        events = silent.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        assert events.poll(1e3 * WAIT_S)
        until(lambda: any("it said nothing" in why for _, why in keyed.told))
        assert receiver.statistics().channel.links == links, "one that speaks stays connected"
        silent.disable_monitor()
        events.close()
        silent.close()


def test_a_key_cannot_receive_under_the_name_of_another(keyed: Keyed) -> None:
    assert "must be named bob/..." in refusal(keyed.sender.endpoint, "ada/edge", key_of(BOB))
    assert not keyed.sender.statistics().receivers


def test_a_plain_sender_is_not_taken_for_the_one_that_a_key_was_made_for() -> None:
    with Sender() as sender:
        told = refusal(sender.endpoint, "ada/edge", key_of(ADA))
    # Whose greeting is read first decides which side ends the handshake.
    assert "serves without keys" in told or "or none" in told


def test_a_revoked_key_gets_no_more_frames_on_its_open_connection(keyed: Keyed) -> None:
    scan = scan_of(receiver="ada/edge", n=4)
    with Receiver(keyed.sender.endpoint, "ada/edge", key=key_of(ADA)) as receiver:
        keyed.sender.begin(scan)
        incoming = receiver.scan(scan.scan_id, WAIT_S)
        keyed.listed.names = {}
        for batch in batches_of(scan):
            keyed.sender.send(batch)
        with pytest.raises(KeyRefused, match="that key is not on the list"):
            list(incoming.batches(WAIT_S))
        assert keyed.sender.statistics().receivers["ada/edge"].sent == 1, "the scan's header, before the revocation"
    assert ("a receiver", "that key is not on the list") in keyed.told


def test_an_idle_receiver_learns_of_its_revocation_too(keyed: Keyed) -> None:
    with Receiver(keyed.sender.endpoint, "ada/edge", key=key_of(ADA)) as receiver:
        keyed.sender.begin(scan_of(receiver="ada/edge", n=4))
        receiver.scan("a", WAIT_S)
        keyed.listed.names = {}
        with pytest.raises(KeyRefused):
            receiver.scan("another", WAIT_S)


def test_without_an_authenticator_nobody_is_let_in_and_the_reason_is_said(keyed: Keyed) -> None:
    assert keyed.armour.authenticator is not None
    keyed.armour.authenticator.stop()
    assert "or its authenticator is dead" in refusal(keyed.sender.endpoint, "ada/edge", key_of(ADA))
    assert not keyed.sender.statistics().receivers


@pytest.mark.parametrize("key", [ADA, EVE, None])
def test_without_an_authenticator_a_bare_client_brings_nothing_in(key: tuple[str, str] | None) -> None:
    armour = Armour(SERVER[1], Listed(ada=ADA[0]), lambda who, why: None)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as client:
        armour.put_on(context, router)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        armour.take_off()
        client.linger = 0
        if key is not None:
            client.curve_publickey, client.curve_secretkey = key[0].encode(), key[1].encode()
            client.curve_serverkey = SERVER[0].encode()
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(b"let me in")
        assert not router.poll(300)


@pytest.mark.parametrize(("key", "comes"), [(ADA, True), (EVE, False), (None, False)])
def test_a_bare_client_brings_something_in_with_a_listed_key_only(key: tuple[str, str] | None, comes: bool) -> None:
    armour = Armour(SERVER[1], Listed(ada=ADA[0]), lambda who, why: None)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as client:
        armour.put_on(context, router)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        client.linger = 0
        if key is not None:
            client.curve_publickey, client.curve_secretkey = key[0].encode(), key[1].encode()
            client.curve_serverkey = SERVER[0].encode()
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(b"let me in")
        assert bool(router.poll(1e3 * WAIT_S if comes else 300)) is comes
        if comes:
            *_, frame = router.recv_multipart(copy=False)
            assert armour.name_of(frame) == "ada"
        armour.take_off()


def test_silent_peers_do_not_keep_a_receiver_out(keyed: Keyed) -> None:
    host, port = keyed.sender.endpoint.removeprefix("tcp://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    try:
        keyed.sender.begin(scan_of(receiver="ada/edge", n=4))
        with Receiver(keyed.sender.endpoint, "ada/edge", key=key_of(ADA)) as receiver:
            receiver.scan("a", WAIT_S)
    finally:
        for peer in silent:
            peer.close()


def test_the_authenticator_ends_with_the_sender() -> None:
    keyed = Keyed()
    keyed.sender.close()
    until(lambda: all(thread.name != "authenticator" for thread in threading.enumerate()))


def test_a_tunnel_with_nothing_behind_it_is_not_taken_for_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tunnel:
        over = threading.Event()

        def hang_up() -> None:
            tunnel.settimeout(0.1)
            while not over.is_set():
                with suppress(TimeoutError):
                    tunnel.accept()[0].close()

        hanging = threading.Thread(target=hang_up)
        hanging.start()
        port = tunnel.getsockname()[1]
        with (
            Receiver(f"tcp://127.0.0.1:{port}", "ada") as receiver,
            pytest.raises(InstrumentUnreachable, match="a tunnel with nothing behind it"),
        ):
            receiver.scan("a", 3.0)
        over.set()
        hanging.join()
