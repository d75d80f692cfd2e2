"""Loop, worker and journal together, on an instrument that does as a script says."""

from __future__ import annotations

import itertools
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from beamloop.active_learning.loop import Loop, Measure, Measured
from beamloop.active_learning.policy import grid
from beamloop.core import (
    BeamloopError,
    DriverFailed,
    FrameBatch,
    GuardReport,
    InstrumentInfo,
    InstrumentState,
    InstrumentUnreachable,
    LeaseHeld,
    LimitRefused,
    Measurement,
    NotArmed,
    NotRecorded,
    PointScan,
    Scan,
    ScanEnd,
    StorageFailed,
    Suggestion,
    errors,
)
from beamloop.edge_client.conductor import Conductor, Inbox, StopWished
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.instrument import raise_unless_whole
from beamloop.edge_client.measuring import Measuring
from beamloop.edge_client.preparation import Preparation, prepare
from beamloop.edge_client.progress import Silence
from beamloop.edge_client.record.events import Arrived, Commanded, Declined, Ended, Interrupted, Intervened
from beamloop.edge_client.record.journal import Journal, read
from beamloop.edge_client.record.keeping import Keeping, KeptJournal
from beamloop.edge_client.record.run_file import RunFile
from beamloop.edge_client.thinking import Thinking
from beamloop.streaming.incoming import Arrivals, IncomingScan
from beamloop.streaming.wire import Batch, End


class Listening(Silence):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.values: list[float] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        self.values.append(measurement.value)


Script = Callable[[int], BeamloopError | ScanEnd | None]


class ScriptedInlet:
    """Gives one spectrum and its end, and remembers that it was stored."""

    def __init__(self, messages: list[Batch | End], log: list[str]) -> None:
        self._messages, self._log = iter(messages), log

    def next_message(self, arrivals: Arrivals, timeout_s: float) -> Batch | End:
        return next(self._messages)

    def acknowledge(self, arrivals: Arrivals) -> None:
        self._log.append("stored")


class ScriptedInstrument:
    """Measures 40 x the position's number of counts, or does what the script says for that call."""

    def __init__(self, info: InstrumentInfo, script: Script = lambda number: None, seconds: float = 0.0) -> None:
        self._info, self._script, self._seconds = info, script, seconds
        self._numbers = itertools.count()
        self.log: list[str] = []
        self.journal: Path | None = None
        self.unannounced: list[str] = []
        self.activity: Literal["stopped", "lost"] = "stopped"
        self.reason = "stopped by a person"

    def start(self, plan: PointScan, measurement_id: str, request_id: str | None = None) -> IncomingScan:
        number = next(self._numbers)
        self.log.append(f"start {measurement_id}")
        if self.journal is not None:
            known = [e.event.measurement_id for e in read(self.journal) if isinstance(e.event, Commanded)]
            self.unannounced += [measurement_id] if measurement_id not in known else []
        said = self._script(number)
        if isinstance(said, BeamloopError):
            raise said
        time.sleep(self._seconds)
        detector = self._info.detector(plan.detector)
        scan = Scan(
            scan_id=f"s{number}", measurement_id=measurement_id, receiver="me", detector=plan.detector,
            scan_axes=plan.axes(self._info.field), frame_axes=detector.frame_axes, dtype="<u2", dwell_s=plan.dwell_s,
        )  # fmt: skip
        batch = FrameBatch(
            scan.scan_id, np.zeros(1, np.int64), np.array(plan.points), np.full((1, 40), number + 1, "<u2")
        )
        end = said or ScanEnd(
            scan_id=scan.scan_id, status="complete", n_frames=1, electrons=10.0, duration_s=0.012, produced_s=0.001
        )
        messages: list[Batch | End] = [Batch(1, batch), End(2, end)] if end.n_frames else [End(1, end)]
        return IncomingScan(scan, Arrivals(scan.scan_id, 1, None), ScriptedInlet(messages, self.log))

    def discard(self, incoming: IncomingScan) -> None:
        self.log.append("discarded")

    def require_whole(self, incoming: IncomingScan) -> None:
        raise_unless_whole(incoming)

    def state(self) -> InstrumentState:
        return InstrumentState(activity=self.activity, beam="blanked")

    def guard(self) -> GuardReport:
        return GuardReport(word="state", beam="confirmed", acquisition="confirmed", armed=False, reason=self.reason)


