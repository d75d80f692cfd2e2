"""How far each parameter has moved lately, so that a rate of change is kept by many small commands too.

A rate of 1 V/s means: within any second, no further than 1 V, there and back counted. So a
long rest allows no jump, and a ramp goes in steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

WINDOW_S = 1.0
"""The time within which a rate is kept."""


class Travel:
    """Moves of the last second; whoever calls it says what time it is, and calls it under one lock."""

    def __init__(self) -> None:
        self._moves: dict[str, deque[tuple[float, float]]] = {}

    def note(self, before: Mapping[str, float], after: Mapping[str, float], now_s: float) -> None:
        """Note that parameters went from these values to those; of one whose value was not known, nothing is noted."""
        for name, value in after.items():
            distance = abs(value - before.get(name, value))
            if distance:
                self._moves.setdefault(name, deque()).append((now_s, distance))

    def lately(self, now_s: float) -> dict[str, float]:
        """Return how far each parameter has moved within the last second.

        >>> travel = Travel()
        >>> travel.note({"bias_v": 0.0}, {"bias_v": 0.5}, now_s=10.0)
        >>> travel.lately(10.9), travel.lately(11.0)
        ({'bias_v': 0.5}, {})
        """
        for name in list(self._moves):
            moves = self._moves[name]
            while moves and now_s - moves[0][0] >= WINDOW_S:
                moves.popleft()
            if not moves:
                del self._moves[name]
        return {name: sum(distance for _, distance in moves) for name, moves in self._moves.items()}
