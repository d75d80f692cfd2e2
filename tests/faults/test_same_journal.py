"""The same seed gives the same journal, byte for byte, whatever goes wrong in a run and wherever it is cut off.

Loop, policy, conductor and journal as they are; clock and instrument are virtual and drawn from the seed.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beamloop.active_learning import policy as policies
from beamloop.active_learning.loop import Loop
from beamloop.active_learning.stopping import StopRules
from beamloop.core import Measurement, Policy, Pool
from beamloop.edge_client.conductor import Conductor, StopWished
from beamloop.edge_client.measuring import Broken, Halted, NoValue, Value
from beamloop.edge_client.progress import Silence
from beamloop.edge_client.record.events import Arrived, Budget, Commanded, Declined, Ended, Interrupted
from beamloop.edge_client.record.journal import Entry, Journal, read
from beamloop.edge_client.retelling import Script, retell, suggestions
from beamloop.edge_client.thinking import Thinking

from .amount import amount, first_seed

POOL = Pool(
    np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0), indexing="ij"), -1).reshape(-1, 2) * 1e-9, shape=(6, 6)
)
RULES = StopRules(points=14)
BUDGET = dict.fromkeys(Budget.model_fields, 0.001)


class Killed(Exception):
    """The process is gone."""


class Clock:
    """Goes on by a drawn moment whenever it is read."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self.now_s = rng, 1000.0

    def __call__(self) -> float:
        self.now_s += self._rng.random() * 1e-3
        return self.now_s


class Instrument:
    """Worker and inbox in one: what it is asked for comes back in a drawn order, with a drawn outcome."""

    def __init__(self, rng: random.Random, clock: Clock, killed_at: int) -> None:
        self._rng, self._clock, self._left = rng, clock, killed_at
        self._asked: list[Commanded] = []
        self._news: list[Any] = []

    def measure(self, order: Commanded) -> None:
        self._asked.append(order)

    def settle(self, unsettled: Sequence[Commanded]) -> None:
        self._news += [Broken(self._cut_off(order), self._clock()) for order in unsettled]

    def close(self) -> None:
        self._news += [self._outcome() for _ in list(self._asked)]

    def abandon(self) -> None:
        self._asked.clear()

    def empty(self) -> bool:
        return not self._news

    def get(self) -> Any:
        self._left -= 1
        if self._left == 0:
            raise Killed
        return self._news.pop(0) if self._news else self._outcome()

    def _outcome(self) -> Any:
        drawn = self._rng.random()
        if drawn > 0.99:
            return StopWished("Ctrl-C")
        order, now_s = self._asked.pop(self._rng.randrange(len(self._asked))), self._clock()
        name = order.measurement_id
        if drawn > 0.98:
            return Halted("the lease was taken", lost=False)
        if drawn > 0.9:
            return Broken(self._cut_off(order), now_s)
        if drawn > 0.8:
            outcome = "refused" if drawn > 0.85 else "failed"
            return NoValue(Declined(measurement_id=name, outcome=outcome, error="LimitRefused", message="no"), now_s)
        place = order.suggestion.candidate
        y, x = POOL.positions[place]
        measured = Measurement(
            measurement_id=name, candidate=place, position=(float(y), float(x)), std=0.1, electrons=10.0,
            duration_s=0.01, value=float(np.sin(1e9 * y) + np.cos(1e9 * x)) + self._rng.gauss(0.0, 0.1),
        )  # fmt: skip
        arrived = Arrived(measurement=measured, scan_id=f"s-{name}", budget=Budget(**BUDGET))
        return Value((), arrived, place, now_s)

    def _cut_off(self, order: Commanded) -> Interrupted:
        return Interrupted(
            measurement_id=order.measurement_id, reason="cut off", electrons=10.0, duration_s=0.01, estimated=True
        )


def played(file: Path, seed: int, make: Callable[[Pool, int], Policy]) -> bytes:
    """Run until the end, killed on the way if the seed says so; return the journal's bytes."""
    rng = random.Random(seed)
    clock, ahead, past = Clock(rng), rng.randrange(3), list[Entry]()
    for killed_at in ([rng.randrange(1, 20)] if rng.random() < 0.7 else []) + [0]:
        thinking = Thinking(Script(make(POOL, seed), suggestions(past)), clock)
        loop = Loop(thinking, RULES, ahead)
        told = retell(loop, past) if past else None
        worker: Any = Instrument(rng, clock, killed_at)
        opened = Journal.reopened if past else Journal
        with opened(file, clock=clock) as journal:
            conductor = Conductor(loop, thinking, journal, worker, Silence(), "me", clock, told)
            with suppress(Killed):
                conductor.conduct(worker)
                break
        past = list(read(file))
    assert isinstance(read(file)[-1].event, Ended)
    return file.read_bytes()


def same_twice(folder: Path, seed: int, make: Callable[[Pool, int], Policy]) -> bytes:
    first, second = (played(folder / f"{seed}-{turn}.sqlite", seed, make) for turn in "ab")
    assert first == second, f"BEAMLOOP_SEED={seed} BEAMLOOP_FAULTS=1 pytest {__file__}"
    return first


def test_the_same_seed_gives_the_same_journal_bytes(tmp_path: Path) -> None:
    seeds = range(first_seed(), first_seed() + amount(25, 1000))
    journals = {same_twice(tmp_path, seed, policies.random) for seed in seeds}
    assert len(journals) == len(seeds), "other seeds give other journals"


@pytest.mark.parametrize("seed", range(amount(2, 20)))
def test_a_learning_policy_decides_the_same_again(tmp_path: Path, seed: int) -> None:
    same_twice(tmp_path, seed, policies.gp_coordinates)


def test_a_policy_that_draws_from_elsewhere_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="BEAMLOOP_SEED=0"):
        same_twice(tmp_path, 0, lambda pool, seed: policies.random(pool, secrets.randbits(32)))
