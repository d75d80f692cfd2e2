"""Server, guard, driver and clients keep their promises under every schedule of faults, and get on in the calm after.

The programs are the real ones, in virtual time (`virtual/`). `make test-faults` plays 100,000 schedules; each can be
played again: `python tests/faults/play.py SEED --log`.
"""

from __future__ import annotations

import json
import logging
import os
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
    workers = min(os.cpu_count() or 1, 8, SCHEDULES)
    share = -(-SCHEDULES // workers)
    firsts = range(first_seed(), first_seed() + SCHEDULES, share)
    processes = [
        subprocess.Popen(
            [sys.executable, str(PLAY), str(first), "--count", str(share)], stdout=subprocess.PIPE, text=True
        )
        for first in firsts
    ]
    told = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    failed = {seed: why for one in told for seed, why in one["failed"].items()}
    met = sum((Counter(one["met"]) for one in told), Counter())
    took_s = max(one["took_s"] for one in told)
    print(f"{share * len(told)} schedules in {took_s:.0f} s on {workers} processes; met: {dict(met)}")
    replay = "".join(f"\npython tests/faults/play.py {seed} --log    # {why}" for seed, why in failed.items())
    assert not failed, f"{len(failed)} schedules broke a promise:{replay}"
    wanted = SCHEDULES // 50
    assert all(met[name] > wanted for name in FAULTS), f"the schedules did not reach every fault: {met}"
    assert min(met["done"], met["cut"], met["refused"], met["asked again"]) > wanted, met


def test_the_same_seed_gives_the_same_history() -> None:
    for seed in range(first_seed(), first_seed() + amount(20, 1000)):
        assert "\n".join(play(seed).log).encode() == "\n".join(play(seed).log).encode(), f"seed {seed}"
