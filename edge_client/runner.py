"""Begin an autonomous experiment: check it, make its folder, and take it to its end.

`resuming` goes on with one that was cut off; both pass through the same `passage`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..core import ProtocolMismatch
from ..streaming.reduce import compilations
from .experiment import Experiment
from .instrument import RemoteInstrument
from .opening import clocked, described, make_ready, told_on_arrival, versions
from .passage import Finished as Finished
from .passage import Scene, pass_through
from .preparation import Preparation, prepare
from .progress import Onlooker, Silence
from .record.events import Leased, Noted, Opened
from .record.journal import Durability, Journal
from .record.run_file import RunFile
from .record.run_folder import RunFolder, new_run_folder
from .rehearsal import dose_notes, refuse_hopeless, rehearsed


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
    with compilations(lambda kernel: told.note(f"compiling {kernel}, once on this machine")):
        prepared = _tried(prepare(request.experiment, instrument.info), instrument)
    with instrument.lease(f"run {request.experiment.name}"), ExitStack() as stack:
        proof = make_ready(instrument, request.arm)
        prepared = replace(prepared, notes=(*prepared.notes, proof))
        started = today()
        folder = new_run_folder(request.parent, request.experiment.name, started, request.text)
        told.began(folder.path)
        told.note(f"instrument: {instrument.info.name} ({instrument.info.source}) at {instrument.address}")
        told.note(f"run folder: {folder.path}")
        notes = (*prepared.notes, *told_on_arrival(instrument))
        for note in notes:
            told.note(note)
        durability = _durability(request.experiment, instrument)
        journal = stack.enter_context(_opened(request, notes, instrument, folder, started, durability))
        # Every candidate is measured once at most; rows that stay empty take no space.
        capacity, swmr = len(prepared.pool), request.experiment.swmr
        file = stack.enter_context(RunFile(folder.run_file, capacity, swmr, durable=durability == "power"))
        return pass_through(Scene(instrument, prepared, folder, journal, file, told, clock))


def _tried(prepared: Preparation, instrument: RemoteInstrument) -> Preparation:
    """Return the experiment with what the instrument says of its dose; one that could not begin is refused here."""
    try:
        found = rehearsed(prepared, instrument.safety.check)
    except ProtocolMismatch:
        # An older server judges each command when it comes.
        return prepared
    refuse_hopeless(found)
    return replace(prepared, notes=(*prepared.notes, *dose_notes(found)))


def _durability(experiment: Experiment, instrument: RemoteInstrument) -> Durability:
    return experiment.durability or ("power" if instrument.info.source == "hardware" else "process")


def _opened(
    request: RunRequest, notes: Sequence[str], instrument: RemoteInstrument, folder: RunFolder, started: datetime,
    durability: Durability,
) -> Journal:  # fmt: skip
    """Return the new journal with what is known before the first exposure."""
    experiment = request.experiment
    opened = Opened(
        run=folder.path.name, experiment=request.text, settings=experiment.model_dump(mode="json"),
        instrument=request.instrument, seed=experiment.seed, started=started.isoformat(timespec="seconds"),
        durability=durability, versions=versions(),
    )  # fmt: skip
    leased = Leased(client=instrument.client, purpose=f"run {experiment.name}")
    journal = Journal(folder.journal, durability)
    noted = (Noted(text=note) for note in notes)
    for event in (opened, described(instrument), *clocked(instrument), leased, *noted):
        journal.write(event)
    return journal
