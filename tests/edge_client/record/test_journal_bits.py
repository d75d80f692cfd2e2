"""One flipped bit in a journal or its write-ahead log is noticed, or nothing of the rows has changed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from beamloop.core import RecordingUnreadable
from beamloop.edge_client.record.events import Noted
from beamloop.edge_client.record.journal import Entry, Journal, read

from ...failing_disk import CRASHES

FLIPS = 15 * CRASHES


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> Path:
    folder = tmp_path_factory.mktemp("closed")
    written(folder, entries).close()
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> Path:
    """What a kill leaves: most of the rows lie in the log only."""
    folder, left = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("killed")
    with written(folder, entries):
        for path in folder.iterdir():
            shutil.copy(path, left)
    (left / "journal.sqlite-shm").unlink()
    return left


def written(folder: Path, entries: list[Entry]) -> Journal:
    times = iter([entry.time_s for entry in entries])
    journal = Journal(folder / "journal.sqlite", clock=lambda: next(times))
    for entry in entries:
        journal.write(entry.event)
    return journal


def flipped(folder: Path, copy: Path, rng: random.Random) -> str:
    """Copy a folder with one bit of its journal turned over; return where."""
    shutil.copytree(folder, copy)
    files = [path for path in copy.iterdir() if not path.name.endswith("-mark")]
    path = rng.choice(sorted(files))
    content = bytearray(path.read_bytes())
    # The first bytes say what all others are.
    place = rng.randrange(100 if rng.random() < 0.2 else len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{path.name}, byte {place}"


@pytest.mark.parametrize("left", ["closed", "killed"])
def test_one_flipped_bit_is_noticed_or_harmless(
    left: str, entries: list[Entry], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(left)
    noticed = 0
    for seed in range(FLIPS):
        copy = tmp_path / "copy"
        where = flipped(folder, copy, random.Random(seed))
        try:
            assert read(copy / "journal.sqlite") == entries, f"seed {seed}: {where}"
        except RecordingUnreadable:
            noticed += 1
            with pytest.raises(RecordingUnreadable):
                Journal.reopened(copy / "journal.sqlite")
        shutil.rmtree(copy)
    print(f"{left}: {noticed} of {FLIPS} flips noticed, the others harmless")
    assert noticed > FLIPS // 10


def test_a_lost_log_is_noticed_unless_the_mark_is_taken_away(
    killed: Path, entries: list[Entry], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(killed, tmp_path / "copy"))
    (copy / "journal.sqlite-wal").unlink()
    with pytest.raises(RecordingUnreadable, match=rf"ends with event 0, but {len(entries)} were written.*-mark"):
        read(copy / "journal.sqlite")
    (copy / "journal.sqlite-mark").unlink()
    assert read(copy / "journal.sqlite") == []


@pytest.mark.parametrize("garbage", [b"", b"\n", b"7 8 9 nonsense", b"\xff" * 64])
def test_a_mark_that_cannot_be_read_says_nothing(
    garbage: bytes, closed: Path, entries: list[Entry], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(closed, tmp_path / "copy"))
    (copy / "journal.sqlite-mark").write_bytes(garbage)
    assert read(copy / "journal.sqlite") == entries
    with Journal.reopened(copy / "journal.sqlite") as journal:
        journal.write(Noted(text="on"))
    assert len(read(copy / "journal.sqlite")) == len(entries) + 1
