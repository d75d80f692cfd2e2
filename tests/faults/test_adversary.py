"""A crowd of adversaries in process: nothing outside a limit, nothing without a lease, one answer each, all audited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .adversary import Trial
from .amount import amount, first_seed

COMMANDS = 10_000
TRIALS = amount(2, 100)


@pytest.mark.timeout(120 + 60 * TRIALS)
def test_nothing_outside_a_limit_and_nothing_without_a_lease_reaches_the_driver(tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    for seed in range(first_seed(), first_seed() + TRIALS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        trial = Trial(seed, folder)
        for number in range(COMMANDS):
            try:
                trial.step()
            except BaseException as error:
                error.add_note(f"seed {seed}, command {number}: {trial.request!r} by {trial.caller.name}")
                raise
        trial.close()
        shutil.rmtree(folder)
        for status, count in trial.counts.items():
            counts[status] = counts.get(status, 0) + count
        # The crowd must not be so bad that nothing ever happens, or nothing would be proved.
        assert len(trial.reached) > COMMANDS / 100, f"seed {seed}"
    print(counts)
