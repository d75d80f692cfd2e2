"""An instrument with keys, over real sockets: who may say what, who is refused, and how soon a revocation is felt."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import msgpack
import pytest
import zmq

from beamloop.core import (
    BeamloopError,
    InstrumentUnreachable,
    KeyRefused,
    ProofFailed,
    RoleLacking,
)
from beamloop.core.control import Role, Verb
from beamloop.edge_client import connect
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.guard_line import say
from beamloop.edge_client.connection.shown_key import ShownKey
from beamloop.instrument_server.keys.making import change_key, make_folder, revoke_key
from beamloop.instrument_server.keys.place import Place
from beamloop.instrument_server.rights import RIGHTS
from beamloop.streaming.receiver import Receiver

from .keyed import WAIT_S, Keyed, new_key, served_with_keys, until_let_in
from .test_processes import acquire, set_values, until


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with served_with_keys(tmp_path_factory.mktemp("keyed")) as keyed:
        yield keyed


@pytest.fixture
def foreign(tmp_path: Path) -> ShownKey:
    """Return the key of another instrument."""
    place = Place(tmp_path / "elsewhere")
    make_folder(place)
    return new_key(place, "ada", "engineer", 1.0, tmp_path)


@pytest.mark.parametrize("role", get_args(Role))
def test_each_role_may_say_what_is_declared_and_nothing_else(role: Role, keyed: Keyed) -> None:
    ranks, may = get_args(Role), {}
    line = keyed.line(keyed.key(role))
    for verb in get_args(Verb):
        try:
            until_let_in(lambda verb=verb: line.ask(verb))
            may[verb] = True
        except RoleLacking:
            may[verb] = False
        except (InstrumentUnreachable, KeyRefused):
            raise
        except BeamloopError:
            # It has no lease, or gave no plan: the role let it come that far.
            may[verb] = True
    line.close()
    assert may == {verb: ranks.index(role) >= ranks.index(right.role) for verb, right in RIGHTS.items()}


def test_an_observer_may_blank_stop_and_pause(keyed: Keyed) -> None:
    observer = keyed.key("observer")
    for word in ("blank", "pause", "stop", "state"):
        report = until_let_in(lambda word=word: say(keyed.address, word, WAIT_S, observer))
        assert report.beam == "confirmed"
        if word in ("pause", "stop"):
            assert f"by {observer.name}; arm" in report.reason, "whoever looks sees who stopped it"


def test_an_instrument_says_as_whom_it_knows_its_client(keyed: Keyed) -> None:
    key = keyed.key("observer")
    with until_let_in(lambda: connect(str(keyed.address), key=key.file)) as instrument:
        assert (instrument.description.key, instrument.description.role) == (key.name, "observer")
        assert instrument.client.startswith(f"{key.name}/")
        change_key(keyed.place, key.name, "engineer", None)
        until(lambda: instrument._describe().role == "engineer", WAIT_S)


def test_a_whole_scan_comes_over_three_lines_with_keys(keyed: Keyed) -> None:
    key = keyed.key()
    with until_let_in(lambda: connect(str(keyed.address), purpose="test", key=key.file)) as instrument:
        instrument.arm()
        assert instrument.points("camera", [(0.0, 0.0)] * 3, 1e-3).data.shape == (3, 512, 512)
        assert instrument.blank().beam == "confirmed"


def test_who_shows_no_key_is_told_so_on_every_line_and_audited(keyed: Keyed) -> None:
    with pytest.raises(KeyRefused, match="wants a key; give --key FILE"):
        keyed.line(None).ask("describe")
    with pytest.raises(KeyRefused, match=r"wants? a key"):
        say(keyed.address, "stop", WAIT_S)
    with Receiver(keyed.address.frames, "test") as receiver, pytest.raises(KeyRefused, match=r"wants? a key"):
        receiver.scan("a", WAIT_S)
    for line in ("control", "guard", "frames"):
        until(lambda line=line: any("came without a key" in why for why in keyed.turned_away(line)), WAIT_S)


def test_the_key_of_another_instrument_is_refused_on_every_line(keyed: Keyed, foreign: ShownKey) -> None:
    with pytest.raises(KeyRefused, match=r"is not the instrument that the key .*ada\.key was made for"):
        keyed.line(foreign).ask("describe")
    with pytest.raises(KeyRefused, match="it has other keys than the one"):
        say(keyed.address, "stop", WAIT_S, foreign)
    with Receiver(keyed.address.frames, "ada", key=foreign.frames) as receiver, pytest.raises(KeyRefused):
        receiver.scan("a", WAIT_S)
    for line in ("guard", "frames"):
        until(lambda line=line: any("made for another server" in why for why in keyed.turned_away(line)), WAIT_S)
    until(lambda: any("unknown ca" in why for why in keyed.turned_away("control")), WAIT_S)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_is_no_longer_good_is_refused_by_name_on_every_line(how: str, keyed: Keyed) -> None:
    key = keyed.key("engineer", days=1.0 if how == "revoked" else 0.0)
    if how == "revoked":
        revoke_key(keyed.place, key.name)
    # Each line reads the list for itself, within a second.
    with pytest.raises(KeyRefused, match="not on its list: it is unknown there, revoked or expired"):
        until(lambda: say(keyed.address, "stop", WAIT_S, key) is None, WAIT_S)
    with Receiver(keyed.address.frames, key.name, key=key.frames) as receiver, pytest.raises(KeyRefused):
        receiver.scan("a", WAIT_S)
    with pytest.raises(KeyRefused, match=f"the key '{key.name}' (was revoked|expired on)"):
        until(lambda: keyed.line(key).ask("describe") is None, WAIT_S)
    reason = f"the key '{key.name}' {'was revoked' if how == 'revoked' else 'expired'}"
    for line in ("control", "guard", "frames"):
        until(lambda line=line: any(why.startswith(reason) for why in keyed.turned_away(line)), WAIT_S)


def test_a_request_of_another_key_is_not_repeated_and_nobody_speaks_for_another(keyed: Keyed) -> None:
    otto, emma = keyed.key("operator"), keyed.key("engineer")
    lines = keyed.line(otto), keyed.line(emma)
    first = f"{otto.name}/r1"
    assert until_let_in(lambda: lines[0].ask("lease", request_id=first))
    lines[0].ask("release")
    until_let_in(lambda: lines[1].ask("state"))
    with pytest.raises(KeyRefused, match=f"the key '{emma.name}' cannot speak for the request '{first}'"):
        lines[1].ask("lease", request_id=first)
    with pytest.raises(KeyRefused, match=f"cannot speak for the client '{otto.name}/test'"):
        keyed.line(emma, client=f"{otto.name}/test").ask("lease")
    with (
        Receiver(keyed.address.frames, f"{otto.name}/test", key=emma.frames) as receiver,
        pytest.raises(KeyRefused, match=f"must be named {emma.name}/"),
    ):
        receiver.scan("a", WAIT_S)
    assert any("cannot speak for the request" in why for why in keyed.turned_away("control"))
    for line in lines:
        line.close()


def test_a_revocation_ends_twenty_open_connections_within_a_second(keyed: Keyed) -> None:
    key = keyed.key("operator")
    until_let_in(lambda: keyed.line(key).ask("state"))
    begun: list[float] = []
    refused = [threading.Event() for _ in range(20)]

    def call(over: threading.Event) -> None:
        line = keyed.line(key)
        while True:
            asked_s = time.monotonic()
            try:
                line.ask("state")
            except KeyRefused:
                break
            begun.append(asked_s)
        line.close()
        over.set()

    threads = [threading.Thread(target=call, args=(over,)) for over in refused]
    for thread in threads:
        thread.start()
    until(lambda: len(begun) > 100, WAIT_S)
    revoke_key(keyed.place, key.name)
    revoked_s = time.monotonic()
    assert all(over.wait(WAIT_S) for over in refused)
    assert [asked_s for asked_s in begun if asked_s > revoked_s + 1.0] == []
    for thread in threads:
        thread.join()


def test_a_revocation_ends_scan_lease_frames_and_words_that_are_under_way(keyed: Keyed) -> None:
    key, engineer = keyed.key("operator"), keyed.key("engineer")
    line, other = keyed.line(key), keyed.line(engineer)
    with Receiver(keyed.address.frames, f"{key.name}/test", key=key.frames) as receiver:
        until_let_in(lambda: line.ask("lease", {"purpose": "test"}))
        until(lambda: is_proved(line), WAIT_S)
        set_values(line, frame_s=0.02)
        incoming = receiver.scan(acquire(line, points=2000), WAIT_S)
        frames = incoming.batches(WAIT_S)
        next(frames)
        with guard_socket(keyed, key) as guard:
            assert said(guard, "state").get("beam") == "active"
            revoke_key(keyed.place, key.name)
            revoked = datetime.now(UTC)
            with suppress(KeyRefused):
                # The scan is stopped when its lease is taken away; the end of it may still be sent.
                list(frames)
            # A connection that a busy machine lost meanwhile is not let in again, and is told less.
            with pytest.raises(KeyRefused, match="revoked"):
                receiver.scan("another", WAIT_S)
            until(lambda: said(guard, "state").get("kind") == "KeyRefused", WAIT_S)
            reason = f"the key '{key.name}' was revoked"
            until(lambda: reason in keyed.turned_away("guard"), WAIT_S)
        until_let_in(lambda: other.ask("state"))
        until(lambda: other.ask("state")["lease"] is None, WAIT_S)
        until(lambda: not keyed.bench.beam_is_open(), WAIT_S)
    (taken,) = [line for line in keyed.audited("lease taken away") if line["holder"].startswith(f"{key.name}/")]
    (ended,) = [line for line in keyed.audited("scan ended") if line["scan_id"] == incoming.header.scan_id]
    # By the clock of the server that writes: how late this test hears of it depends on who else is busy.
    assert datetime.fromisoformat(taken["time"]) - revoked < timedelta(seconds=1.0)
    assert ended["status"] == "stopped"
    for open_line in (line, other):
        open_line.close()


def is_proved(line: ControlLine) -> bool:
    """Prove the chain; a proof counts its milliseconds, so on a busy machine it may take more than one."""
    line.ask("arm")
    with suppress(ProofFailed):
        line.ask("prove")
        return True
    return False


def guard_socket(keyed: Keyed, key: ShownKey) -> zmq.Socket:
    """Return a bare CURVE client of the guard, made of nothing but pyzmq."""
    guard = zmq.Context.instance().socket(zmq.REQ)
    guard.linger = 0
    guard.req_relaxed = guard.req_correlate = True
    guard.curve_publickey, guard.curve_secretkey = key.guard.public.encode(), key.guard.secret.encode()
    guard.curve_serverkey = key.guard.server.encode()
    guard.connect(keyed.address.guard)
    return guard


def said(guard: zmq.Socket, word: str) -> dict:
    """Return the guard's answer; that of a connection which is not let in again is a refusal."""
    guard.send(msgpack.packb({"word": word}))
    return msgpack.unpackb(guard.recv()) if guard.poll(1e3 * WAIT_S / 3) else {"kind": "KeyRefused", "error": "silence"}


