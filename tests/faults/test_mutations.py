"""The simulation finds what it is there to find: each of these bugs, put in on purpose, breaks a promise it sees."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from beamloop.core import Reply, StorageFailed
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.instrument_server import driver
from beamloop.instrument_server.answers import Answers
from beamloop.instrument_server.audit.writing import Audit
from beamloop.instrument_server.beam import Beam
from beamloop.instrument_server.command_table import CommandTable
from beamloop.instrument_server.guard.guard import Guard
from beamloop.instrument_server.guard.watch import Watch
from beamloop.instrument_server.lease.lease import Lease
from beamloop.streaming.channel import Incoming, Outgoing
from beamloop.streaming.loss import Losses
from beamloop.streaming.seats import ReaderSeat, RecorderSeat, ViewerSeat
from beamloop.streaming.sender import Sender
from beamloop.streaming.spill import Spill

from .amount import first_seed
from .virtual.hub import Stuck
from .virtual.schedule import play
from .virtual.witness import Broken

SEEDS = 100
"""Within so many schedules each bug must be found."""

Mutate = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def forgets_what_was_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CommandTable, "known", lambda self, request: None)


def answers_every_client_with_its_first_answer(patch: pytest.MonkeyPatch) -> None:
    first: dict[str, Reply] = {}
    once = CommandTable.once

    def wrong(self: CommandTable, request: Any, *how: Any) -> Reply:
        return first.setdefault(f"{request.client} {request.verb}", once(self, request, *how))

    patch.setattr(CommandTable, "once", wrong)


def asks_again_under_another_name(patch: pytest.MonkeyPatch) -> None:
    again = ControlLine._sent_again

    def renamed(self: ControlLine, request: Any) -> object:
        return again(self, request.model_copy(update={"request_id": request.request_id + "'"}))

    patch.setattr(ControlLine, "_sent_again", renamed)


def never_lets_a_lease_expire(patch: pytest.MonkeyPatch) -> None:
    made = Lease.__init__
    patch.setattr(Lease, "__init__", lambda self, length_s: made(self, 1e9))


def gives_the_lease_to_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    take = Lease.take

    def greedy(self: Lease, *who: Any) -> Any:
        self._line = []
        return take(self, *who)

    patch.setattr(Lease, "take", greedy)


def keeps_the_beam_open_whoever_is_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "may_be_open", lambda self, now_s: self._open_until_s is not None)


def counts_what_is_said_from_when_it_is_heard(patch: pytest.MonkeyPatch) -> None:
    private = Guard.private
    patch.setattr(Guard, "private", lambda self, message, now_s: private(self, {**message, "said_s": now_s}, now_s))


def lets_a_stop_be_a_blank(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "stop", lambda self, reason: self.close())


def does_not_blank_when_told_to_stop(patch: pytest.MonkeyPatch) -> None:
    hear = Guard.hear

    def careless(self: Guard, message: Any, *args: Any) -> Any:
        close, self._blanker.close = self._blanker.close, lambda: None  # type: ignore[method-assign]
        try:
            return hear(self, message, *args)
        finally:
            self._blanker.close = close  # type: ignore[method-assign]

    patch.setattr(Guard, "hear", careless)
    patch.setattr(Guard, "tick", lambda self, *args: None)


def leaves_the_beam_open_when_the_guard_is_silent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Beam, "_hear", lambda self, facts: setattr(self, "_facts", facts))
    patch.setattr(driver, "beat", lambda line, there, done, blank: _beat(line, there, done))


def _beat(line: Any, there: Any, done: Any) -> None:
    while not done.wait(0.05):
        facts = line.say("beat", acquiring=there.acquiring)
        there.halted = there.halted if facts is None else facts["halted"]


def takes_a_frame_that_came_twice(patch: pytest.MonkeyPatch) -> None:
    numbered = Incoming._numbered

    def gullible(self: Incoming, message: Any) -> Any:
        if self._welcomed and (message.session, message.link, message.seq) == (
            self._session,
            self._link,
            self._received,
        ):
            return message
        return numbered(self, message)

    patch.setattr(Incoming, "_numbered", gullible)


def lets_go_of_what_is_received_and_not_stored(patch: pytest.MonkeyPatch) -> None:
    acknowledge = Outgoing._acknowledge

    def hasty(self: Outgoing, received: int, credit: int) -> None:
        acknowledge(self, received, credit)
        self._release(min(received, self._highest))

    patch.setattr(Outgoing, "_acknowledge", hasty)


def never_returns_credit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Incoming, "take", lambda self, session, count=1: False)


def takes_the_lease_and_leaves_the_beam_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Beam, "halt", lambda self: None)


def takes_the_lease_and_does_not_tell_whose_it_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "_remember", lambda *what: None)


def says_that_it_hands_the_lease_over_and_keeps_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lease, "hand_over", lambda self, client, to, now_s: self.info(now_s))


def does_not_count_what_was_given_before_somebody_looked(patch: pytest.MonkeyPatch) -> None:
    begin = ViewerSeat.begin
    patch.setattr(ViewerSeat, "begin", lambda self, scan, given=0: begin(self, scan))


def gives_a_reader_what_it_would_show_a_viewer(patch: pytest.MonkeyPatch) -> None:
    give = RecorderSeat.give
    every = itertools.count()
    patch.setattr(ReaderSeat, "give", lambda self, batch: next(every) % 2 == 0 and give(self._seat, batch))


def does_what_it_cannot_write_down(patch: pytest.MonkeyPatch) -> None:
    for kind, name in ((Audit, "note"), (Answers, "_keep")):
        patch.setattr(kind, name, _carelessly(getattr(kind, name)))


def _carelessly(write: Callable[..., None]) -> Callable[..., None]:
    def written(*what: Any, **facts: Any) -> None:
        with suppress(StorageFailed):
            write(*what, **facts)

    return written


def drops_frames_of_a_source_that_could_wait(patch: pytest.MonkeyPatch) -> None:
    begin = Sender.begin
    patch.setattr(Sender, "begin", lambda self, scan, pausable: begin(self, scan, False))


def loses_frames_without_saying_which(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Losses, "add", lambda *what: None)


def finds_nothing_on_its_disk_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Spill, "get", lambda self, seq: self._places[seq].loss)


LONG = [90, 90, 90]
MUTATIONS: tuple[tuple[Mutate, tuple[str, ...], list[int] | None], ...] = (
    (forgets_what_was_done, ("eat",), None),
    (answers_every_client_with_its_first_answer, ("eat",), None),
    (asks_again_under_another_name, ("eat",), None),
    (never_lets_a_lease_expire, ("pause client", "kill client", "rival"), LONG),
    (gives_the_lease_to_whoever_asks, ("rival",), LONG),
    (keeps_the_beam_open_whoever_is_silent, ("pause driver", "pause server"), LONG),
    (counts_what_is_said_from_when_it_is_heard, ("pause guard", "pause server"), LONG),
    (lets_a_stop_be_a_blank, ("stop", "pause"), LONG),
    (does_not_blank_when_told_to_stop, ("stop", "pause"), LONG),
    (leaves_the_beam_open_when_the_guard_is_silent, ("pause guard", "kill guard"), LONG),
    (takes_a_frame_that_came_twice, ("weather",), LONG),
    (lets_go_of_what_is_received_and_not_stored, ("kill client",), LONG),
    (never_returns_credit, ("blank",), LONG),
    (does_what_it_cannot_write_down, ("fill disk",), None),
    (drops_frames_of_a_source_that_could_wait, ("fill client",), LONG),
    (loses_frames_without_saying_which, ("fill client",), None),
    (finds_nothing_on_its_disk_again, ("fill client",), LONG),
    (takes_the_lease_and_leaves_the_beam_open, ("usurp",), LONG),
    (takes_the_lease_and_does_not_tell_whose_it_was, ("usurp",), LONG),
    (says_that_it_hands_the_lease_over_and_keeps_it, ("give",), LONG),
    (does_not_count_what_was_given_before_somebody_looked, ("look on",), LONG),
    (gives_a_reader_what_it_would_show_a_viewer, ("read along",), LONG),
)
"""Each bug with faults that bring it to light, and with what is measured meanwhile."""


@pytest.mark.parametrize(("mutate", "kinds", "wanted"), MUTATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_simulation_finds_a_program_that(
    mutate: Mutate, kinds: tuple[str, ...], wanted: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    for seed in range(first_seed(), first_seed() + SEEDS):
        try:
            play(seed, None, wanted, kinds)
        except (Broken, Stuck) as found:
            print(f"found with seed {seed}: {type(found).__name__}: {found}")
            monkeypatch.undo()
            play(seed, None, wanted, kinds)
            return
    raise AssertionError(f"{SEEDS} schedules did not notice a program that {mutate.__name__.replace('_', ' ')}")
