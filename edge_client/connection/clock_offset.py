"""By how much two clocks differ, from questions and answers between them, with a bound on the error.

The other side's reading was made somewhere between sending and receiving, so half the round trip bounds
the error, however the way there and back share it. Of several samples the quickest is taken: what delays
a message makes it less certain, never more.

Source: Mills et al., RFC 5905, Network Time Protocol version 4, section 8 (offset and delay of a round
trip; the server's two times are one here) and section 10 (clock filter: the sample of least delay).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ...core import Frozen

SAMPLES = 8


class ClockOffset(Frozen):
    """By how much the other side's time of day is ahead.

    Attributes
    ----------
    offset_s
        Their clock less ours.
    uncertainty_s
        The true difference is no further away than this.
    at_s
        When it was measured; our seconds since 1970.
    samples
        Of how many round trips this is the quickest.
    """

    offset_s: float
    uncertainty_s: float
    at_s: float
    samples: int

    def __str__(self) -> str:
        return f"{1e3 * self.offset_s:+.3f} ms, known to {1e3 * self.uncertainty_s:.3f} ms"


class RoundTrip(NamedTuple):
    """One question and its answer: when it left and came back here, and the reading there between, in seconds."""

    left_s: float
    there_s: float
    back_s: float


def measured_offset(
    ask: Callable[[], float], clock: Callable[[], float] = time.time, samples: int = SAMPLES
) -> ClockOffset:
    """Ask for the time there, `samples` times, and return the offset.

    Parameters
    ----------
    ask
        Returns the reading of the other side's clock.
    clock
        Our own time of day, in seconds since 1970.
    """
    return offset_from([RoundTrip(clock(), ask(), clock()) for _ in range(samples)])


def offset_from(trips: Iterable[RoundTrip]) -> ClockOffset:
    """Return the offset that the quickest round trip gives; one in which our own clock was set back is not counted.

    >>> offset_from([RoundTrip(10.0, 15.5, 11.0), RoundTrip(20.0, 25.4, 20.2)]).offset_s
    5.299999999999997
    """
    found = [trip for trip in trips if trip.back_s >= trip.left_s]
    if not found:
        raise ValueError("our own clock was set back in every round trip; there is nothing to measure with")
    best = min(found, key=lambda trip: trip.back_s - trip.left_s)
    middle_s = (best.left_s + best.back_s) / 2
    return ClockOffset(
        offset_s=best.there_s - middle_s, uncertainty_s=(best.back_s - best.left_s) / 2, at_s=best.back_s,
        samples=len(found),
    )  # fmt: skip
