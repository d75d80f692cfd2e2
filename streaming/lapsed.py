"""What waits for recorders whose lease has ended: kept for their return within a bound, then told as lost by number.

A client may lose its data line, give its lease back and come for its frames later, so nothing of it
vanishes because somebody else has the lease now. But most former holders never come back, and
what is kept for all of them must not grow. So the last one keeps everything, and those before it
together as much as one recorder may. Beyond that the frames of the oldest are let go, and a loss
that names them stands in place of each batch: who comes back reads "lacks frames 1041-1056". These
accounts may take as much memory again; beyond it the oldest is forgotten, and a receiver that is
still there is told that.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from .channel import Outgoing


class Lapsed:
    """The channels of former recorders, in the order in which their leases ended. Not thread-safe.

    Parameters
    ----------
    memory_bytes, disk_bytes
        What the channels may hold together, beside the last one.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int) -> None:
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._channels: dict[str, Outgoing] = {}
        # Those whose frames were let go; accounts of them stand there instead.
        self._emptied: dict[str, Outgoing] = {}

    @property
    def oldest(self) -> str | None:
        """The one whose lease ended first; None if there is none."""
        return next(iter(self._emptied), None) or next(iter(self._channels), None)

    def add(self, name: str, channel: Outgoing) -> None:
        """Note that a recorder's lease has ended, and let go of what is too much, the oldest first."""
        self.back(name)
        # One alone holds no more than a recorder may: what its bound was for.
        while len(before := [n for n, c in self._channels.items() if not c.idle]) > 1 and self._outgrown(before):
            self._emptied[before[0]] = self._channels.pop(before[0])
            self._emptied[before[0]].lose()
        while sum(emptied.statistics().retained_bytes for emptied in self._emptied.values()) > self._memory_bytes:
            self._emptied.pop(next(iter(self._emptied))).forget(secrets.randbits(62) + 1)
        self._channels[name] = channel

    def back(self, name: str) -> None:
        """Note that a recorder commands again, or is gone for good."""
        self._channels.pop(name, None)
        self._emptied.pop(name, None)

    def _outgrown(self, names: Iterable[str]) -> bool:
        held = [self._channels[name].statistics() for name in names]
        in_memory, on_disk = sum(one.retained_bytes for one in held), sum(one.spilled_bytes for one in held)
        return in_memory > self._memory_bytes or on_disk > self._disk_bytes
