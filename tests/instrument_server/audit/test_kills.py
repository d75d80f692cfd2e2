"""A server that is killed, again and again: every command it has answered is in the audit, which is whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beamloop.instrument_server.audit import verdict_on

from ...failing_disk import CRASHES

KILLS = max(6, CRASHES // 4)

SERVER = """
import sys, threading
from pathlib import Path
from beamloop.core import InstrumentInfo, Parameter, Region, Request
from beamloop.core.limits import Limits
from beamloop.instrument_server.answers import Answers
from beamloop.instrument_server.audit import Audit
from beamloop.instrument_server.desk import Desk
from beamloop.instrument_server.limits.interlock import Interlock
from beamloop.instrument_server.lease.lease import Lease

class Driver:
    def ask(self, verb, timeout_s, **arguments): return {"duration_s": 0.0, "parameters": {}}
    def tell(self, verb, **arguments): ...
    def alive(self): return True

class Guard:
    def say(self, act, **facts): return {"scan": 1, "reason": "", "open": False}

folder, first, durability = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
knob = Parameter(name="x_m", units="m", value=0.0, low=0.0, high=1.0)
info = InstrumentInfo(name="bench", source="hardware", parameters=(knob,), detectors=(),
                      field=Region(y_m=0, x_m=0, height_m=1, width_m=1))
answers, audit = Answers(folder / "answers.sqlite", durability), Audit(folder / "audit.jsonl", durability, full=20_000)
desk = Desk("1", info, Interlock(Limits(info)), Driver(), Guard(), Lease(), answers, audit, lambda: None)
desk.answer(Request(request_id=f"lease{first}", client="ada", verb="lease"))
for number in range(first, first + 100_000):
    plan = {"kind": "set", "values": {"x_m": number % 3 / 1.9}}
    reply = desk.answer(Request(request_id=f"r{number}", client="ada", verb="set", arguments={"plan": plan}))
    print(number, reply.status, flush=True)
"""


def answered_until_killed(folder: Path, first: int, rng: random.Random) -> list[tuple[str, str]]:
    command = [sys.executable, "-c", SERVER, str(folder), str(first), rng.choice(["process", "power"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        late = threading.Timer(60.0, server.kill)
        late.start()
        said = [server.stdout.readline() for _ in range(rng.choice([1, 30, 200]))]
        server.kill()
        said += server.stdout.readlines()
        late.cancel()
        late.join()
    return [(f"r{line.split()[0]}", line.split()[1]) for line in said if line.endswith("\n")]


@pytest.mark.timeout(60 + 5 * KILLS)
def test_every_answered_command_is_in_the_audit_however_often_the_server_is_killed(tmp_path: Path) -> None:
    rng, answered = random.Random(0), []
    for kill in range(KILLS):
        answered += answered_until_killed(tmp_path, 1_000_000 * kill, rng)
    files = sorted(tmp_path.glob("audit*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    told = {(line["request"], line["event"]) for line in lines if line.get("verb") == "set"}
    assert len(answered) > KILLS
    assert {status for _, status in answered} == {"done", "refused"}
    assert set(answered) <= told
    assert {(name, "asked") for name, _ in answered} <= told
    # Half a line at the very end is what a kill may leave; nothing else is.
    assert all("ends in half a line" in problem for problem in verdict_on(tmp_path).problems)