def test_a_key_that_expires_is_refused_on_connections_that_are_open(keyed: Keyed) -> None:
    key = keyed.key("operator")
    line = keyed.line(key)
    line.ask("state")
    with Receiver(keyed.address.frames, key.name, key=key.frames) as receiver, guard_socket(keyed, key) as guard:
        assert "kind" not in said(guard, "state")
        # A line that is still being opened would be refused as a new one is.
        until(lambda: receiver.statistics().channel.session != 0, WAIT_S)
        change_key(keyed.place, key.name, None, 0.0)
        with pytest.raises(KeyRefused, match="expired on"):
            receiver.scan("a", WAIT_S)
        until(lambda: "expired on" in said(guard, "state").get("error", ""), WAIT_S)
        until(lambda: raises_refusal(lambda: line.ask("state")), WAIT_S)
    line.close()


def test_a_list_that_cannot_be_read_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    with served_with_keys(tmp_path) as keyed:
        key = keyed.key("engineer")
        line = keyed.line(key)
        until_let_in(lambda: line.ask("state"))
        keyed.place.listed.rename(keyed.place.folder / "gone")
        for refusing in (
            lambda: line.ask("state"),
            lambda: keyed.line(key).ask("state"),
            lambda: say(keyed.address, "state", WAIT_S, key),
        ):
            until(lambda refusing=refusing: raises_refusal(refusing), WAIT_S)
        with Receiver(keyed.address.frames, key.name, key=key.frames) as receiver, pytest.raises(KeyRefused):
            receiver.scan("a", WAIT_S)
        for name in ("control", "guard", "frames"):
            until(lambda name=name: any("nobody is let in" in why for why in keyed.turned_away(name)), WAIT_S)
        (keyed.place.folder / "gone").rename(keyed.place.listed)
        until_let_in(lambda: keyed.line(key).ask("state"))


