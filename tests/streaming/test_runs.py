"""Runs are the set of numbers put into them, told in the fewest pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamloop.streaming.runs import Runs, runs_of, told

NUMBERS = st.integers(0, 60)
ADDED = st.lists(st.tuples(NUMBERS, st.integers(0, 9)), max_size=30)


def _pairs(numbers: set[int]) -> list[tuple[int, int]]:
    """Return the runs of a set, made without the code under test."""
    firsts = [n for n in sorted(numbers) if n - 1 not in numbers]
    lasts = [n for n in sorted(numbers) if n + 1 not in numbers]
    return list(zip(firsts, lasts, strict=True))


@given(ADDED, NUMBERS)
def test_runs_hold_what_a_set_would_hold(added: list[tuple[int, int]], dropped: int) -> None:
    runs, numbers = Runs(), set[int]()
    for first, length in added:
        runs.add(first, first + length - 1)
        numbers |= set(range(first, first + length))
    assert list(runs.pairs()) == _pairs(numbers)
    assert len(runs) == len(numbers)
    assert all((n in runs) == (n in numbers) for n in range(80))
    gaps = set(range(dropped, dropped + 9)) - numbers
    assert list(runs.outside(dropped, dropped + 8)) == _pairs(gaps)
    runs.drop_up_to(dropped)
    assert list(runs.pairs()) == _pairs({n for n in numbers if n > dropped})


@given(st.lists(NUMBERS))
def test_runs_of_indices_are_those_of_the_set(indices: list[int]) -> None:
    assert list(runs_of(np.array(indices, dtype=np.int64))) == _pairs(set(indices))


def test_many_runs_are_told_in_few_words() -> None:
    every = [(2 * n, 2 * n) for n in range(25)]
    assert told(every, most=2) == "0, 2, and 23 more ranges"
    assert Runs(every).pairs(2) == ((0, 0), (2, 2))


@pytest.mark.parametrize("run", [(5, 4), (0, -1)])
def test_a_run_that_ends_before_it_begins_adds_nothing(run: tuple[int, int]) -> None:
    assert Runs([run]).pairs() == ()
