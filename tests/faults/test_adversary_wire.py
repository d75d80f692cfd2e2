"""Adversaries over the wire, with requests and with raw bytes on all three ports, while a valid client is served."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from Pyro5.errors import PyroError

from beamloop.core import BeamloopError
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.instrument import connect
from beamloop.instrument_server.audit import verdict_on

from ..instrument_server.test_processes import served
from .amount import amount, first_seed
from .bench import VERBS
from .odd import ODD

COMMANDS = amount(600, 10_000)
CROWD = 3
# Where no keys are, anybody may do these; the crowd is here to do what nobody may.
UNHEARD = (BeamloopError, PyroError, OSError, TypeError, ValueError, OverflowError)
RIGHTFUL = ("break_glass", "restrict", "specimen")


def wrong_request(rng: random.Random, number: int) -> dict[str, Any]:
    """Return a request that must change nothing: without a lease, outside a limit, malformed, or all of it."""
    odd = rng.choice(ODD)
    plans: list[Any] = [
        {"kind": "set", "values": {"frame_s": rng.choice([-1.0, 1e9, odd, 0.0])}},
        {
            "kind": "points",
            "detector": "camera",
            "points": [[rng.choice([0.0, 1.0, odd]), 0.0]],
            "dwell_s": 1e-3,
        },
        odd,
    ]
    verbs = [verb for verb in VERBS if verb not in (*RIGHTFUL, "lease")]
    request: dict[str, Any] = {
        "request_id": f"mallory/{rng.randrange(number + 1)}", "client": rng.choice(["mallory", "mallory/2"]),
        "verb": rng.choice(verbs), "arguments": {"plan": rng.choice(plans)},
        "protocol": rng.choice([1, 1, 1, 0, 2]),
    }  # fmt: skip
    if rng.random() < 0.3:
        request[rng.choice([*request, "colour"])] = rng.choice(ODD)
    # A list of names that are taken would be a client's own; without keys nobody can tell them apart.
    request["client"] = "mallory" if request["client"] == "ada" else request["client"]
    return request


def wrong_bytes(rng: random.Random) -> bytes:
    """Return bytes that are no message, or only the beginning of one."""
    noise = rng.randbytes(rng.choice([1, 10, 64, 1000]))
    pyro = b"PYRO" + struct.pack("!HBBH", 502, rng.randrange(9), rng.randrange(9), rng.randrange(65536)) + noise
    zeromq = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + bytes(48) + noise
    return rng.choice([noise, pyro, zeromq, b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + noise])


def throw(address: Address, rng: random.Random) -> None:
    """Throw bytes at one of the three ports, and leave without waiting for anything."""
    with (
        suppress(OSError),
        socket.create_connection((address.host, address.port + rng.randrange(3)), timeout=5.0) as line,
    ):
        line.sendall(wrong_bytes(rng))


def crowd(address: Address, seed: int, commands: int, found: list[str]) -> None:
    """Ask for what must not be done; keep whatever was done all the same."""
    rng, line = random.Random(seed), ControlLine(address, "mallory")
    for number in range(commands):
        if rng.random() < 0.3:
            throw(address, rng)
            continue
        request = wrong_request(rng, number)
        # What cannot even be packed, or ends the connection, was not done.
        with suppress(*UNHEARD), line._proxy() as proxy:
            reply = proxy.call(request)
            if reply["status"] == "done" and request["verb"] in ("set", "acquire", "arm", "hand_over", "renew"):
                found.append(repr(request))
    line.close()


@pytest.mark.timeout(120 + COMMANDS)
def test_a_valid_client_is_served_throughout_and_nobody_else_commands(tmp_path: Path) -> None:
    done: list[str] = []
    with served(tmp_path, "") as bench:
        share = COMMANDS // CROWD
        threads = [
            threading.Thread(target=crowd, args=(bench.address, first_seed() + n, share, done)) for n in range(CROWD)
        ]
        with connect(str(bench.address), purpose="work", name="ada") as ada:
            for thread in threads:
                thread.start()
            served_times = 0
            while any(thread.is_alive() for thread in threads) or served_times < 5:
                assert ada.points("camera", [(0.0, 0.0)], 1e-3).data.shape[0] == 1
                assert ada.guard().armed
                assert ada.lease_lost() is None
                served_times += 1
            for thread in threads:
                thread.join()
            assert ada.state().lease is not None
            ada.blank()
            ada.state()
        folder = bench.folder
    assert done == []
    verdict = verdict_on(folder)
    assert verdict.problems == ()
    lines = [
        json.loads(line) for file in sorted(folder.glob("audit*.jsonl")) for line in file.read_bytes().splitlines()
    ]
    said = [line["word"] for line in lines if line["event"] == "said at the guard"]
    assert [word for word in said if not word.endswith("to prove the chain")] == ["blank"]
    commanded = {line["client"] for line in lines if line["event"] == "done" and line.get("verb") in ("set", "acquire")}
    assert commanded == {"ada"}
    assert sum(line.get("client", "").startswith("mallory") for line in lines) > COMMANDS / 20
    assert any(line["event"] == "turned away" and "not a request" in line["reason"] for line in lines)
    print(f"{COMMANDS} by the crowd, {served_times} measurements meanwhile, {verdict.lines} lines")
