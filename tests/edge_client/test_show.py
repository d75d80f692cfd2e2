"""`beamloop show` as a person meets it, on a run of which only the journal is left."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from beamloop.core import OutputExists, RecordingUnreadable, StorageFailed
from beamloop.edge_client.commands.show import show
from beamloop.edge_client.record.journal import Entry, Journal


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 30)


@pytest.fixture
def runs(tmp_path: Path, entries: list[Entry]) -> Path:
    """Return a folder of two runs, and of something else."""
    for name in ("2026-01-01-120000_canned", "2025-12-31-120000_canned", "2027_notes"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("2026-01-01-120000_canned", "2025-12-31-120000_canned"):
        with Journal(tmp_path / "runs" / name / "journal.sqlite") as journal:
            for entry in entries:
                journal.write(entry.event)
    return tmp_path / "runs"


def call(*words: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("show")(show)
    return CliRunner().invoke(app, ["show", *map(str, words)])


def test_help_has_examples() -> None:
    assert "Example: beamloop show latest --open" in call("--help").output


def test_latest_is_the_newest_run_and_its_report_is_renewed(runs: Path) -> None:
    page = runs / "2026-01-01-120000_canned" / "report.html"
    page.write_text("an older report")
    result = call("latest", "--runs", runs)
    assert result.exit_code == 0
    assert "finished: 12 of 12 points measured" in result.output
    assert "The largest edge ratio measured is " in result.output
    assert "note: there is no run file run.h5" in result.output
    assert "Where is the edge &amp; its ratio strongest?" in page.read_text()
    assert [path.name for path in page.parent.iterdir() if path.name.startswith(".")] == []


def test_a_run_is_named_by_its_folder_a_file_in_it_or_its_bare_name(runs: Path) -> None:
    folder = runs / "2025-12-31-120000_canned"
    for named in (folder, folder / "journal.sqlite", folder.name):
        told = json.loads(call(named, "--runs", runs, "--json").output)
        assert told["run"] == str(folder)
        assert (told["outcome"], told["measured"], told["candidates"]) == ("finished", 12, 480)


def test_what_is_no_run_is_told_with_the_nearest(runs: Path) -> None:
    error = call("2026-01-01-12000_canned", "--runs", runs).exception
    assert isinstance(error, RecordingUnreadable)
    assert "did you mean '2026-01-01-120000_canned'" in str(error)
    error = call(runs / "2027_notes", "--runs", runs).exception
    assert "holds no journal.sqlite" in str(error)
    error = call("latest", "--runs", runs / "2027_notes").exception
    assert "no run below" in str(error)


def test_reports_go_where_they_are_asked_and_replace_nothing_there(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "canned.html"
    assert call("latest", "--runs", runs, "-o", page).exit_code == 0
    told = page.read_text()
    error = call("latest", "--runs", runs, "-o", page).exception
    assert isinstance(error, OutputExists)
    assert page.read_text() == told
    assert not (runs / "2026-01-01-120000_canned" / "report.html").exists()
    folders = sorted(runs.glob("*_canned"))
    assert call(*folders, "-o", tmp_path / "reports").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "reports").iterdir()) == [f"{folder.name}.html" for folder in folders]


def test_a_place_that_cannot_be_written_is_told(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    error = call("latest", "--runs", runs, "-o", tmp_path / "file" / "report.html").exception
    assert isinstance(error, StorageFailed)
    assert "choose another place" in str(error)


def test_the_browser_is_opened_only_when_asked(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    call("latest", "--runs", runs)
    assert opened == []
    call("latest", "--runs", runs, "--open")
    assert opened == [(runs / "2026-01-01-120000_canned" / "report.html").as_uri()]