def raises_refusal(call: Callable[[], object]) -> bool:
    try:
        call()
    except KeyRefused:
        return True
    return False


def test_two_hundred_silent_peers_on_every_port_hold_up_neither_a_client_nor_a_stop(keyed: Keyed) -> None:
    key = keyed.key("operator")
    until_let_in(lambda: say(keyed.address, "state", WAIT_S, key))
    ports = [keyed.address.port + offset for offset in range(3)]
    silent = [socket.create_connection((keyed.address.host, port)) for port in ports for _ in range(200)]
    try:
        stops = []
        for _ in range(20):
            started_s = time.monotonic()
            assert say(keyed.address, "stop", WAIT_S, key).beam == "confirmed"
            stops.append(time.monotonic() - started_s)
        line = keyed.line(key)
        started_s = time.monotonic()
        assert line.ask("describe")
        # Each bound is far above what is promised (0.1 s) and far below what waiting for one silent peer would take.
        assert time.monotonic() - started_s < 1.9
        assert sorted(stops)[10] < 0.9
        line.close()
    finally:
        for peer in silent:
            peer.close()


def test_without_keys_other_computers_are_refused_before_anything_listens(tmp_path: Path) -> None:
    for words, told in (
        (["--listen", "0.0.0.0"], "other computers are let in with keys only"),
        (["--relay", "localhost:1"], "a relay was asked for without keys"),
        (["--keys", str(tmp_path)], "holds no keys"),
        (["--listen", "everywhere"], "listen = 'everywhere'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "beamloop", "serve", "simulator", "--port", "0", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def command(*words: str) -> subprocess.CompletedProcess[str]:
    done = [sys.executable, "-m", "beamloop", *words]
    return subprocess.run(done, capture_output=True, text=True, timeout=60, check=False)


def until_told(told: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Repeat a command until it says this; on a busy machine a bounded wait of its own may end before the answer."""
    late = time.monotonic() + WAIT_S
    while told not in (done := command(*words)).stdout + done.stderr:
        assert time.monotonic() < late, f"{words} never told {told!r}, but {done.stdout}{done.stderr}"
    return done


def test_the_commands_of_a_person_show_a_key(keyed: Keyed) -> None:
    key, where = keyed.key("observer"), str(keyed.address)
    until_told(f"you are {key.name} (observer), by your key", "info", where, "--key", str(key.file))
    stopped = until_told("confirmed at rest", "stop", where, "--key", str(key.file))
    assert stopped.returncode == 0, stopped.stderr
    for words, told in (
        ((), "it wants a key"),
        (("--json",), "it wants a key"),
        (("--key", "x.key"), "no readable key file"),
    ):
        refused = until_told(told, "stop", where, *words)
        assert refused.returncode == (2 if words[:1] == ("--key",) else 1)
        assert told in refused.stderr


def test_neither_server_nor_guard_nor_a_client_loads_what_makes_certificates() -> None:
    for module in (
        "instrument_server.server",
        "instrument_server.guard.process",
        "instrument_server.driver",
        "edge_client",
    ):
        look = f"import sys, beamloop.{module}; print('cryptography' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "False", module


def openssl(keyed: Keyed, *words: str) -> str:
    """Return what OpenSSL's own client says of a connection to the control port."""
    where = f"{keyed.address.host}:{keyed.address.port}"
    command = ["openssl", "s_client", "-connect", where, "-CAfile", str(keyed.place.authority), *words]
    # What is read after the handshake tells of a refused certificate; the other side closes.
    done = subprocess.run(
        command, input=b"PYRO", capture_output=True, timeout=60, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("old", ["-tls1", "-tls1_1", "-tls1_2"])
def test_openssl_is_refused_with_an_older_tls(old: str, keyed: Keyed) -> None:
    key = str(keyed.key().file)
    told = openssl(keyed, old, "-cert", key, "-key", key)
    assert "Cipher is (NONE)" in told
    assert "Verify return code: 0 (ok)" not in told or "Protocol  : TLSv1.3" not in told


def test_openssl_agrees_that_both_sides_are_proved_in_tls_1_3(keyed: Keyed) -> None:
    key = str(keyed.key().file)
    told = openssl(keyed, "-verify_hostname", "instrument.beamloop", "-cert", key, "-key", key, "-ign_eof")
    assert "New, TLSv1.3, Cipher is TLS_" in told
    assert "Verify return code: 0 (ok)" in told
    assert "alert" not in told
    assert "Reused" not in told


def test_openssl_is_refused_without_a_certificate_and_with_a_foreign_one(keyed: Keyed, foreign: ShownKey) -> None:
    assert "alert certificate required" in openssl(keyed, "-ign_eof")
    key = str(foreign.file)
    assert "alert unknown ca" in openssl(keyed, "-cert", key, "-key", key, "-ign_eof")


def test_openssl_does_not_take_a_client_for_the_instrument(keyed: Keyed) -> None:
    key = str(keyed.key().file)
    purpose = ["openssl", "verify", "-CAfile", str(keyed.place.authority), "-purpose"]
    for side, file, good in (("sslserver", str(keyed.place.server), True), ("sslserver", key, False)):
        done = subprocess.run([*purpose, side, file], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) is good, done.stderr
