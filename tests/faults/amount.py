"""How many of the faults are tried: a sample in `make test`, all of them in `make test-faults`."""

from __future__ import annotations

import os


def amount(sample: int, everything: int) -> int:
    """Return `sample`, or `everything` where BEAMLOOP_FAULTS is `all`, or the number that it is.

    A number never asks for more than everything.
    """
    asked = os.environ.get("BEAMLOOP_FAULTS", "")
    if asked == "all":
        return everything
    return min(int(asked), everything) if asked else sample


def first_seed() -> int:
    """Return the seed to begin at: BEAMLOOP_SEED, or 0."""
    return int(os.environ.get("BEAMLOOP_SEED", "0"))
