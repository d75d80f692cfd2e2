"""Every reply to every command of a session is lost once; nothing is done twice, and nobody gets another's answer.

The real client and server in virtual time; what is eaten is the answer, so the command was done.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .amount import amount, first_seed
from .virtual.schedule import World, world

EATEN = amount(60, 10_000)
SESSION = 20
"""Moves and scans of one session."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Eater:
    """Loses the first reply to each command, and counts how often each was asked; may take the server with it."""

    def __init__(self, made: World, kills_every: int) -> None:
        self.asked: Counter[str] = Counter()
        self._made, self._kills_every = made, kills_every

    def eats(self, request: dict[str, Any]) -> bool:
        """Tell whether this reply is lost."""
        if request["verb"] not in ("set", "acquire", "arm"):
            return False
        self.asked[request["request_id"]] += 1
        if self._kills_every and len(self.asked) % self._kills_every == 0:
            self._made.hub.after(0.0, self._made.site.nodes["server"].kill)
        return self.asked[request["request_id"]] == 1


def session(seed: int, kills_every: int = 0) -> tuple[World, Eater]:
    """Let a client do what it wants while every first reply is lost; return the world after it and who ate."""
    with world(seed, faults=0, wanted=[(0, 1, 3)[number % 3] for number in range(SESSION)]) as made:
        eater = Eater(made, kills_every)
        made.faces.eat = eater.eats
        made.begin()
        assert made.hub.run(600.0, made.is_done), "the session did not come to its end"
        made.check()
        return made, eater


@pytest.mark.timeout(3600)
def test_no_command_is_done_twice_however_many_replies_are_lost() -> None:
    eaten, seed = 0, first_seed()
    while eaten < EATEN:
        made, eater = session(seed)
        book = made.books[0]
        assert all(count > 1 for count in eater.asked.values()), "each was asked again"
        assert set(book.outcomes.values()) <= {"done"}, f"seed {seed}: {book.outcomes}"
        assert len(book.outcomes) == SESSION, f"seed {seed}: each was asked for under one name only"
        assert all(len(scans) == 1 for name, scans in made.witness.scan_of.items() if scans), f"seed {seed}: doubled"
        eaten += len(eater.asked)
        seed += 1


@pytest.mark.timeout(3600)
def test_what_nobody_knows_is_told_as_not_known_and_never_done_again_under_its_name() -> None:
    met: Counter[str] = Counter()
    for seed in range(first_seed(), first_seed() + amount(3, 100)):
        made, _ = session(seed, kills_every=4)
        met.update(outcome.partition(":")[0] for outcome in made.books[0].outcomes.values())
        assert all(len(scans) == 1 for scans in made.witness.scan_of.values() if scans), f"seed {seed}: doubled"
    print(dict(met))
    assert met["cut"] > 0, f"the server died on commands whose end nobody knows: {met}"
