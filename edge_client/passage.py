"""One passage through an experiment: look, decide and measure, ask for the truth, write down.

The same whether a run begins or goes on: what the journal already tells is not done again.
What was measured is kept and told, however the passage ends.
"""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..active_learning.loop import Closed, Loop
from ..core import BeamloopError, Policy, Pool, RecordingUnreadable, Signal
from ..core.registry import POLICIES, REDUCTIONS
from .charge import Charge
from .clock_watch import ClockWatch
from .conductor import PATIENCE, Conductor, Inbox, StopWished
from .dose_left import DoseLeft, dose_over_field
from .experiment import Experiment
from .instrument import RemoteInstrument
from .interrupt import interruptible
from .measuring import Measuring
from .plugins import installed, made
from .preparation import Preparation
from .progress import Onlooker
from .record import events
from .record.checksum import digest
from .record.events import Arrived, Ended, Installed, Noted
from .record.journal import Entry, Journal, read
from .record.keeping import Keeping, KeptJournal
from .record.run_file import RunFile
from .record.run_folder import RunFolder
from .record.story import Seen, Story, story_of
from .reporting.report import report
from .retelling import Script, retell, suggestions
from .side_scans import SideScans
from .thinking import Thinking


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a passage needs, open and ready.

    Attributes
    ----------
    instrument
        Where, with the lease held.
    prepared
        The experiment made concrete.
    folder, journal, file
        Where it is kept.
    onlooker
        Who is told how it goes.
    clock
        Monotonic seconds, for time budgets.
    past
        What the journal told before this passage began; empty for a run that begins.
    """

    instrument: RemoteInstrument
    prepared: Preparation
    folder: RunFolder
    journal: Journal
    file: RunFile
    onlooker: Onlooker
    clock: Callable[[], float]
    past: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended, where it lies and what it tells."""

    folder: RunFolder
    ended: Ended
    story: Story
    seen: Seen


def pass_through(scene: Scene) -> Finished:
    """Take an experiment to its end, write down what was found, and make the report.

    Raises
    ------
    BeamloopError
        What is refused or cannot be reached before the first decision.
    KeyboardInterrupt
        On the second Ctrl-C.
    """
    keeping = Keeping(scene.onlooker.note)
    ended, seen = _measured(scene, keeping)
    entries = read(scene.folder.journal)
    story = story_of(entries)
    _put_found(scene.file, scene.prepared, story, seen)
    scene.file.put_journal(story, entries)
    scene.onlooker.note("writing the report")
    page = report(story, seen)
    with interruptible(lambda reason: keeping.give_up()):
        keeping(scene.file.close)
        keeping(lambda: scene.folder.put_report(page))
    return Finished(scene.folder, ended, story, seen)


def _measured(scene: Scene, keeping: Keeping) -> tuple[Ended, Seen]:
    inbox: Inbox = queue.SimpleQueue()
    journal = KeptJournal(scene.journal, keeping)

    def on_wish(reason: str) -> None:
        inbox.put(StopWished(reason))
        keeping.give_up()

    # One client may run several times, and the server answers a request name only once.
    asker = f"{scene.instrument.client}/{secrets.token_hex(4)}"
    scans = SideScans(scene.instrument, scene.prepared, journal, asker, scene.past)
    experiment = scene.prepared.experiment
    with interruptible(on_wish):
        try:
            overview = _overview(scene, scans)
            pool = scene.prepared.with_features(overview)
            policy = _policy(experiment, pool, scene)
            dose = DoseLeft(scene.instrument.safety, scene.prepared, _done_with(scene.past))
            closed, entries = _close(scene, dose)
        except BeamloopError as error:
            scene.journal.write(Ended(outcome="failed", reason=f"{type(error).__name__}: {error}"))
            raise
        thinking = Thinking(Script(policy, suggestions(scene.past)), scene.clock)
        loop = Loop(thinking, experiment.stop, experiment.ahead, patience=PATIENCE)
        told = retell(loop, [*scene.past, *entries]) if scene.past else None
        if closed and told is None:
            loop.handle(Closed(closed.candidates))
        clocks = ClockWatch(scene.instrument, journal.write, scene.clock)
        conductor = Conductor(loop, thinking, journal, inbox, scene.onlooker, asker, scene.clock, told, clocks.look)
        charge = Charge(e.event.measurement for e in scene.past if isinstance(e.event, Arrived))
        worker = Measuring(scene.instrument, scene.prepared, scene.file, inbox.put, scene.clock, keeping, charge, dose)
        ended = conductor.conduct(worker)
        truth = None if conductor.halted else _truth(scene, scans)
    best = max((r.measurement for r in loop.records if r.measurement), key=lambda m: m.value, default=None)
    frame = None if best is None else scene.file.frame(scene.file.rows()[best.measurement_id])
    dosed = dose_over_field(scene.instrument)
    return ended, Seen(pool, overview, thinking.belief(), truth, frame, dosed)


