"""What a stream's events amount to: frames by number, and what was odd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from beamloop.streaming.detectors.events import Began, Came, Ended, Event, Odd


@dataclass
class Heard:
    """Events in the order of their kinds; frames by their number."""

    began: list[Began] = field(default_factory=list)
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.odd]


def heard(events: Iterable[Event]) -> Heard:
    found = Heard()
    for event in events:
        match event:
            case Began():
                found.began.append(event)
            case Came(numbers=numbers):
                out = np.empty((len(numbers), *found.began[-1].frame_shape), found.began[-1].dtype)
                event.open(out)
                found.frames |= dict(zip(numbers.tolist(), out, strict=True))
            case Ended(series=series):
                found.ended.append(series)
            case Odd(kind=kind, words=words):
                found.odd.append((kind, words))
    return found
