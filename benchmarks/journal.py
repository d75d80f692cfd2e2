"""What a journal costs: commits a second, and how long 100,000 events take to open, tell and continue.

The events are those of a long run: a command, two rows of frames and an arrival for each step.
Commits go through one by one, beside a bare SQLite table with the same settings: what is above
it is ours (JSON, checksum, lock, mark).

    python benchmarks/journal.py --quick
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from figure import Figure, announce, options, spread

from beamloop.active_learning.loop import Loop
from beamloop.active_learning.policy import random
from beamloop.core import (
    DetectorInfo,
    InstrumentInfo,
    InstrumentState,
    Measurement,
    Pool,
    Prediction,
    Region,
    Signal,
    Suggestion,
)
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.record.events import (
    Arrived,
    Budget,
    Commanded,
    Described,
    Ended,
    Event,
    Framed,
    Installed,
    Opened,
    Plugin,
)
from beamloop.edge_client.record.journal import Durability, Journal, read
from beamloop.edge_client.record.run_tables import write_tables
from beamloop.edge_client.record.story import Seen, story_of
from beamloop.edge_client.reporting.report import report
from beamloop.edge_client.resuming import unfinished
from beamloop.edge_client.retelling import Script, retell, suggestions

EVENTS = 100_000
SECONDS = 5.0
"""What each way of using a journal may take."""

SHAPE = (200, 200)
FIELD = Region(y_m=0.0, x_m=0.0, height_m=2e-7, width_m=2e-7)
EXPERIMENT = {
    "name": "long",
    "question": "How long does a long journal take?",
    "pool": {"shape": SHAPE},
    "measure": {"detector": "eels", "dwell_s": 0.01},
    "target": {"name": "edge ratio", "reduction": "spectrum-window"},
    "policy": {"name": "random"},
    "stop": {"points": 40_000},
}


def beginning() -> Iterator[Event]:
    """Give what comes before the first step."""
    experiment, plugin = Experiment.model_validate(EXPERIMENT), Plugin(name="x", entry="here:it", version="0")
    info = InstrumentInfo(
        name="stem", source="simulator", field=FIELD, parameters=(), detectors=(DetectorInfo(name="eels"),)
    )
    yield Opened(
        run="long", experiment="", settings=experiment.model_dump(mode="json"), instrument="simulator", seed=0,
        started="2026-01-01T12:00:00+00:00", durability="process", versions={"beamloop": "0"},
    )  # fmt: skip
    state = InstrumentState(activity="idle", beam="blanked")
    yield Described(address="localhost:7440", protocol=1, version_there="0", info=info, state=state)
    yield Installed(reduction=plugin, policy=plugin, seed=0, candidates=40_000, shape=SHAPE, pool="0" * 64, features="")


def step(number: int) -> Iterator[Event]:
    """Give the events of one step."""
    name, position = f"m{number:04d}", (number * 1e-12, number * 2e-12)
    suggestion = Suggestion(
        candidate=number, position=position, why="largest log expected improvement", score=0.1, mean=1.25, std=0.5
    )
    yield Commanded(
        step=number, measurement_id=name, request_id=f"me/{name}", suggestion=suggestion, decide_s=0.004, react_s=5e-4
    )
    for _ in range(2):
        yield Framed(measurement_id=name, scan_id=f"s{number:06d}", frames=16, nbytes=32_768)
    measured = Measurement(
        measurement_id=name, candidate=number, position=position, value=number / 7, std=0.1, electrons=3e6,
        duration_s=0.0123,
    )  # fmt: skip
    budget = Budget(
        wait_s=1e-3, move_s=2e-3, acquire_s=0.01, produce_s=0.03, transfer_s=2e-3, reduce_s=4e-4, store_s=3e-3
    )
    yield Arrived(measurement=measured, scan_id=f"s{number:06d}", budget=budget)


def written(file: Path, events: int) -> None:
    """Write a whole run of about so many events."""
    with Journal(file) as journal:
        for event in beginning():
            journal.write(event)
        for number in range((events - 4) // 4):
            for event in step(number):
                (journal.note if isinstance(event, Framed) else journal.write)(event)
        journal.write(Ended(outcome="finished", reason="enough"))


def commits_per_s(folder: Path, durability: Durability, events: int) -> float:
    """Return how many single events a second are committed."""
    said = [event for number in range(events // 2) for event in step(number) if not isinstance(event, Framed)]
    with Journal(folder / f"{durability}.sqlite", durability) as journal:
        start = time.perf_counter()
        for event in said:
            journal.write(event)
        return len(said) / (time.perf_counter() - start)


def bare_commits_per_s(folder: Path, durability: Durability, events: int) -> float:
    """Return how many rows a second a table of the standard library takes with the same settings."""
    rows = sqlite3.connect(folder / f"bare-{durability}.sqlite", isolation_level=None)
    rows.execute("PRAGMA journal_mode = WAL")
    rows.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    rows.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, data TEXT)")
    text = next(step(0)).model_dump_json()
    start = time.perf_counter()
    for _ in range(events):
        rows.execute("INSERT INTO events (data) VALUES (?)", (text,))
    taken = time.perf_counter() - start
    rows.close()
    return events / taken


def seen() -> Seen:
    """Return what the run file of such a run holds."""
    axes = FIELD.grid(SHAPE)
    rows, columns = np.meshgrid(*(axis.coordinates() for axis in axes), indexing="ij")
    pool = Pool(np.column_stack([rows.ravel(), columns.ravel()]), shape=SHAPE)
    believed = Prediction(np.sin(np.arange(len(pool)) / 300), np.ones(len(pool)))
    return Seen(pool, Signal(np.sin(rows * 1e8), axes, "intensity", "counts"), believed)


def seconds(action: Callable[[], object], times: int) -> list[float]:
    """Return how long each call took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return taken


