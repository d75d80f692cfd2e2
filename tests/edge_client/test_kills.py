"""Client, server, driver, guard or all of them are killed at random moments of a run, and the run is resumed.

Whatever was killed when: nothing is done twice without being told as interrupted, nothing that was stored is
lost, and every decision is the one that the journal's events lead to.

`BEAMLOOP_CRASHES=200` makes 200 kills; each prints its seed, and `BEAMLOOP_SEED` begins at another.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from beamloop.edge_client.record import events
from beamloop.edge_client.record.disk import opened
from beamloop.edge_client.record.journal import Entry, read
from beamloop.edge_client.record.journal_mark import writing_process
from beamloop.edge_client.record.read_back import seen_in
from beamloop.edge_client.record.rows import rows_of
from beamloop.edge_client.record.run_folder import RunFolder
from beamloop.edge_client.record.story import story_of
from beamloop.edge_client.replaying import replayed

from ..nursery import Nursery
from ..served import Served

KILLS = int(os.environ.get("BEAMLOOP_CRASHES", "20"))
FIRST_SEED = int(os.environ.get("BEAMLOOP_SEED", "0"))
VICTIMS = ("client", "server", "driver", "guard", "all")
POINTS = 12
EVENTS = 3 * POINTS + 10
"""As many as the journal of such a run holds."""

EXPERIMENT = f"""
name = "short"
question = "Does it survive?"
seed = 1
[pool]
shape = [10, 10]
[overview]
detector = "haadf"
shape = [64, 64]
dwell_s = 4e-6
[measure]
detector = "eels"
dwell_s = 0.05
[target]
name = "edge ratio"
reduction = "spectrum-window"
[target.settings]
combine = "ratio"
window = [705.0, 735.0]
background = [640.0, 700.0]
[features]
size_m = 8e-9
components = 4
[policy]
name = "gp-features"
[policy.settings]
first = 4
growth = 1.5
[stop]
points = {POINTS}
"""


@dataclass(frozen=True)
class Left:
    """What a kill left behind."""

    folder: Path
    entries: list[Entry]
    rows: dict[str, np.ndarray]


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


def written(parent: Path) -> int:
    """Return how many events the journal holds, without a look at what they say."""
    folder = run_in(parent)
    if folder is None:
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{folder}/journal.sqlite?mode=ro", uri=True)) as rows:
        return rows.execute("SELECT count(*) FROM events").fetchone()[0]
    return 0


def kill(victim: str, client: int, nursery: Nursery, served: Served) -> None:
    """Kill the victim; a client that lives notices by itself that its instrument is gone."""
    if victim in ("client", "all"):
        with suppress(ProcessLookupError):
            os.kill(client, signal.SIGKILL)
    if victim != "client":
        served.kill(victim)
    assert nursery.ended(client, 60) is not None, "a client whose instrument died ends within a bound"


def run_in(parent: Path) -> Path | None:
    return next((path for path in parent.iterdir() if (path / "journal.sqlite").exists()), None)


def asked_in(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    entries = read(RunFolder(folder).journal)
    return [e.event.request_id for e in entries if isinstance(e.event, (events.Commanded, events.Asked))]


def left_in(folder: Path) -> Left:
    assert writing_process(RunFolder(folder).journal) is None
    return Left(folder, read(RunFolder(folder).journal), frames_in(folder))


def frames_in(folder: Path) -> dict[str, np.ndarray]:
    """Return every row of the run file by its measurement."""
    if not RunFolder(folder).run_file.exists():
        return {}
    with opened(RunFolder(folder).run_file) as file:
        rows = rows_of(file)
        return {} if rows is None else {name: rows.read(row)[1] for row, name in enumerate(rows.measurement_ids)}


def check(folder: Path | None, served: Served, before: Left | None) -> None:
    """Hold a run that came to its end against what was promised."""
    assert folder is not None
    entries = read(RunFolder(folder).journal)
    story = story_of(entries)
    assert story.ended is not None
    assert (story.ended.outcome, len(story.measurements)) == ("finished", POINTS)
    check_commands(entries, served)
    check_frames(folder, entries, before)
    if before is not None:
        assert entries[: len(before.entries)] == before.entries, "a journal only grows"
    again = replayed(entries, story, seen_in(RunFolder(folder).run_file, story).pool)
    assert again.first_difference is None, again.first_difference.told()
    off = [decision.belief_off for decision in again.decisions]
    assert np.nanmax([*off, 0.0]) < 1e-6
    assert len(again.decisions) >= POINTS


def check_commands(entries: list[Entry], served: Served) -> None:
    """Every command was done once at most, and ended in exactly one way."""
    said = [entry.event for entry in entries]
    ends = Counter(e.measurement.measurement_id for e in said if isinstance(e, events.Arrived))
    ends += Counter(e.measurement_id for e in said if isinstance(e, (events.Declined, events.Interrupted)))
    commanded = {e.measurement_id: e for e in said if isinstance(e, events.Commanded)}
    assert {name: ends[name] for name in commanded} == dict.fromkeys(commanded, 1)
    done = served.requests()
    assert max(done.values()) == 1, "a request is done once"
    arrived = {e.measurement.measurement_id for e in said if isinstance(e, events.Arrived)}
    assert all(done[commanded[name].request_id] == 1 for name in arrived), "a value was measured"


def check_frames(folder: Path, entries: list[Entry], before: Left | None) -> None:
    """Every value has its frame in the run file, and what was stored before the kill is still there and was used."""
    frames = frames_in(folder)
    arrived = {
        e.event.measurement.measurement_id: e.event.measurement for e in entries if isinstance(e.event, events.Arrived)
    }
    assert set(arrived) <= set(frames)
    for name, measurement in arrived.items():
        assert measurement.value == pytest.approx(ratio(frames[name]), rel=1e-12)
    for name, frame in ({} if before is None else before.rows).items():
        np.testing.assert_array_equal(frames[name], frame)
        assert name in arrived, "what was stored was not measured again"


def ratio(spectrum: np.ndarray) -> float:
    energy = 580.0 + 1.25 * np.arange(len(spectrum))
    sums = [spectrum[(energy >= low) & (energy <= high)].astype(float).sum() for low, high in ((705, 735), (640, 700))]
    return sums[0] / sums[1]
