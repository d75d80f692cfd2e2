"""How long a scan takes, said before it is made: settling, exposure, and the pauses between positions."""

from __future__ import annotations

from pydantic import NonNegativeFloat

from .frozen import Frozen
from .plan import Acquisition, GridScan


class Timing(Frozen):
    """What an instrument needs beside the exposure itself, seconds.

    Attributes
    ----------
    settle_s
        From the command to the first exposure.
    flyback_s
        From the last pixel of a row to the first of the next.
    jump_s
        From one point of a list to the next.
    """

    settle_s: NonNegativeFloat
    flyback_s: NonNegativeFloat
    jump_s: NonNegativeFloat

    def duration_s(self, plan: Acquisition) -> float:
        """Return how long a plan takes; an expectation takes nothing.

        >>> from .plan import GridScan
        >>> timing = Timing(settle_s=1e-3, flyback_s=1e-2, jump_s=0.0)
        >>> round(timing.duration_s(GridScan(detector="haadf", shape=(3, 10), dwell_s=1e-3)), 6)
        0.051
        """
        if plan.expected:
            return 0.0
        if isinstance(plan, GridScan):
            pauses_s = (plan.shape[0] - 1) * self.flyback_s
        else:
            pauses_s = (plan.count - 1) * self.jump_s
        return self.settle_s + pauses_s + plan.count * plan.dwell_s


GENERIC = Timing(settle_s=0.05, flyback_s=1e-3, jump_s=1e-2)
"""What is assumed of an instrument that does not say; good for an order of magnitude."""
