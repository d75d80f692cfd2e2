"""Looking on at a run tells what its own process tells, without disturbing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from beamloop.core import Measurement, Suggestion, UnknownName
from beamloop.edge_client.commands.list import list_runs
from beamloop.edge_client.following import follow, new_entries
from beamloop.edge_client.progress import Silence
from beamloop.edge_client.record.events import Ended, Noted
from beamloop.edge_client.record.glance import glance, runs_below
from beamloop.edge_client.record.journal import Entry, Journal
from beamloop.edge_client.record.journal_mark import writing_process
from beamloop.edge_client.record.run_folder import RunFolder


class Listening(Silence):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.values: list[tuple[int, float]] = []
        self.refused: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        self.values.append((suggestion.candidate, measurement.value))

    def declined(self, outcome: str, reason: str) -> None:
        self.refused.append(outcome)


def written(folder: Path, entries: list[Entry]) -> Path:
    folder.mkdir()
    with Journal(folder / "journal.sqlite") as journal:
        for entry in entries:
            journal.write(entry.event)
    return folder / "journal.sqlite"


def test_an_onlooker_hears_every_value_refusal_and_note(entries: list[Entry], tmp_path: Path) -> None:
    told = Listening()
    ended = follow(new_entries(written(tmp_path / "run", entries)), told)
    assert ended is not None
    assert ended.outcome == "finished"
    arrived = [e.event.measurement for e in entries if e.event.kind == "arrived"]
    assert told.values == [(m.candidate, m.value) for m in arrived]
    assert told.refused == ["refused"]
    assert "the pool is a grid of 20 x 24" in told.notes


def test_what_is_written_meanwhile_is_told_until_its_writer_is_gone(tmp_path: Path) -> None:
    file, told = tmp_path / "journal.sqlite", []
    journal = Journal(file)
    journal.write(Noted(text="first"))

    def meanwhile(pause_s: float) -> None:
        if len(told) == 1:
            journal.write(Noted(text="second"))
        else:
            journal.close()

    for entry in new_entries(file, pause=meanwhile):
        told.append(entry.event)
    assert told == [Noted(text="first"), Noted(text="second")]


def test_a_run_at_a_glance_says_who_works_on_it_and_how_it_ended(entries: list[Entry], tmp_path: Path) -> None:
    written(tmp_path / "a-finished", entries)
    written(tmp_path / "b-cut-off", entries[:-1])
    (tmp_path / "c-running").mkdir()
    (tmp_path / "d-no-run").mkdir()
    with Journal(tmp_path / "c-running" / "journal.sqlite") as journal:
        journal.write(entries[0].event)
        runs = runs_below(tmp_path)
        assert writing_process(tmp_path / "c-running" / "journal.sqlite") is not None
    assert [(run.folder.name, run.state) for run in runs] == [
        ("a-finished", "finished"), ("b-cut-off", "interrupted"), ("c-running", "running"),
    ]  # fmt: skip
    best = max(e.event.measurement.value for e in entries if e.event.kind == "arrived")
    assert (runs[0].measured, runs[0].wanted, runs[0].best) == (12, 12, best)
    assert (runs[0].name, runs[0].instrument) == ("canned", "simulator")
    assert glance(RunFolder(tmp_path / "c-running")).state == "interrupted"


def test_a_file_that_is_no_journal_is_listed_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.sqlite").write_bytes(b"no journal at all, and long enough to be looked at" * 20)
    (found,) = runs_below(tmp_path)
    assert found.state == "unreadable"


def test_a_long_reason_takes_no_column_of_the_list_away(
    entries: list[Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = Entry(99, 0.0, Ended(outcome="failed", reason="x" * 300))
    written(tmp_path / "2026-01-01-120000_long", [*entries[:-1], failed])
    list_runs(tmp_path)
    told = capsys.readouterr().out
    for cell in ("2026-01-01-120000_long", "failed", "12 of 12", "x…"):
        assert cell in told


def test_a_folder_that_is_not_there_is_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no folder"):
        list_runs(tmp_path / "nowhere")
