"""Go on with a run that was cut off: client, server, driver or all of them killed at any moment.

The journal tells where it stood. A measurement that was asked for and whose end it does not
tell is looked for in the run file, then asked for again under its own name, which the
instrument answers as it did the first time; if nobody knows how it ended, it is recorded
as interrupted, charged with its dose and repeated under a new name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ..core import InstrumentInfo, Measurement, NothingToResume, ProtocolMismatch, RecordingUnreadable
from .experiment import Experiment
from .instrument import RemoteInstrument
from .opening import clocked, described, make_ready, told_on_arrival, versions
from .passage import Finished, Scene, pass_through
from .preparation import prepare
from .progress import Onlooker, Silence
from .record.events import Acquired, Arrived, Described, Ended, Event, Leased, Noted, Opened, Resumed
from .record.journal import Entry, Journal, read
from .record.run_file import RunFile
from .record.run_folder import RunFolder

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that can go on.

    Attributes
    ----------
    folder
        Where it lies.
    past
        What its journal tells.
    opened
        What was asked, of which instrument.
    client
        The name under which it commanded; frames that wait at the instrument are addressed to it.
    """

    folder: RunFolder
    past: tuple[Entry, ...]
    opened: Opened
    client: str | None

    @property
    def experiment(self) -> Experiment:
        """What was asked, with what the command line changed."""
        return Experiment.model_validate(self.opened.settings)

    @property
    def last_instrument(self) -> str:
        """Where it ran last, in the words of who asked."""
        resumed = _last(self.past, Resumed)
        return self.opened.instrument if resumed is None else resumed.instrument

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What was measured before it was cut off."""
        return tuple(e.event.measurement for e in self.past if isinstance(e.event, Arrived))


def unfinished(path: Path) -> Unfinished:
    """Return the run in a folder, if there is something left to do for it.

    Raises
    ------
    NothingToResume
        If it came to its end.
    RecordingUnreadable
        If the folder holds no run, or its journal is damaged.
    """
    folder = RunFolder(path)
    past = tuple(read(folder.journal))
    opened, ended = _last(past, Opened), _last(past, Ended, Resumed)
    if opened is None:
        raise RecordingUnreadable(f"{folder.journal} ends before its run was opened; there is nothing to go on with")
    if isinstance(ended, Ended) and ended.outcome == "finished" and folder.report.is_file():
        raise NothingToResume(f"{path} has come to its end: {ended.reason}; begin a new run to measure more")
    leased = _last(past, Leased)
    return Unfinished(folder, past, opened, None if leased is None else leased.client)


def resume_run(
    run: Unfinished,
    instrument: RemoteInstrument,
    where: str,
    arm: bool = False,
    onlooker: Onlooker | None = None,
    clock: Callable[[], float] = time.perf_counter,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Finished:
    """Go on with a run and return how it ended.

    Parameters
    ----------
    run
        The run.
    instrument
        The instrument it was begun on, connected under `run.client` if that name is known.
    where
        Where that is, in the words of who asked.
    arm
        Whether an instrument that was stopped may be armed again.
    onlooker, clock, today
        As in `run_experiment`.

    Raises
    ------
    OutputExists
        If the run is going on in another process.
    BeamloopError
        As `run_experiment`.
    """
    told, experiment, folder = onlooker or Silence(), run.experiment, run.folder
    prepared = prepare(experiment, instrument.info)
    _refuse_another(run.past, instrument.info)
    with ExitStack() as stack:
        # Whoever has the journal has the run; so it comes before anything is commanded.
        journal = stack.enter_context(Journal.reopened(folder.journal, run.opened.durability))
        stack.enter_context(instrument.lease(f"resume {experiment.name}"))
        proof = make_ready(instrument, arm)
        told.began(folder.path)
        told.note(f"going on with {folder.path} on {instrument.info.name} at {instrument.address}")
        notes = (*told_on_arrival(instrument), proof)
        for note in notes:
            told.note(note)
        # Somebody may have gone on with it since it was read.
        past = list(run.past) if journal.count == len(run.past) else read(folder.journal)
        instrument.settled(_settled(past))
        file = stack.enter_context(_reopened(run, len(prepared.pool)))
        resumed = Resumed(instrument=where, started=today().isoformat(timespec="seconds"), versions=versions())
        leased = Leased(client=instrument.client, purpose=f"resume {experiment.name}")
        noted = (Noted(text=note) for note in notes)
        news: tuple[Event, ...] = (described(instrument), *clocked(instrument), leased, resumed, *noted)
        for event in news:
            time_s = journal.write(event)
            past.append(Entry(journal.count, time_s, event))
        return pass_through(Scene(instrument, prepared, folder, journal, file, told, clock, past))


def _refuse_another(past: Sequence[Entry], info: InstrumentInfo) -> None:
    before = _last(past, Described)
    if before is not None and _identity(before.info) != _identity(info):
        raise ProtocolMismatch(
            f"the run was begun on {before.info.name!r} ({before.info.source}), which is not what {info.name!r} "
            f"({info.source}) says of itself: detectors, field of view or parameters differ; name the same instrument"
        )


def _identity(info: InstrumentInfo) -> tuple[object, ...]:
    """Return what does not change about an instrument while it is used."""
    parameters = tuple((p.name, p.units) for p in info.parameters)
    return info.name, info.source, info.field, parameters, info.detectors


def _settled(past: Sequence[Entry]) -> list[str]:
    """Return the scans that are known to be kept; the instrument may not have heard that they are."""
    arrived = [e.event.scan_id for e in past if isinstance(e.event, Arrived)]
    return arrived + [e.event.scan.scan_id for e in past if isinstance(e.event, Acquired)]


def _reopened(run: Unfinished, capacity: int) -> RunFile:
    folder, swmr, durable = run.folder, run.experiment.swmr, run.opened.durability == "power"
    kept = len(_settled(run.past))
    if not folder.run_file.exists() and not kept:
        # It was cut off between the journal's first rows and the run file.
        return RunFile(folder.run_file, capacity, swmr, durable)
    if not folder.run_file.exists():
        raise RecordingUnreadable(
            f"{folder.run_file} is missing, and the journal tells of {kept} scans kept in it; put it back, or begin a "
            f"new run: without it this one can be reported (`beamloop show {folder.path}`) and not go on"
        )
    try:
        file = RunFile.reopened(folder.run_file, capacity, swmr, durable)
    except RecordingUnreadable as error:
        raise RecordingUnreadable(f"{error}; try `beamloop recover {folder.path}` first") from None
    if _has_overview(run.past) and file.overview() is None:
        file.close()
        raise RecordingUnreadable(
            f"{folder.run_file} has lost the overview that the journal tells of, on which decisions rest; the run can "
            f"be reported (`beamloop show {folder.path}`) and not go on: begin a new one"
        )
    return file


def _has_overview(past: Sequence[Entry]) -> bool:
    return any(isinstance(e.event, Acquired) and e.event.name == "overview" for e in past)


def _last(past: Sequence[Entry], *kinds: type[Kind]) -> Kind | None:
    return next((e.event for e in reversed(past) if isinstance(e.event, kinds)), None)