def reopened(file: Path) -> None:
    """Open a journal to go on with it, and go on."""
    with Journal.reopened(file) as journal:
        journal.write(next(step(0)))


def resumed(folder: Path) -> None:
    """Do all that resuming does before anything is measured: read, open, and tell the loop where it stood."""
    run = unfinished(folder)
    with Journal.reopened(folder / "journal.sqlite"):
        pool = Pool(np.zeros((SHAPE[0] * SHAPE[1], 2)))
        loop = Loop(Script(random(pool, 0), suggestions(run.past)), run.experiment.stop, ahead=0)
        retell(loop, run.past)
    assert loop.progress.points > 0


def tabled(folder: Path, file: Path) -> Callable[[], None]:
    """Return what writes `/run` of this journal into a new file."""
    entries = read(file)
    story = story_of(entries)

    def action() -> None:
        with h5py.File(folder / "run.h5", "w") as run:
            write_tables(run, story, entries)

    return action


def show_commits(folder: Path, durability: Durability, events: int, times: int, as_json: bool) -> None:
    """Print the rate of commits beside that of a bare table, alternately in the same run."""
    ours, bare = [], []
    for number in range(times):
        here = folder / f"{durability}-{number}"
        here.mkdir()
        ours.append(commits_per_s(here, durability, events))
        bare.append(bare_commits_per_s(here, durability, events))
    Figure(
        f"journal_commits_{durability}", median(ours), "1/s", "higher", None, "bare table", median(bare), times,
        spread(ours),
    ).show(as_json)  # fmt: skip


def main() -> None:
    """Print all figures."""
    asked = options(__doc__).parse_args()
    announce(asked.json)
    events, times, commits = (EVENTS // 5, 3, 200) if asked.quick else (EVENTS, 9, 2000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show_commits(folder, "power", commits, times, asked.json)
        show_commits(folder, "process", 10 * commits, times, asked.json)
        file = folder / "journal.sqlite"
        written(file, events)
        entries = read(file)
        uses: dict[str, Callable[[], object]] = {
            "read": lambda: read(file),
            "story": lambda: story_of(entries),
            "tables": tabled(folder, file),
            "report": lambda: report(story_of(entries), seen()),
            "reopen": lambda: reopened(file),
            "resume": lambda: resumed(folder),
        }
        for use, action in uses.items():
            taken = seconds(action, times)
            Figure(
                f"journal_{events // 1000}k_{use}", median(taken), "s", "lower", SECONDS, n=times, spread=spread(taken)
            ).show(asked.json)


if __name__ == "__main__":
    main()
