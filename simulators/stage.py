"""Where the field of view lies on the specimen: the stage, its creep after a move, and drift.

All three are functions of the virtual clock. Drift goes steadily in one direction, with a
slow waver; after a move the stage creeps the last part of the way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

SPEED_M_PER_S = 1e-6
SETTLE_S = 0.5

CREEP = 0.01
"""Share of a move that is still missing when the stage has settled."""

CREEP_S = 20.0
"""Time in which creep falls to 1/e."""

WAVER_S = 170.0


class Stage:
    """The stage of one microscope; for one thread.

    Parameters
    ----------
    drift_m_per_s
        Speed of the steady drift.
    rng
        Draws the direction of drift and the phase of its waver.
    """

    def __init__(self, drift_m_per_s: float, rng: np.random.Generator) -> None:
        direction, self._phase = rng.uniform(0, 2 * np.pi, size=2)
        self._drift = drift_m_per_s * np.array([np.sin(direction), np.cos(direction)])
        self._position = np.zeros(2)
        self._missing = np.zeros(2)
        self._arrived_s = 0.0

    @property
    def position(self) -> Reals:
        """Nominal position `(y, x)` in metres, without creep and drift, shape (2,)."""
        return self._position.copy()

    def seconds_to(self, position: Reals) -> float:
        """Return how long a move to this position takes, settling included; 0 if the stage is there."""
        distance = float(np.hypot(*(position - self._position)))
        return distance / SPEED_M_PER_S + SETTLE_S if distance else 0.0

    def reached(self, position: Reals, seconds: float) -> Reals:
        """Return where a move to this position is after so many seconds, `(y, x)` in metres, shape (2,)."""
        way = position - self._position
        distance = float(np.hypot(*way))
        if seconds * SPEED_M_PER_S >= distance:
            return np.array(position, dtype=np.float64)
        return self._position + way * (seconds * SPEED_M_PER_S / distance)

    def arrive(self, position: Reals, at_s: float) -> None:
        """Be at this position, `(y, x)` in metres, from this moment of the clock on."""
        self._missing = CREEP * (position - self._position) + self._creep(np.array([at_s]))[0]
        self._position = np.array(position, dtype=np.float64)
        self._arrived_s = at_s

    def drift(self, times_s: Reals) -> Reals:
        """Return the drift since the clock's zero at each time, shape (n,); metres, shape (n, 2)."""
        waver = (
            0.3 * WAVER_S / (2 * np.pi) * (np.sin(2 * np.pi * times_s / WAVER_S + self._phase) - np.sin(self._phase))
        )
        return np.outer(times_s, self._drift) + np.outer(waver, self._drift[::-1])

    def offset(self, times_s: Reals) -> Reals:
        """Return the specimen coordinate of the field's corner at each time, shape (n,); metres, shape (n, 2)."""
        return self._position - self._creep(times_s) + self.drift(times_s)

    def _creep(self, times_s: Reals) -> Reals:
        return np.outer(np.exp(-np.maximum(times_s - self._arrived_s, 0) / CREEP_S), self._missing)
