"""A beam that is always on, for simulators that a benchmark drives without a guard."""

from __future__ import annotations

from beamloop.core import Blanker


class OpenBeam(Blanker):
    """A blanker that never blanks, and halts nothing."""

    def open(self) -> None:
        """Do nothing: the beam is open."""

    def close(self) -> None:
        """Do nothing: this beam stays open."""

    def is_open(self) -> bool:
        """Return True."""
        return True
