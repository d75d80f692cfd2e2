"""Words said at the guard, kept by it until the server has them in its audit.

The guard has no disk and waits for nobody, so the words go to the server with the answers to its beats,
again and again until it says that they are written. Those said while no server beats are lost with the guard.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MOST = 64
"""Words that are kept; a crowd that says more loses the oldest, and the missing numbers tell."""


class Word(NamedTuple):
    """What was said, by whom, and how long ago."""

    number: int
    word: str
    by: str
    ago_s: float


class Spoken:
    """The words that are not written down yet; a state machine without clock. One thread."""

    def __init__(self) -> None:
        self._number = 0
        self._unwritten: deque[Word] = deque(maxlen=MOST)

    def said(self, word: str, by: str, now_s: float) -> None:
        """Keep a word."""
        self._number += 1
        self._unwritten.append(Word(self._number, word, by, now_s))

    def written(self, number: int) -> None:
        """Forget the words up to this number: they are in the audit."""
        while self._unwritten and self._unwritten[0].number <= number:
            self._unwritten.popleft()

    def unwritten(self, now_s: float) -> list[Word]:
        """Return the words to write down, oldest first."""
        return [word._replace(ago_s=now_s - word.ago_s) for word in self._unwritten]