@pytest.fixture
def prepared(experiment_text: str, info: InstrumentInfo) -> Preparation:
    return prepare(Experiment.model_validate(tomllib.loads(experiment_text)), info)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


Conduct = Callable[..., tuple[Ended, list, Conductor]]


@pytest.fixture
def conduct(prepared: Preparation, journal: Journal, tmp_path: Path) -> Iterator[Conduct]:
    with closing(RunFile(tmp_path / "run.h5", capacity=12)) as file:

        def through(instrument: ScriptedInstrument, inbox: Inbox | None = None, ahead: int = 1):
            instrument.journal = tmp_path / "journal.sqlite"
            box = inbox or Inbox()
            thinking = Thinking(grid(prepared.pool, 0), time.perf_counter)
            loop = Loop(thinking, prepared.experiment.stop, ahead)
            conductor = Conductor(loop, thinking, journal, box, Silence(), "me", time.perf_counter)
            worker = Measuring(instrument, prepared, file, box.put, time.perf_counter)
            ended = conductor.conduct(worker)
            return ended, [entry.event for entry in read(tmp_path / "journal.sqlite")], conductor

        yield through


def kinds(events: list, kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_run_measures_what_was_asked_and_every_event_is_kept(
    conduct: Conduct, info: InstrumentInfo, ahead: int
) -> None:
    instrument = ScriptedInstrument(info)
    ended, events, _ = conduct(instrument, ahead=ahead)
    assert (ended.outcome, ended.reason) == ("finished", "12 of 12 points measured")
    arrived = kinds(events, Arrived)
    # The n-th spectrum holds n + 1 counts in each of 40 channels; their sum is the value.
    assert [a.measurement.value for a in arrived] == [40.0 * (n + 1) for n in range(12)]
    assert [a.measurement.std for a in arrived] == pytest.approx([np.sqrt(40.0 * (n + 1)) for n in range(12)])
    assert instrument.log.count("stored") == 12
    assert events[-1] == ended


def test_a_command_is_in_the_journal_before_the_instrument_hears_of_it(conduct: Conduct, info: InstrumentInfo) -> None:
    instrument = ScriptedInstrument(info)
    conduct(instrument)
    assert instrument.log.count("discarded") == 0
    assert instrument.unannounced == []


def test_the_next_place_is_decided_while_one_is_measured(conduct: Conduct, info: InstrumentInfo) -> None:
    _, events, _ = conduct(ScriptedInstrument(info, seconds=0.01))
    order = [(type(e).__name__, e) for e in events if isinstance(e, (Commanded, Arrived))]
    # With one ahead, the command for step n + 1 stands before the arrival of step n.
    for n in range(11):
        asked = next(i for i, (_, e) in enumerate(order) if isinstance(e, Commanded) and e.step == n + 1)
        came = next(
            i for i, (_, e) in enumerate(order)
            if isinstance(e, Arrived) and e.measurement.measurement_id == f"m{n:04d}"
        )  # fmt: skip
        assert asked < came


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (LimitRefused("the dose budget is spent"), "refused"),
        (NotRecorded("not there"), "refused"),
        (DriverFailed("the camera sulks"), "failed"),
    ],
)
def test_a_refused_or_failed_measurement_is_kept_and_another_taken(
    conduct: Conduct, info: InstrumentInfo, error: BeamloopError, outcome: str
) -> None:
    ended, events, _ = conduct(ScriptedInstrument(info, lambda number: error if number in (2, 5) else None))
    assert ended.outcome == "finished"
    assert len(kinds(events, Arrived)) == 12
    declined = kinds(events, Declined)
    assert [(d.measurement_id, d.outcome, d.error, d.message) for d in declined] == [
        (name, outcome, type(error).__name__, str(error)) for name in ("m0002", "m0005")
    ]


