"""Server, guard, driver and clients keep their promises under every schedule of faults, and get on in the calm after.

The programs are the real ones, in virtual time (`virtual/`). `make test-faults` plays 100,000 schedules; each can be
played again: `python tests/faults/play.py SEED --log`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .amount import amount, first_seed
from .virtual.schedule import FAULTS, play

PLAY = Path(__file__).with_name("play.py")
SCHEDULES = amount(300, 100_000)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the driver's log of misbehaving plugins out of the output; there is a lot of it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(6 * 3600)
def test_no_schedule_of_faults_breaks_a_promise_and_calm_always_brings_progress() -> None:
    command = [sys.executable, str(PLAY), str(first_seed()), "--count", str(SCHEDULES)]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()[-1])
    met, failed = Counter(told["met"]), told["failed"]
    print(f"{told['played']} schedules in {told['took_s']:.0f} s on {told['processes']} processes; met: {dict(met)}")
    replay = "".join(f"\npython tests/faults/play.py {seed} --log    # {why}" for seed, why in failed.items())
    assert not told["failures"], f"{told['failures']} schedules broke a promise:{replay}"
    assert told["played"] == SCHEDULES
    wanted = SCHEDULES // 50
    assert all(met[name] > wanted for name in FAULTS), f"the schedules did not reach every fault: {met}"
    assert min(met["done"], met["cut"], met["refused"], met["asked again"]) > wanted, met
    assert min(met["seen to its end"], met["read to its end"], met["frames lost"]) > wanted // 10, met


def test_the_same_seed_gives_the_same_history() -> None:
    for seed in range(first_seed(), first_seed() + amount(20, 1000)):
        assert "\n".join(play(seed).log).encode() == "\n".join(play(seed).log).encode(), f"seed {seed}"
