"""How a recording is played: how fast, how often, and who looks on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Generic, TypeVar

from ....core.errors import SettingsInvalid

Block = TypeVar("Block")

CACHE_BYTES = 1 << 29
"""What an emulator keeps encoded, so that it does not encode while it plays; longer recordings are encoded anew."""

BLOCK_BYTES = 1 << 20
BLOCK_S = 0.02
"""Frames that are sent at once: so many bytes, or at a slow rate the frames of this time."""

LOOK_S = 0.1
"""How often whoever waits looks whether it is to stop."""


@dataclass(frozen=True)
class Playing:
    """One way of playing a recording.

    Attributes
    ----------
    rate
        Frames per second; 0 plays as fast as they are taken.
    repeat
        How many acquisitions; 0 plays until it is stopped.
    waits
        Whether an acquisition waits for a command, or begins when somebody is connected.
    stop
        Set to end it, from any thread.
    told
        Called with frames and bytes after each block that was sent.
    """

    rate: float = 0.0
    repeat: int = 1
    waits: bool = False
    stop: Event = field(default_factory=Event)
    told: Callable[[int, int], None] = lambda frames, nbytes: None

    def together(self, frame_bytes: int) -> int:
        """Return how many frames are sent at once."""
        by_size = max(1, BLOCK_BYTES // frame_bytes)
        return by_size if self.rate <= 0 else max(1, min(by_size, int(self.rate * BLOCK_S)))

    def acquisitions(self) -> Iterator[int]:
        """Yield the number of each acquisition, from 1, until it is enough or stopped."""
        number = 0
        while not self.stop.is_set() and (self.repeat == 0 or number < self.repeat):
            number += 1
            yield number

    def awaited(self, event: Event) -> bool:
        """Wait for an event and clear it; return False if stopped meanwhile."""
        while not event.wait(LOOK_S):
            if self.stop.is_set():
                return False
        event.clear()
        return True


class Pace:
    """Lets frames go no faster than they should; for one acquisition."""

    def __init__(self, playing: Playing) -> None:
        self._playing = playing
        self._start = time.monotonic()
        self._sent = 0

    def next(self, frames: int) -> bool:
        """Wait until so many more frames are due; return False if stopped meanwhile."""
        rate, stop = self._playing.rate, self._playing.stop
        self._sent += frames
        if rate <= 0:
            return not stop.is_set()
        due = self._start + self._sent / rate
        return not stop.wait(max(0.0, due - time.monotonic()))


class Cached(Generic[Block]):
    """Encoded blocks of a recording, kept if they are not too many.

    Parameters
    ----------
    encoded
        Encodes the whole recording, block by block.
    size
        Bytes of one block.
    """

    def __init__(self, encoded: Callable[[], Iterable[Block]], size: Callable[[Block], int]) -> None:
        self._encoded, self._size = encoded, size
        self._kept: list[Block] | None = None

    def prepare(self) -> None:
        """Encode as much as is kept, before anybody waits for it."""
        kept, size = list[Block](), 0
        for block in self._encoded():
            kept.append(block)
            size += self._size(block)
            if size > CACHE_BYTES:
                return
        self._kept = kept

    def blocks(self) -> Iterable[Block]:
        """Return all blocks in order."""
        return self._encoded() if self._kept is None else self._kept


def refused_port(what: str, host: str, port: int, error: OSError) -> SettingsInvalid:
    """Return the error about a port that cannot be listened at."""
    return SettingsInvalid(f"{what} cannot listen at {host}:{port}: {error}; name a free port, or 0 for any")