def test_an_instrument_that_refuses_everything_ends_the_run(conduct: Conduct, info: InstrumentInfo) -> None:
    ended, events, _ = conduct(ScriptedInstrument(info, lambda number: LimitRefused("no")))
    assert ended.outcome == "failed"
    assert "10 measurements in a row" in ended.reason
    assert len(kinds(events, Commanded)) <= 12


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotArmed("stopped by a person; arm the instrument to go on"), "stopped"),
        (LeaseHeld("the lease is held by another"), "failed"),
        (InstrumentUnreachable("no answer"), "failed"),
    ],
)
def test_a_halted_instrument_is_asked_nothing_more(
    conduct: Conduct, info: InstrumentInfo, error: BeamloopError, outcome: str
) -> None:
    instrument = ScriptedInstrument(info, lambda number: error if number == 4 else None)
    ended, events, conductor = conduct(instrument)
    assert ended.outcome == outcome
    assert str(error) in ended.reason
    assert conductor.halted
    assert sum(line.startswith("start") for line in instrument.log) == 5
    assert len(kinds(events, Arrived)) == 4
    assert [e.word for e in kinds(events, Intervened)] == ["stop"]


def test_a_scan_stopped_half_way_ends_the_run_and_is_discarded(conduct: Conduct, info: InstrumentInfo) -> None:
    stopped = ScanEnd(
        scan_id="s3", status="stopped", n_frames=0, reason="the guard called a halt", electrons=4.0, duration_s=0.006
    )
    instrument = ScriptedInstrument(info, lambda number: stopped if number == 3 else None)
    ended, events, _ = conduct(instrument)
    assert ended.outcome == "stopped"
    assert "the guard called a halt" in ended.reason
    assert instrument.log[-1] == "discarded"
    assert len(kinds(events, Arrived)) == 3
    (cut,) = kinds(events, Interrupted)
    told = (cut.measurement_id, cut.electrons, cut.duration_s, cut.estimated)
    assert told == ("m0003", 4.0, 0.006, False), "its end told what it cost"
    assert [type(e).__name__ for e in events[-3:]] == ["Interrupted", "Intervened", "Ended"]


def test_what_the_instrument_does_not_know_any_more_is_charged_in_full_and_repeated(
    conduct: Conduct, info: InstrumentInfo
) -> None:
    unknown = errors.Interrupted("request me/m0004 was begun, and the server died on it")
    ended, events, _ = conduct(ScriptedInstrument(info, lambda number: unknown if number == 4 else None))
    assert ended.outcome == "finished"
    (cut,) = kinds(events, Interrupted)
    assert (cut.measurement_id, cut.electrons, cut.estimated) == ("m0004", 10.0, True)
    names = [a.measurement.measurement_id for a in kinds(events, Arrived)]
    assert "m0004" not in names
    assert "m0004-2" in names
    assert len(names) == 12
    again = {c.measurement_id: c.suggestion for c in kinds(events, Commanded)}
    assert again["m0004-2"] == again["m0004"]


