"""Client, server, driver, guard or all of them are killed at random moments of a run, and the run is resumed.

Whatever was killed when: nothing is done twice without being told as interrupted, nothing that was stored is
lost, and every decision is the one that the journal's events lead to.

`BEAMLOOP_CRASHES=200` makes 200 kills; each prints its seed, and `BEAMLOOP_SEED` begins at another.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from beamloop.edge_client.record.journal import read
from beamloop.edge_client.record.run_folder import RunFolder

from ..nursery import Nursery
from ..served import Served
from ..short_run import EVENTS, EXPERIMENT, Left, asked_in, check, left_in, run_in, written

KILLS = int(os.environ.get("BEAMLOOP_CRASHES", "20"))
FIRST_SEED = int(os.environ.get("BEAMLOOP_SEED", "0"))
VICTIMS = ("client", "server", "driver", "guard", "all")


@contextmanager
def killed_where_proc_tells() -> Iterator[None]:
    if not Path("/proc/self/task").exists():
        pytest.skip("this test finds its victims in /proc, which only Linux has")
    yield


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with killed_where_proc_tells(), Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("state"))
    yield served
    served.down()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("experiment") / "short.toml"
    file.write_text(EXPERIMENT)
    return file


@pytest.fixture(scope="module")
def whole_s(nursery: Nursery, served: Served, experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a run takes that nobody kills, wall seconds."""
    took = 0.0
    for name in ("first, with cold caches", "second"):
        parent = tmp_path_factory.mktemp(name)
        address, start = served.up(), time.monotonic()
        assert nursery.ended(nursery.run(experiment, address, parent), 60) == 0
        took = time.monotonic() - start
        check(run_in(parent), served, None)
    return took


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + KILLS))
def test_a_killed_run_is_resumed_to_its_end(
    seed: int, nursery: Nursery, served: Served, experiment: Path, whole_s: float, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    victim, times = VICTIMS[seed % len(VICTIMS)], 1 + (dice.random() < 0.25)
    client = nursery.run(experiment, served.up(), tmp_path)
    left: list[Left] = []
    for again in range(times):
        moment = wait_for_a_moment(dice, whole_s, tmp_path)
        print(f"seed {seed}: {victim} killed {'again ' if again else ''}{moment}")
        kill(victim, client, nursery, served)
        folder = run_in(tmp_path)
        if folder is None:
            break
        left.append(left_in(folder))
        address = served.up()
        client = nursery.resume(folder, address) if left[-1].entries else 0
    folder = run_in(tmp_path)
    if folder is None or not left[-1].entries:
        assert not any(request in served.requests() for request in asked_in(folder)), "nothing was begun"
        return
    status = nursery.ended(client, 90)
    last = read(RunFolder(folder).journal)[-1].event
    assert status == 0 or (status == 70 and RunFolder(folder).report.exists()), (status, last)
    for before in left:
        check(folder, served, before)


def wait_for_a_moment(dice: random.Random, whole_s: float, parent: Path) -> str:
    """Wait for a random time, or for a random number of events and a little more; say which it was."""
    if dice.random() < 0.25:
        moment_s = dice.uniform(0.0, whole_s)
        time.sleep(moment_s)
        return f"{moment_s:.3f} s after the start"
    count, more_s, until = dice.randint(1, EVENTS), dice.uniform(0.0, 0.02), time.monotonic() + whole_s
    while written(parent) < count and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(more_s)
    return f"{1e3 * more_s:.1f} ms after {count} events, at {written(parent)}"


def kill(victim: str, client: int, nursery: Nursery, served: Served) -> None:
    """Kill the victim; a client that lives notices by itself that its instrument is gone."""
    if victim in ("client", "all"):
        with suppress(ProcessLookupError):
            os.kill(client, signal.SIGKILL)
    if victim != "client":
        served.kill(victim)
    assert nursery.ended(client, 60) is not None, "a client whose instrument died ends within a bound"