def _done_with(past: Sequence[Entry]) -> list[int]:
    """Return the candidates that were asked for or closed before."""
    closed = [candidate for e in past if isinstance(e.event, events.Closed) for candidate in e.event.candidates]
    return closed + [suggestion.candidate for suggestion in suggestions(past)]


def _close(scene: Scene, dose: DoseLeft) -> tuple[events.Closed | None, list[Entry]]:
    """Write down which candidates have no dose left before anything is decided; return it and its entry."""
    candidates = dose.used_up()
    if not candidates:
        return None, []
    closed = events.Closed(candidates=candidates, reason=dose.reason)
    scene.onlooker.note(closed.told())
    time_s = scene.journal.write(closed)
    return closed, [Entry(scene.journal.count, time_s, closed)]


def _overview(scene: Scene, scans: SideScans) -> Signal | None:
    if scene.prepared.overview is None:
        scene.onlooker.note("no overview was asked for")
    elif not scans.has_overview:
        scene.onlooker.note("taking the overview")
    return scans.overview(scene.file)


def _policy(experiment: Experiment, pool: Pool, scene: Scene) -> Policy:
    choice, target = experiment.policy, experiment.target
    policy: Policy = made(POLICIES, choice.name, choice.settings, "[policy.settings]", pool, experiment.seed)
    now = Installed(
        reduction=installed(REDUCTIONS, target.reduction, target.settings),
        policy=installed(POLICIES, choice.name, choice.settings),
        seed=experiment.seed,
        candidates=len(pool),
        shape=pool.shape,
        pool=digest(pool.positions),
        features="" if pool.features is None else digest(pool.features),
    )
    before = next((e.event for e in reversed(scene.past) if isinstance(e.event, Installed)), None)
    if before is None:
        scene.journal.write(now)
    elif (before.candidates, before.pool) != (now.candidates, now.pool):
        raise RecordingUnreadable(
            f"the run was begun with {before.candidates} candidates (SHA-256 {before.pool:.12}), now experiment and "
            f"instrument give {now.candidates} ({now.pool:.12}); a run goes on only where it was begun"
        )
    elif before.features != now.features:
        scene.journal.write(Noted(text="the features come out otherwise than when the run began; see its versions"))
    return policy


def _truth(scene: Scene, scans: SideScans) -> NDArray[np.float64] | None:
    if not scene.instrument.info.expects:
        return None
    scene.onlooker.note("asking for the truth, to compare with")
    try:
        return scans.truth()
    except BeamloopError as error:
        scene.journal.write(Noted(text=f"the truth was asked for and did not come: {type(error).__name__}: {error}"))
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
    if seen.dose is not None:
        file.put_map("dose", seen.dose)
    for name, (quantity, values) in maps.items():
        shape = tuple(axis.size for axis in prepared.axes)
        file.put_map(name, Signal(values.reshape(shape), prepared.axes, quantity, target.units))
