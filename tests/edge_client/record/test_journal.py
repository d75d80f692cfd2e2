"""The journal: append-only, committed when it says so, and damage is noticed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from beamloop.core import OutputExists, RecordingUnreadable
from beamloop.edge_client.record.events import Framed, Noted
from beamloop.edge_client.record.journal import Entry, Journal, read


def note(number: int) -> Noted:
    return Noted(text=f"note {number}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_what_was_written_is_read_in_order_with_its_times(file: Path, entries: list[Entry]) -> None:
    times = iter([entry.time_s for entry in entries])
    with Journal(file, clock=lambda: next(times)) as journal:
        for entry in entries:
            journal.write(entry.event)
    assert read(file) == entries


def test_an_existing_journal_is_never_written_over(file: Path) -> None:
    with Journal(file) as journal:
        journal.write(note(1))
    with pytest.raises(OutputExists, match=r"journal\.sqlite already exists"):
        Journal(file)
    assert [entry.event for entry in read(file)] == [note(1)]


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_reader_sees_a_write_at_once_and_a_note_with_the_next_write(file: Path, durability: str) -> None:
    frames = Framed(measurement_id="m0", scan_id="s1", frames=4, nbytes=64)
    with Journal(file, durability) as journal:  # type: ignore[arg-type]
        journal.write(note(1))
        journal.note(frames)
        assert [entry.event for entry in read(file)] == [note(1)]
        journal.write(note(2))
        assert [entry.event for entry in read(file)] == [note(1), frames, note(2)]
        journal.note(frames)
    assert len(read(file)) == 4, "closing commits what was noted"


def test_rows_can_be_neither_changed_nor_removed(file: Path) -> None:
    with Journal(file) as journal:
        journal.write(note(1))
    rows = sqlite3.connect(file)
    try:
        for change in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                rows.execute(change)
    finally:
        rows.close()


def test_a_reopened_journal_goes_on_where_it_ended(file: Path) -> None:
    with Journal(file) as journal:
        journal.write(note(1))
    for number in (2, 3):
        with Journal.reopened(file) as journal:
            assert journal.write(note(number)) == read(file)[-1].time_s
    assert [(entry.seq, entry.event) for entry in read(file)] == [(n, note(n)) for n in (1, 2, 3)]


WRITE_AND_WAIT = """
import sys; from pathlib import Path
from beamloop.edge_client.record.journal import Journal
from beamloop.edge_client.record.events import Noted
journal = Journal(Path(sys.argv[1]))
journal.write(Noted(text="note 1"))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_journal_has_one_writer_and_a_killed_one_lets_go(file: Path) -> None:
    command = [sys.executable, "-c", WRITE_AND_WAIT, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        with pytest.raises(
            OutputExists, match=rf"journal\.sqlite is being written by process {other.pid}; .* one writer"
        ):
            Journal.reopened(file)
        assert [entry.event for entry in read(file)] == [note(1)], "readers are let in"
        other.kill()
    with Journal.reopened(file) as journal:
        with pytest.raises(OutputExists, match=f"process {os.getpid()}"):
            Journal.reopened(file)
        journal.write(note(2))
    assert [entry.event for entry in read(file)] == [note(1), note(2)]


def test_what_cannot_be_read_whole_is_not_reopened_and_not_held(file: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="no journal at"):
        Journal.reopened(file)
    with Journal(file) as journal:
        journal.write(note(1))
        journal.write(note(2))
    tampered(file, "UPDATE events SET time_s = time_s + 1 WHERE seq = 1")
    for _ in range(2):
        with pytest.raises(RecordingUnreadable, match=r"event 1 .* checksum"):
            Journal.reopened(file)


OLD = Path(__file__).parent / "data"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of format 1, written by beamloop 0.1.0 before there was a format 2."""
    return Path(shutil.copy(OLD / "journal_1.sqlite", tmp_path))


def test_a_journal_of_format_1_is_read_and_continued(old: Path) -> None:
    rows = [json.loads(line) for line in (OLD / "journal_1.jsonl").read_text().splitlines()]
    found = read(old)
    assert [[e.seq, e.time_s, e.event.kind] for e in found] == [row[:3] for row in rows]
    for entry, row in zip(found, rows, strict=True):
        assert holds(entry.event.model_dump(mode="json"), row[4])
    with Journal.reopened(old) as journal:
        journal.write(note(1))
    assert read(old)[:-1] == found
    assert read(old)[-1].event == note(1)
    tampered(old, "UPDATE events SET time_s = time_s + 1 WHERE seq = 24")
    with pytest.raises(RecordingUnreadable, match=r"event 24 .* checksum"):
        read(old)


def holds(now: Any, then: Any) -> bool:
    """Tell whether everything said then is said now; there may be more fields at every depth."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and holds(now[key], value) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(holds, now, then))
    return now == then


def test_reading_leaves_nothing_beside_a_closed_journal(old: Path) -> None:
    read(old)
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_newer_event_says_which_beamloop_wrote_it(file: Path, entries: list[Entry]) -> None:
    with Journal(file) as journal:
        journal.write(entries[0].event)
        journal.write(note(1).model_copy(update={"kind": "dreamt"}))
    with pytest.raises(RecordingUnreadable, match=r"written by beamloop 0: event 'dreamt' .* install the one"):
        read(file)


def tampered(file: Path, change: str) -> None:
    rows = sqlite3.connect(file, isolation_level=None)
    rows.executescript(f"DROP TRIGGER events_stay; DROP TRIGGER events_remain; {change};")
    rows.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE events SET data = replace(data, 'note 2', 'note 3') WHERE seq = 2", "event 2 .* checksum"),
        ("UPDATE events SET time_s = time_s + 1 WHERE seq = 3", "event 3 .* checksum"),
        ("DELETE FROM events WHERE seq = 2", "event 2 is missing"),
        ("PRAGMA user_version = 99", "format 99"),
    ],
)
def test_damage_is_noticed(file: Path, change: str, told: str) -> None:
    with Journal(file) as journal:
        for number in (1, 2, 3):
            journal.write(note(number))
    tampered(file, change)
    with pytest.raises(RecordingUnreadable, match=told):
        read(file)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="no journal at"):
        read(tmp_path / "nothing")
    other = tmp_path / "other"
    other.write_bytes(b"not a database " * 100)
    with pytest.raises(RecordingUnreadable, match="no readable journal"):
        read(other)


def test_threads_may_write_together_and_no_number_is_lost(file: Path) -> None:
    with Journal(file) as journal:
        writers = [threading.Thread(target=lambda: [journal.write(note(n)) for n in range(50)]) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert [entry.seq for entry in read(file)] == list(range(1, 201))


def test_every_acknowledged_event_survives_a_kill(file: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from beamloop.edge_client.record.journal import Journal\n"
        "from beamloop.edge_client.record.events import Noted\n"
        f"journal = Journal(Path({str(file)!r}))\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    journal.write(Noted(text=f'note {number}'))\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    found = [entry.event for entry in read(file)]
    assert found[: len(acknowledged)] == [note(n) for n in acknowledged]