def test_a_full_disk_pauses_the_run_and_nothing_is_lost(
    prepared: Preparation, journal: Journal, info: InstrumentInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Listening()

    def full(name: str, action: Callable, refused: range) -> Callable:
        """Refuse these calls, by their number."""
        numbers = itertools.count()

        def refuse(*arguments: object, **more: object) -> object:
            if next(numbers) in refused:
                raise StorageFailed(f"no space for the {name}")
            return action(*arguments, **more)

        return refuse

    with closing(RunFile(tmp_path / "run.h5", capacity=12)) as file:
        keeping, box = Keeping(told.note, pause_s=0.001), Inbox()
        monkeypatch.setattr(file, "add", full("frames", file.add, range(4, 7)))
        monkeypatch.setattr(journal, "write", full("journal", journal.write, range(9, 11)))
        thinking = Thinking(grid(prepared.pool, 0), time.perf_counter)
        loop = Loop(thinking, prepared.experiment.stop, 1)
        kept = KeptJournal(journal, keeping)
        conductor = Conductor(loop, thinking, kept, box, told, "me", time.perf_counter)
        worker = Measuring(ScriptedInstrument(info), prepared, file, box.put, time.perf_counter, keeping)
        ended = conductor.conduct(worker)
        assert len(file.rows()) == 12
    assert ended.outcome == "finished"
    for name in ("frames", "journal"):
        assert [note for note in told.notes if f"no space for the {name}" in note], "a person is told once"
    assert sum("the disk is back" in note for note in told.notes) == 2
    events = [entry.event for entry in read(tmp_path / "journal.sqlite")]
    assert [a.measurement.value for a in kinds(events, Arrived)] == [40.0 * (n + 1) for n in range(12)]


def test_a_silent_driver_is_a_fault_and_no_wish(conduct: Conduct, info: InstrumentInfo) -> None:
    instrument = ScriptedInstrument(info, lambda number: NotArmed("the beam stays blanked") if number == 2 else None)
    instrument.activity, instrument.reason = "lost", "driver silent for 1.2 s"
    ended, _, _ = conduct(instrument)
    assert ended.outcome == "failed"
    assert ended.reason == "driver silent for 1.2 s (NotArmed: the beam stays blanked)"


def test_a_wish_to_stop_ends_the_run_and_keeps_what_was_under_way(conduct: Conduct, info: InstrumentInfo) -> None:
    inbox, called = Inbox(), threading.Event()

    def script(number: int) -> None:
        if number == 3:
            inbox.put(StopWished("Ctrl-C"))
            called.set()
            time.sleep(0.05)

    ended, events, conductor = conduct(ScriptedInstrument(info, script), inbox)
    assert called.is_set()
    assert (ended.outcome, ended.reason) == ("stopped", "Ctrl-C")
    assert not conductor.halted
    values = [a.measurement.value for a in kinds(events, Arrived)]
    assert values == [40.0, 80.0, 120.0, 160.0], "the measurement under way was paid for and is kept"


def test_a_fault_of_the_worker_itself_is_raised_here(conduct: Conduct, info: InstrumentInfo) -> None:
    def broken(number: int) -> None:
        raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        conduct(ScriptedInstrument(info, broken))


def test_the_budget_adds_up(conduct: Conduct, info: InstrumentInfo) -> None:
    start_s = time.perf_counter()
    _, events, _ = conduct(ScriptedInstrument(info, seconds=0.003))
    elapsed_s = time.perf_counter() - start_s
    budgets = [a.budget for a in kinds(events, Arrived)]
    for budget in budgets:
        assert budget.acquire_s == 0.01
        assert budget.move_s == pytest.approx(0.002)
        assert budget.produce_s == 0.001
        assert budget.transfer_s >= 0.002 - 1e-4, "3 ms from asking to frames, of which 1 ms at the instrument"
    walls = sum(b.wait_s + b.produce_s + b.transfer_s + b.reduce_s + b.store_s for b in budgets)
    assert walls <= elapsed_s


def test_same_events_give_the_same_next_points(conduct: Conduct, prepared: Preparation, info: InstrumentInfo) -> None:
    _, events, _ = conduct(ScriptedInstrument(info))
    loop = Loop(grid(prepared.pool, 0), prepared.experiment.stop, 1)
    again = [c for c in loop.start() if isinstance(c, Measure)]
    for arrival in kinds(events, Arrived):
        again += [c for c in loop.handle(Measured(arrival.measurement)) if isinstance(c, Measure)]
    decided = [(c.measurement_id, c.suggestion) for c in kinds(events, Commanded)]
    assert [(c.measurement_id, c.suggestion) for c in again] == decided
