"""The journal on a disk that loses its power: what was acknowledged is there, in order, once."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from beamloop.core import BeamloopError, StorageFailed
from beamloop.edge_client.record.events import Noted
from beamloop.edge_client.record.journal import Durability, Journal, read

from ...failing_disk import CRASHES, Disk

# SQLite passes over some errors of the disk, as of a checkpoint; apsw then complains into the air.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIVES = 5
"""Power cuts that one journal goes through, one after the other."""


class Witness:
    """Who tells an event after the other to a journal and remembers what was acknowledged."""

    def __init__(self, rng: random.Random) -> None:
        self.told: list[str] = []
        self.acknowledged = 0
        self.opened = False
        self._rng = rng

    def tell(self, journal: Journal) -> None:
        """Note a few frames, then write an event."""
        for _ in range(self._rng.choice([0, 0, 1, 20])):
            journal.note(self._next())
        journal.write(self._next())
        self.acknowledged = len(self.told)

    def _next(self) -> Noted:
        size = self._rng.choice([1, 30, 3000])
        self.told.append(f"event {len(self.told)} ".ljust(size, "."))
        return Noted(text=self.told[-1])


def lived(folder: Path, after: Path, witness: Witness, rng: random.Random, disk: Disk, durability: Durability) -> None:
    """Make or reopen the journal in a folder and write until the power goes; leave what the disk then holds."""
    end = rng.randrange(1, 120)

    def trouble(call: int) -> None:
        if call == end:
            disk.cut(after, rng)
        if call >= end:
            raise apsw.exception_for(apsw.SQLITE_IOERR)

    disk.trouble = trouble
    file = folder / "journal.sqlite"
    is_new = not file.exists()
    with disk.mounted() as connect:
        try:
            with (Journal if is_new else Journal.reopened)(file, durability, connect=connect) as journal:
                witness.opened = True
                while True:
                    witness.tell(journal)
        except StorageFailed:
            if disk.calls < end:
                raise


def found_after(folder: Path) -> list[str]:
    file = folder / "journal.sqlite"
    return [entry.event.text for entry in read(file) if isinstance(entry.event, Noted)]


class Tally(NamedTuple):
    """Power cuts, acknowledged events, how many of those were lost, and journals damaged."""

    cuts: int
    acknowledged: int
    lost: int
    damaged: int


def crashes(seed: int, parent: Path, durability: Durability, synchronous: str | None) -> Tally:
    """Put one journal through several power cuts."""
    rng, acknowledged, lost = random.Random(seed), 0, 0
    folder, witness = parent / "0", Witness(rng)
    folder.mkdir(parents=True)
    for life in range(1, LIVES + 1):
        after, before = parent / str(life), witness.acknowledged
        try:
            lived(folder, after, witness, rng, Disk(folder, synchronous), durability)
            found = found_after(after)
        except BeamloopError as error:
            if witness.opened or "no journal at" not in str(error):
                print(error)
                return Tally(life, acknowledged, lost, 1)
            # Nobody was promised anything yet: begin again.
            found = []
            shutil.rmtree(after)
            after.mkdir()
        shutil.rmtree(folder)
        folder = after
        acknowledged += witness.acknowledged - before
        lost += max(0, witness.acknowledged - len(found))
        if found != witness.told[: len(found)]:
            return Tally(life, acknowledged, lost, 1)
        witness.told, witness.acknowledged = found, len(found)
    return Tally(LIVES, acknowledged, lost, 0)


def summed(parent: Path, durability: Durability, synchronous: str | None = None) -> Tally:
    total = Tally(0, 0, 0, 0)
    for seed in range(CRASHES // LIVES):
        tally = crashes(seed, parent / f"seed-{seed}", durability, synchronous)
        print(f"seed {seed}: {tally}")
        total = Tally(*map(sum, zip(total, tally, strict=True)))
    print(f"durability {durability}, synchronous {synchronous or 'as asked'}: {total}")
    return total


def test_with_power_no_power_cut_loses_or_damages_what_was_acknowledged(tmp_path: Path) -> None:
    cuts, acknowledged, lost, damaged = summed(tmp_path, "power")
    assert cuts == CRASHES // LIVES * LIVES
    assert acknowledged > 5 * cuts
    assert (lost, damaged) == (0, 0)


def test_with_process_a_power_cut_loses_the_last_moments_and_damages_nothing(tmp_path: Path) -> None:
    """That this test can see a loss is what makes the one above worth anything."""
    cuts, _, lost, damaged = summed(tmp_path, "process")
    assert cuts == CRASHES // LIVES * LIVES
    assert lost > 0
    assert damaged == 0


def test_a_journal_that_never_syncs_is_caught(tmp_path: Path) -> None:
    assert summed(tmp_path, "power", synchronous="OFF").damaged > 0
