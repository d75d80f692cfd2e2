"""A policy with a stopwatch: how long it thought, apart from what the runner does around it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..core import Measurement, Policy, Prediction, Suggestion


class Thinking:
    """Pass every call on to a policy and add up the seconds it takes. Call it from one thread.

    Parameters
    ----------
    policy
        The policy.
    clock
        Monotonic seconds.

    Attributes
    ----------
    spent_s
        Seconds thought so far.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float]) -> None:
        self._policy, self._clock = policy, clock
        self.spent_s = 0.0

    def observe(self, measurement: Measurement) -> None:
        """Let the policy learn."""
        start = self._clock()
        self._policy.observe(measurement)
        self.spent_s += self._clock() - start

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        """Let the policy choose."""
        start = self._clock()
        suggestion = self._policy.suggest(taken, closed)
        self.spent_s += self._clock() - start
        return suggestion

    def belief(self) -> Prediction | None:
        """Let the policy say what it believes."""
        start = self._clock()
        belief = self._policy.belief()
        self.spent_s += self._clock() - start
        return belief
