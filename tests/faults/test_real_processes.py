"""The promises hold with real processes, sockets and disks: 300 faults, of which `make test` tries some.

A hundred fall into an autonomous run behind a proxy, which must then be resumed to its end with nothing doubled
and nothing lost; two hundred fall into a long scan with an open beam, which must be dark in time. A fault's seed
is its number: `BEAMLOOP_SEED=17 BEAMLOOP_FAULTS=1 python -m pytest tests/faults/test_real_processes.py -s`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from beamloop.core import BeamloopError, PointScan
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.guard_line import say
from beamloop.edge_client.instrument import connect
from beamloop.edge_client.record.run_folder import RunFolder

from ..nursery import Nursery
from ..served import Served
from ..short_run import EVENTS, EXPERIMENT, Left, check, left_in, run_in, written
from .amount import amount, first_seed
from .proxy import PORTS, Proxy

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds its victims in /proc: Linux only")

RUNS = amount(4, 100)
SCANS = amount(6, 200)
IS_FULL = bool(os.environ.get("BEAMLOOP_FAULTS"))

LEASE_S = 1.0
"""Lease of the client, lease of the beam, and longest silence of server and driver alike."""

GRACE_S = 0.05 if IS_FULL else 2.0
"""How much later the beam may be dark. A machine that runs other tests meanwhile can be late itself."""

CONFIG = f"""
lease_s = {LEASE_S}
silence_s = {LEASE_S}
[instrument]
plugin = "PLUGIN"
"""
PACED = CONFIG.replace("PLUGIN", "simulator") + "settings = { pace = 1.0 }\n"
NETWORK = ("cut", "stall", "swallow", "slow", "eat")
PROCESSES = ("kill", "pause")
NAMES = ("server", "driver", "guard", "client")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@contextmanager
def serving(folder: Path, config: str) -> Iterator[Served]:
    (folder / "instrument.toml").write_text(config)
    served = Served(folder / "state", str(folder / "instrument.toml"))
    try:
        yield served
    finally:
        served.down()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("simulator"), CONFIG.replace("PLUGIN", "simulator")) as served:
        yield served


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("paced"), PACED) as served:
        yield served


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("experiment") / "short.toml"
    file.write_text(EXPERIMENT)
    return file


class Scene:
    """An instrument, a proxy before it and a client behind that, with faults that can be undone."""

    def __init__(self, served: Served, proxy: Proxy, dice: random.Random) -> None:
        self.served, self.proxy, self.dice, self.client = served, proxy, dice, 0
        self._paused: list[int] = []
        self.told: list[str] = []

    def strike(self, kind: str, who: str) -> None:
        """Let something go wrong."""
        self.told.append(f"{kind} {who}")
        ports = PORTS if who == "all" else (who,)
        match kind:
            case "cut":
                self.proxy.cut(*ports)
            case "stall":
                self.proxy.stall(*ports)
            case "swallow":
                self.proxy.swallow(*ports)
            case "slow":
                self.proxy.slow(0.05, 2e5, *ports)
            case "eat":
                self.proxy.eat_reply(self.dice.randrange(6))
            case "kill" | "pause":
                for pid in [self.client] if who == "client" else self.served.pids(who):
                    self._signal(kind, pid)

    def _signal(self, kind: str, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            self._paused += [pid] if kind == "pause" else []

    def mend(self) -> None:
        """Undo what can be undone."""
        self.proxy.heal()
        while self._paused:
            with suppress(ProcessLookupError):
                os.kill(self._paused.pop(), signal.SIGCONT)


@contextmanager
def scene(served: Served, dice: random.Random) -> Iterator[Scene]:
    address = served.up()
    there = [int(address.rpartition(":")[2])]
    with Proxy(lambda: there[0]) as proxy:
        made = Scene(served, proxy, dice)
        made.proxy_follows = lambda: there.__setitem__(0, int(served.up().rpartition(":")[2]))  # type: ignore[attr-defined]
        try:
            yield made
        finally:
            made.mend()
            if made.client:
                with suppress(ProcessLookupError):
                    os.kill(made.client, signal.SIGKILL)


def until(condition: Callable[[], bool], within_s: float) -> float:
    """Wait for something and return how long it took, at most `within_s`."""
    started = time.monotonic()
    while not condition() and time.monotonic() - started < within_s:
        time.sleep(0.001)
    return time.monotonic() - started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(first_seed(), first_seed() + RUNS))
def test_a_disturbed_run_is_resumed_to_its_end(
    seed: int, nursery: Nursery, simulator: Served, experiment: Path, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    kind = (*NETWORK, *PROCESSES)[seed % 7]
    served = simulator
    with scene(served, dice) as made:
        address = f"127.0.0.1:{made.proxy.port}"
        made.client = nursery.run(experiment, address, tmp_path)
        wait_for_a_moment(dice, tmp_path)
        made.strike(kind, dice.choice(NAMES if kind in PROCESSES else (*PORTS[:2], "all")))
        time.sleep(dice.choice((0.1, 0.5, 2.0)))
        made.mend()
        print(f"seed {seed}: {', '.join(made.told)}")
        brought_to_its_end(nursery, made.client, tmp_path, served, address, made.proxy_follows)  # type: ignore[attr-defined]


def brought_to_its_end(
    nursery: Nursery, client: int, parent: Path, served: Served, address: str, before: Callable[[], object]
) -> None:
    """Resume a run as often as it needs, calling `before` each time, and hold it against what was promised."""
    left: list[Left] = []
    for _ in range(4):
        status = nursery.ended(client, 90)
        assert status is not None, "the client neither ended nor went on"
        folder = run_in(parent)
        if status == 0 or folder is None:
            break
        left.append(left_in(folder))
        if not left[-1].entries:
            break
        before()
        client = nursery.resume(folder, address)
    folder = run_in(parent)
    if folder is None or (left and not left[-1].entries):
        return
    assert RunFolder(folder).report.exists()
    for found in left or [None]:
        check(folder, served, found)


def wait_for_a_moment(dice: random.Random, parent: Path) -> None:
    count, more_s, end = dice.randint(1, EVENTS), dice.uniform(0.0, 0.02), time.monotonic() + 20.0
    while written(parent) < count and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(more_s)


FAULTS = [
    *((kind, who) for kind in PROCESSES for who in NAMES),
    *((kind, who) for kind in ("cut", "swallow", "stall") for who in ("control", "all")),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(first_seed(), first_seed() + SCANS))
def test_the_beam_is_dark_in_time_and_the_next_client_goes_on(seed: int, nursery: Nursery, paced: Served) -> None:
    dice = random.Random(seed)
    faults = [FAULTS[seed % len(FAULTS)]]
    if dice.random() < 0.3:
        faults.append(dice.choice([fault for fault in FAULTS if fault[1] != faults[0][1]]))
    with scene(paced, dice) as made:
        made.client = nursery.scan(f"127.0.0.1:{made.proxy.port}")
        assert until(paced.beam_is_open, 30.0) < 30.0, "the scan never began"
        time.sleep(dice.uniform(0.05, 0.8))
        assert paced.beam_is_open(), "the beam went dark before anything was wrong"
        for fault in faults:
            made.strike(*fault)
        dark_s = until(lambda: not paced.beam_is_open(), LEASE_S + 5.0)
        print(f"seed {seed}: {', '.join(made.told)}: dark after {1e3 * dark_s:.0f} ms")
        stays = until(paced.beam_is_open, 0.3)
        made.mend()
        assert dark_s <= LEASE_S + GRACE_S, f"the beam was open {dark_s:.3f} s after {made.told}"
        assert stays >= 0.3, "the beam opened again by itself"
        assert nursery.ended(made.client, 60) is not None, "the client neither ended nor went on"
        made.client = 0
        goes_on(paced)
    assert max(paced.requests().values()) == 1, "a command was done twice"


def goes_on(served: Served) -> None:
    """Let another client measure something whole, on an instrument that may have to be started again."""
    address = served.up()
    end = time.monotonic() + 30.0
    while True:
        try:
            with connect(address, name=f"after-{time.monotonic_ns()}") as instrument, instrument.lease("to go on"):
                if not instrument.guard().armed:
                    instrument.arm()
                plan = PointScan(detector="haadf", points=((0.0, 0.0), (1e-9, 0.0)), dwell_s=1e-3)
                assert instrument.acquire(plan).valid is None
                return
        except BeamloopError:
            # The lease of the one before runs out, a driver that was paused catches up.
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_the_reply_to_each_command_of_a_session_is_lost_and_none_is_done_twice(simulator: Served) -> None:
    """One after another, over real sockets; the virtual world does it ten thousand times."""
    dice = random.Random(first_seed())
    with scene(simulator, dice) as made:
        address = Address("127.0.0.1", made.proxy.port)
        with connect(str(address), name="eaten") as instrument, instrument.lease("replies are lost"):
            instrument.arm()
            before = simulator.requests()
            for number in range(amount(10, 60)):
                made.proxy.eat_reply(0)
                if number % 2:
                    plan = PointScan(detector="haadf", points=((0.0, 1e-9 * number),), dwell_s=1e-5)
                    assert instrument.acquire(plan, f"eaten-{number}").metadata["measurement_id"] == f"eaten-{number}"
                else:
                    instrument.move(defocus_m=1e-9 * number)
                    assert instrument.read("defocus_m") == pytest.approx(1e-9 * number)
            assert say(address, "state").armed
        done = simulator.requests() - before
        assert made.proxy.eaten == amount(10, 60)
        assert list(done.values()) == [1] * (amount(10, 60) // 2)


def test_the_proxy_leaves_no_thread() -> None:
    with Proxy(lambda: 1):
        assert any(thread.name == "proxy" for thread in threading.enumerate())
    assert not any(thread.name == "proxy" for thread in threading.enumerate())
