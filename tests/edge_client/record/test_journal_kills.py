"""A writer that is killed, at any moment and again and again: every acknowledged event is there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record.events import Noted
from beamloop.edge_client.record.journal import read

KILLS = int(os.environ.get("BEAMLOOP_CRASHES", "8"))

WRITER = """
import sys
from pathlib import Path
from beamloop.edge_client.record.journal import Journal
from beamloop.edge_client.record.events import Noted
file, number, durability = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
journal = (Journal.reopened if file.exists() else Journal)(file, durability)
print("open", flush=True)
while True:
    for _ in range(number % 3):
        journal.note(Noted(text=f"event {number}".ljust(number * 37 % 700)))
        number += 1
    journal.write(Noted(text=f"event {number}".ljust(number * 37 % 700)))
    print(number, flush=True)
    number += 1
"""


def acknowledged_until_killed(file: Path, number: int, rng: random.Random) -> list[str]:
    """Let a writer go on from event `number` and kill it; return what it said until then."""
    # Half of them in the middle of writing, the others while they import, check or make the file.
    lines, wait_s = (rng.choice([0, 1, 30, 300]), 0.0) if rng.random() < 0.5 else (0, rng.uniform(0.2, 1.2))
    command = [sys.executable, "-c", WRITER, str(file), str(number), rng.choice(["process", "power"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        late = threading.Timer(wait_s if lines == 0 else 60.0, writer.kill)
        late.start()
        said = [writer.stdout.readline() for _ in range(lines)]
        if lines:
            writer.kill()
        said += writer.stdout.readlines()
        late.cancel()
        late.join()
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.timeout(60 + 3 * KILLS)
def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    seed = int(os.environ.get("BEAMLOOP_SEED", "0"))
    rng, number, made = random.Random(seed), 0, False
    file = tmp_path / "journal.sqlite"
    for kill in range(KILLS):
        said = acknowledged_until_killed(file, number, rng)
        made = made or bool(said)
        try:
            found = [entry.event for entry in read(file)]
        except RecordingUnreadable:
            assert not made, f"seed {seed}, kill {kill}"
            assert not file.exists(), "a journal appears whole or not at all"
            continue
        assert found == [Noted(text=f"event {n}".ljust(n * 37 % 700)) for n in range(len(found))], f"kill {kill}"
        last = int(said[-1]) if said[1:] else number - 1
        assert len(found) > last, f"seed {seed}, kill {kill}"
        print(f"seed {seed}, kill {kill}: {last - number + 1} acknowledged, {len(found) - number} there")
        number = len(found)
    assert number > 0
