from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from beamloop.active_learning.surrogate_policy import Order
from beamloop.active_learning.visiting import FarthestFirst, Scattered, Shuffled, Typical

GRID = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0), indexing="ij"), axis=-1).reshape(-1, 2)

ORDERS: dict[str, Callable[[int], Order]] = {
    "shuffled": lambda seed: Shuffled(81, seed),
    "farthest": lambda seed: FarthestFirst(GRID, seed),
    "scattered": lambda seed: Scattered(GRID, seed, count=16),
    "typical": lambda seed: Typical(GRID, 5, seed, after=Shuffled(81, seed)),
}


def visit(order: Order, steps: int, visited: set[int] | None = None) -> list[int]:
    seen, path = set(visited or ()), []
    for _ in range(steps):
        candidate = order.next(seen)
        assert candidate is not None
        path.append(candidate)
        seen.add(candidate)
    return path


@pytest.mark.parametrize("name", ORDERS)
def test_every_candidate_comes_once_and_then_none(name: str) -> None:
    order = ORDERS[name](0)
    assert sorted(visit(order, 81)) == list(range(81))
    assert order.next(range(81)) is None


@pytest.mark.parametrize("name", ORDERS)
def test_seed_decides_and_a_resumed_order_goes_on_the_same(name: str) -> None:
    path = visit(ORDERS[name](3), 30)
    assert path == visit(ORDERS[name](3), 30)
    assert path[20:] == visit(ORDERS[name](3), 10, visited=set(path[:20]))
    assert any(path != visit(ORDERS[name](seed), 30) for seed in range(4, 8))


@pytest.mark.parametrize("name", ORDERS)
def test_places_visited_by_others_are_stepped_over(name: str) -> None:
    assert not set(visit(ORDERS[name](0), 40, visited=set(range(40)))) & set(range(40))


def test_farthest_first_refines_a_grid_coarse_to_fine() -> None:
    path = visit(FarthestFirst(GRID, 0), 81)
    gaps = [cdist(GRID[path[n : n + 1]], GRID[path[:n]]).min() for n in range(1, 81)]
    assert (np.diff(gaps) <= 1e-9).all()
    # Gonzalez: farthest-first covers within twice the best possible radius; here 25 points can reach sqrt(2).
    assert cdist(GRID, GRID[path[:25]]).min(axis=1).max() <= 2 * np.sqrt(2)
    assert path[0] == 40


def test_scattered_places_cover_better_than_shuffled_ones() -> None:
    def radius(order: Order) -> float:
        return float(cdist(GRID, GRID[visit(order, 12)]).min(axis=1).mean())

    spread = np.mean([radius(Scattered(GRID, seed)) for seed in range(20)])
    drawn = np.mean([radius(Shuffled(81, seed)) for seed in range(20)])
    assert spread < 0.9 * drawn


def test_typical_places_show_every_sort_the_most_frequent_first() -> None:
    rng = np.random.default_rng(0)
    sorts = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    points = 10.0 * np.eye(4)[sorts] + rng.normal(scale=0.1, size=(100, 4))
    assert [int(sorts[i]) for i in visit(Typical(points, 4, 1, after=Shuffled(100, 0)), 4)] == [0, 1, 2, 3]


def test_pools_of_equal_places_are_visited_too() -> None:
    same = np.zeros((7, 2))
    for order in (FarthestFirst(same, 0), Scattered(same, 0), Typical(same, 3, 0, after=Shuffled(7, 0))):
        assert sorted(visit(order, 7)) == list(range(7))
