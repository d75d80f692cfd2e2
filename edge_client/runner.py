"""One autonomous experiment from its file to its report.

Check, look, decide and measure, ask for the truth where somebody knows it, write down.
What was measured is kept and told, however the run ends.
"""

from __future__ import annotations

import importlib.metadata
import platform
import queue
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..active_learning.loop import Loop
from ..core import BeamloopError, NotArmed, Policy, Pool, Signal
from ..core.registry import POLICIES, REDUCTIONS
from .conductor import PATIENCE, Conductor, Inbox, StopWished
from .experiment import Experiment
from .instrument import RemoteInstrument
from .interrupt import interruptible
from .measuring import Measuring
from .plugins import installed, made
from .preparation import Preparation, prepare
from .progress import Onlooker, Silence
from .record.events import Described, Ended, Installed, Leased, Noted, Opened
from .record.journal import Durability, Journal, read
from .record.run_file import RunFile
from .record.run_folder import RunFolder, new_run_folder
from .record.story import Seen, Story, story_of
from .reporting.report import report
from .side_scans import SideScans, digest
from .thinking import Thinking

TOLD = ("numpy", "scipy", "torch", "gpytorch", "scikit-learn", "h5py", "pyzmq", "Pyro5", "pydantic")
"""Packages whose versions are kept with a run."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked to do.

    Attributes
    ----------
    experiment, text
        The experiment as values, and its file as it stands.
    instrument
        Where it runs, in the words of who asked.
    parent
        Folder in which the run folder is made.
    arm
        Whether an instrument that was stopped may be armed again.
    """

    experiment: Experiment
    text: str
    instrument: str
    parent: Path = Path("runs")
    arm: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended, where it lies and what it tells."""

    folder: RunFolder
    ended: Ended
    story: Story
    seen: Seen


def run_experiment(
    request: RunRequest,
    instrument: RemoteInstrument,
    onlooker: Onlooker | None = None,
    clock: Callable[[], float] = time.perf_counter,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Finished:
    """Run an experiment on an instrument and return how it ended.

    Parameters
    ----------
    request
        What to do.
    instrument
        Where, connected; the lease is taken and given back here.
    onlooker
        Who is told how it goes.
    clock
        Monotonic seconds, for time budgets.
    today
        Date and time, for the folder's name.

    Raises
    ------
    BeamloopError
        Before the first decision: what does not fit, is refused or cannot be reached.
    KeyboardInterrupt
        On the second Ctrl-C.
    """
    told = onlooker or Silence()
    prepared = prepare(request.experiment, instrument.info)
    with instrument.lease(f"run {request.experiment.name}"), ExitStack() as stack:
        _make_ready(instrument, request.arm)
        started = today()
        folder = new_run_folder(request.parent, request.experiment.name, started, request.text)
        told.note(f"instrument: {instrument.info.name} ({instrument.info.source}) at {instrument.address}")
        told.note(f"run folder: {folder.path}")
        for note in prepared.notes:
            told.note(note)
        journal = stack.enter_context(_opened(request, prepared, instrument, folder, started))
        # Every candidate is measured once at most; rows that stay empty take no space.
        file = RunFile(folder.run_file, capacity=len(prepared.pool), swmr=request.experiment.swmr)
        stack.callback(file.close)
        ended, seen = _through(instrument, prepared, journal, file, told, clock)
        entries = read(folder.journal)
        story = story_of(entries)
        _put_found(file, prepared, story, seen)
        file.put_journal(story, entries)
    told.note("writing the report")
    folder.report.write_text(report(story, seen), encoding="utf-8")
    return Finished(folder, ended, story, seen)


def _through(
    instrument: RemoteInstrument,
    prepared: Preparation,
    journal: Journal,
    file: RunFile,
    told: Onlooker,
    clock: Callable[[], float],
) -> tuple[Ended, Seen]:
    """Look, decide and measure, and ask for the truth."""
    inbox: Inbox = queue.SimpleQueue()
    # One client may run several times, and the server answers a request name only once.
    asker = f"{instrument.client}/{secrets.token_hex(4)}"
    scans, experiment = SideScans(instrument, prepared, journal, asker), prepared.experiment
    with interruptible(lambda reason: inbox.put(StopWished(reason))):
        try:
            told.note("taking the overview" if prepared.overview else "no overview was asked for")
            overview = scans.overview(file)
            pool = prepared.with_features(overview)
            thinking = Thinking(_policy(experiment, pool, journal), clock)
        except BeamloopError as error:
            journal.write(Ended(outcome="failed", reason=f"{type(error).__name__}: {error}"))
            raise
        loop = Loop(thinking, experiment.stop, experiment.ahead, patience=PATIENCE)
        conductor = Conductor(loop, thinking, journal, inbox, told, asker, clock)
        ended = conductor.conduct(Measuring(instrument, prepared, file, inbox.put, clock))
        truth = None if conductor.halted else _truth(scans, instrument, journal, told)
    best = None if conductor.best_row is None else file.frame(conductor.best_row)
    return ended, Seen(pool, overview, thinking.belief(), truth, best)


def _make_ready(instrument: RemoteInstrument, arm: bool) -> None:
    activity = instrument.state().activity
    if activity in ("stopped", "paused") and not arm:
        raise NotArmed(
            f"{instrument.info.name} is {activity} by a person; if it is safe to go on, run again with --arm"
        )
    if activity in ("stopped", "paused"):
        instrument.arm()


def _opened(
    request: RunRequest, prepared: Preparation, instrument: RemoteInstrument, folder: RunFolder, started: datetime
) -> Journal:
    """Return the new journal with what is known before the first exposure."""
    experiment, there = request.experiment, instrument.description
    durability: Durability = experiment.durability or ("power" if there.info.source == "hardware" else "process")
    opened = Opened(
        run=folder.path.name, experiment=request.text, settings=experiment.model_dump(mode="json"),
        instrument=request.instrument, seed=experiment.seed, started=started.isoformat(timespec="seconds"),
        durability=durability, versions=_versions(),
    )  # fmt: skip
    described = Described(
        address=str(instrument.address), protocol=there.protocol, version_there=there.version, info=there.info,
        state=instrument.state(),
    )  # fmt: skip
    leased = Leased(client=instrument.client, purpose=f"run {experiment.name}")
    journal = Journal(folder.journal, durability)
    for event in (opened, described, leased, *(Noted(text=note) for note in prepared.notes)):
        journal.write(event)
    return journal


def _policy(experiment: Experiment, pool: Pool, journal: Journal) -> Policy:
    choice, target = experiment.policy, experiment.target
    policy: Policy = made(POLICIES, choice.name, choice.settings, "[policy.settings]", pool, experiment.seed)
    journal.write(
        Installed(
            reduction=installed(REDUCTIONS, target.reduction, target.settings),
            policy=installed(POLICIES, choice.name, choice.settings),
            seed=experiment.seed,
            candidates=len(pool),
            shape=pool.shape,
            pool=digest(pool.positions),
            features="" if pool.features is None else digest(pool.features),
        )
    )
    return policy


def _truth(
    scans: SideScans, instrument: RemoteInstrument, journal: Journal, told: Onlooker
) -> NDArray[np.float64] | None:
    if not instrument.info.expects:
        return None
    told.note("asking for the truth, to compare with")
    try:
        return scans.truth()
    except BeamloopError as error:
        journal.write(Noted(text=f"the truth was asked for and did not come: {type(error).__name__}: {error}"))
        return None


def _put_found(file: RunFile, prepared: Preparation, story: Story, seen: Seen) -> None:
    target = prepared.experiment.target
    file.put_values(story.measurements, target.name, target.units)
    maps: dict[str, tuple[str, NDArray[np.float64]]] = {}
    if seen.belief is not None:
        maps["predicted"] = (target.name, seen.belief.mean)
        maps["uncertainty"] = (f"uncertainty of {target.name}", seen.belief.std)
    if seen.truth is not None:
        maps["truth"] = (target.name, seen.truth)
    for name, (quantity, values) in maps.items():
        shape = tuple(axis.size for axis in prepared.axes)
        file.put_map(name, Signal(values.reshape(shape), prepared.axes, quantity, target.units))


def _versions() -> dict[str, str]:
    """Return the versions of this program, of Python and of the packages that numbers depend on."""
    found = {}
    for name in TOLD:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # A policy that does not need it runs without it.
            continue
    return {"beamloop": __version__, "python": platform.python_version(), **found}
