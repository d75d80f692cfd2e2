"""What became of a request, as a reply: done, refused (nothing was done), failed (it was tried) or interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..core import BeamloopError, DriverFailed, Interrupted, MotionHalted, ProofFailed, Reply


def outcome_of(deed: Callable[[], Mapping[str, Any]]) -> Reply:
    """Do something and return what became of it; whatever beamloop refuses is a reply, not an error."""
    try:
        return Reply(status="done", value=dict(deed()))
    except (DriverFailed, MotionHalted, ProofFailed) as failure:
        return Reply(status="failed", error=type(failure).__name__, message=str(failure))
    except BeamloopError as error:
        return refusal(error)


def refusal(error: BeamloopError) -> Reply:
    """Return the reply that nothing was done, and why."""
    return Reply(status="refused", error=type(error).__name__, message=str(error))


def interruption(why: str) -> Reply:
    """Return the reply that something was begun and nobody knows how it ended."""
    told = f"{why}; whether it came to its end is not known. Charge its dose and repeat it under a new name"
    return Reply(status="failed", error=Interrupted.__name__, message=told)
