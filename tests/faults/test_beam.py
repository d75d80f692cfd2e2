"""The beam goes dark in time whoever dies or falls silent, alone or two at once, as long as anybody is left."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .virtual.schedule import World, world
from .virtual.witness import GRACE_S, SILENCE_S

NAMES = ("server", "guard", "driver", "client")
FAULTS = [f"{verb} {name}" for verb in ("kill", "pause") for name in NAMES] + ["clog 0", "cable 0"]
PAIRS = [(one,) for one in FAULTS] + [
    pair for pair in itertools.combinations(FAULTS, 2) if pair[0].split()[1] != pair[1].split()[1]
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def with_open_beam(seed: int) -> Iterator[World]:
    """Give a world in the middle of a long scan, in which nobody mends anything."""
    with world(seed, faults=0, wanted=[1000]) as made:
        made.dwell_s = 0.01
        made.site.start()
        made._client(made.books[0])
        assert made.hub.run(5.0, lambda: made.site.beam_is_open), "the scan never began"
        made.hub.run(made.hub.now_s + 0.3 + made.rng.random())
        yield made


@pytest.mark.parametrize("faults", PAIRS, ids=" and ".join)
def test_the_beam_is_dark_within_its_lease_after(faults: tuple[str, ...]) -> None:
    with with_open_beam(seed=len(" ".join(faults))) as made:
        made._while = lambda: 100.0
        began_s = made.hub.now_s
        for fault in faults:
            verb, _, what = fault.partition(" ")
            if verb in ("clog", "cable"):
                made._break(verb, int(what))
            else:
                made._make_fault(fault)
        # The witness raises by itself if the beam is open later than promised.
        dark = made.hub.run(began_s + SILENCE_S + 1.0 + GRACE_S, lambda: not made.site.beam_is_open)
        assert dark, f"still open {made.hub.now_s - began_s:.2f} s after {faults}"


@pytest.mark.parametrize("order", list(itertools.permutations(("server", "guard", "driver"))), ids=" then ".join)
def test_who_was_held_up_and_goes_on_keeps_no_beam_open_with_what_was_said_before(order: tuple[str, ...]) -> None:
    for seed, (first, held_up_s) in enumerate(itertools.product(order, (0.2, 0.5, 0.8))):
        with with_open_beam(seed) as made:
            began_s = made.hub.now_s
            for number, name in enumerate(order):
                made.hub.after(0.07 * number, made.site.nodes[name].pause)
            made.hub.after(0.15 + held_up_s, made.site.nodes[first].resume)
            # The witness counts from when each fell silent, and knows that nobody could blank while all were held up.
            dark = made.hub.run(began_s + 2 * SILENCE_S, lambda: not made.site.beam_is_open)
            assert dark, f"still open {made.hub.now_s - began_s:.2f} s after {order} were held up and {first} went on"


def test_a_server_that_leaves_while_the_driver_is_held_up_and_the_guard_dead_blanks_first() -> None:
    for seed in range(10):
        with with_open_beam(seed) as made:
            began_s = made.hub.now_s
            made.site.nodes["driver"].pause()
            made.site.nodes["guard"].kill()
            made.site.terminate()
            dark = made.hub.run(began_s + SILENCE_S, lambda: not made.site.beam_is_open)
            assert dark, "it left, and the beam is open"


def test_a_scan_that_nobody_disturbs_keeps_its_beam() -> None:
    with with_open_beam(seed=5) as made:
        assert not made.hub.run(made.hub.now_s + 5.0, lambda: not made.site.beam_is_open)
