"""Words at the guard: each is in the audit once, whatever beats are lost and whatever the disk does."""

from __future__ import annotations

from typing import Any

from beamloop.instrument_server.beam import Beam
from beamloop.instrument_server.guard.spoken import MOST, Spoken, Word


class Guarded:
    """A guard that forgets a word only when it hears that it is written."""

    def __init__(self) -> None:
        self.spoken, self.lost, self.now_s = Spoken(), False, 0.0

    def say(self, act: Any, **facts: Any) -> dict[str, Any] | None:
        if act == "beat":
            self.spoken.written(facts["written"])
        return None if self.lost else {"open": False, "words": [list(w) for w in self.spoken.unwritten(self.now_s)]}


def test_a_word_is_written_once_however_often_it_comes() -> None:
    guard, heard = Guarded(), list[Word]()
    beam = Beam(guard, lambda: None, lambda: None, lambda word: heard.append(word) or True)
    guard.spoken.said("stop", "ada", now_s=1.0)
    guard.now_s, guard.lost = 1.5, True
    beam.beat()
    guard.lost = False
    for _ in range(3):
        beam.beat()
        beam.close()
    guard.spoken.said("blank", "bob", now_s=1.5)
    beam.beat()
    assert heard == [Word(1, "stop", "ada", 0.5), Word(2, "blank", "bob", 0.0)]
    beam.beat()
    assert guard.spoken.unwritten(2.0) == []


def test_a_word_that_the_disk_does_not_take_comes_again() -> None:
    guard, heard, takes = Guarded(), list[str](), [False]
    beam = Beam(guard, lambda: None, lambda: None, lambda word: takes[0] and (heard.append(word.word) or True))
    for word in ("stop", "pause"):
        guard.spoken.said(word, "ada", 0.0)
    beam.beat()
    assert heard == []
    takes[0] = True
    beam.beat()
    assert heard == ["stop", "pause"]


def test_a_crowd_loses_the_oldest_words_and_the_numbers_tell() -> None:
    spoken = Spoken()
    for _ in range(MOST + 5):
        spoken.said("blank", "eve", 0.0)
    assert [word.number for word in spoken.unwritten(0.0)] == list(range(6, MOST + 6))
