"""The promises hold over a real network that is not kind: the kernel's TCP on both sides, packets lost and overtaking.

The instrument is served in a network namespace of its own, with keys, as one that listens to a network must be. A
fault's seed is its number: `BEAMLOOP_SEED=17 BEAMLOOP_FAULTS=1 python -m pytest tests/faults/test_network.py -s`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beamloop.instrument_server.keys.making import add_key, make_folder
from beamloop.instrument_server.keys.place import Place

from ..nursery import Nursery
from ..served import Served
from ..short_run import EXPERIMENT
from .amount import amount, first_seed
from .network import CALM, HERE, PARTED, THERE, Network, Weather, lacking
from .test_real_processes import GRACE_S, LEASE_S, PACED, brought_to_its_end, goes_on, until, wait_for_a_moment

RUNS = amount(1, 30)
SCANS = amount(2, 60)

WEATHERS = {
    "late": Weather(late_s=0.05),
    "overtaking": Weather(uneven_s=0.04),
    "lossy": Weather(late_s=0.005, lost=0.05),
    "storm": Weather(late_s=0.01, uneven_s=0.03, lost=0.03, doubled=0.1),
}
PARTINGS = ("parted", "down here", "down there")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if why := lacking():
        pytest.skip(why)
    with Network(first_seed()) as network:
        yield network


@pytest.fixture(scope="module")
def keyed(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make keys, and let everybody who connects show one of them; return the instrument's folder of keys."""
    home = tmp_path_factory.mktemp("keyed")
    make_folder(Place(home / "keys"))
    add_key(Place(home / "keys"), "ada", "operator", 1.0, home / "ada.key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEAMLOOP_KEY", str(home / "ada.key"))
        yield home / "keys"


@pytest.fixture(scope="module")
def nursery(keyed: Path) -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@contextmanager
def serving_far(folder: Path, config: str, keys: Path, network: Network) -> Iterator[Served]:
    file = folder / "instrument.toml"
    file.write_text(f'keys = "{keys}"\nlisten = "{THERE}"\n{config}')
    served = Served(folder / "state", str(file), THERE, network.inside)
    try:
        yield served
    finally:
        network.mend()
        served.down()


@pytest.fixture(scope="module")
def simulator(network: Network, keyed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = PACED.replace("pace = 1.0", "")
    with serving_far(tmp_path_factory.mktemp("simulator"), config, keyed, network) as served:
        yield served


@pytest.fixture(scope="module")
def paced(network: Network, keyed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_far(tmp_path_factory.mktemp("paced"), PACED, keyed, network) as served:
        yield served


@pytest.fixture
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("experiment") / "short.toml"
    file.write_text(EXPERIMENT)
    return file


def part(network: Network, how: str) -> None:
    """Let nothing pass any more: silently, or with one of the two sides told that its link is down."""
    if how == "parted":
        network.weather = PARTED
    else:
        network.link(HERE if how == "down here" else THERE, up=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(first_seed(), first_seed() + RUNS))
def test_a_run_in_bad_weather_and_parted_from_its_instrument_comes_to_its_end(
    seed: int, network: Network, nursery: Nursery, simulator: Served, experiment: Path, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    address, carried = simulator.up(), network.carried
    name = [*WEATHERS][seed % len(WEATHERS)]
    parting, parted_s = dice.choice(PARTINGS), dice.choice((0.1, 0.5, 2.0))
    network.weather = WEATHERS[name]
    client = nursery.run(experiment, address, tmp_path)
    wait_for_a_moment(dice, tmp_path)
    part(network, parting)
    time.sleep(parted_s)
    network.mend()
    network.weather = WEATHERS[name]
    print(f"seed {seed}: {name}, then {parting} for {parted_s} s")
    try:
        brought_to_its_end(nursery, client, tmp_path, simulator, address, network.mend)
    finally:
        network.mend()
    assert network.carried > carried, "the run went by another way"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(first_seed(), first_seed() + SCANS))
def test_the_beam_is_dark_in_time_when_the_network_parts_and_the_next_client_goes_on(
    seed: int, network: Network, nursery: Nursery, paced: Served
) -> None:
    dice = random.Random(seed)
    parting, name = PARTINGS[seed % len(PARTINGS)], dice.choice(["calm", *WEATHERS])
    weather = WEATHERS.get(name, CALM)
    network.mend()
    client = nursery.scan(paced.up())
    assert until(paced.beam_is_open, 30.0) < 30.0, "the scan never began"
    network.weather = weather
    time.sleep(dice.uniform(0.05, 0.8))
    part(network, parting)
    dark_s = until(lambda: not paced.beam_is_open(), LEASE_S + 5.0)
    print(f"seed {seed}: {name}, then {parting}: dark after {1e3 * dark_s:.0f} ms")
    stays = until(paced.beam_is_open, 0.3)
    network.mend()
    # What was under way when the client's link went down still arrives, and may have renewed the lease.
    longest_s = LEASE_S + GRACE_S + weather.late_s + weather.uneven_s
    assert dark_s <= longest_s, f"the beam was open {dark_s:.3f} s after the network parted"
    assert stays >= 0.3, "the beam opened again by itself"
    assert nursery.ended(client, 60) is not None, "the client neither ended nor went on"
    goes_on(paced)
    assert max(paced.requests().values()) == 1, "a command was done twice"


@pytest.mark.parametrize("end", [HERE, THERE])
def test_what_is_parted_is_parted_at_once_and_mended(end: str, network: Network, paced: Served) -> None:
    """Else the other tests would prove nothing."""
    goes_on(paced)
    for way in (lambda: network.link(end, up=False), lambda: setattr(network, "weather", PARTED)):
        way()
        time.sleep(0.05)
        carried = network.carried
        time.sleep(0.3)
        assert network.carried == carried
        network.mend()
        goes_on(paced)
        assert network.carried > carried
