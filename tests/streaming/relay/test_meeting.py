"""The relay's book of who is there: bounded, and nobody takes another's place."""

from __future__ import annotations

import pytest

from beamloop.core import RelayRefused
from beamloop.streaming.relay.meeting import ANSWER_S, MOST_CALLS, MOST_INSTRUMENTS, SILENCE_S, Meeting
from beamloop.streaming.relay.words import name_of

TICKET, OTHER = "t" * 32, "o" * 32


def test_a_call_rings_at_the_instrument_and_its_answer_finds_the_caller() -> None:
    meeting = Meeting()
    name, _ = meeting.arrive(1, TICKET, 0.0)
    ringing = meeting.call(2, name, "guard", 0.0)
    assert (ringing.seat, ringing.line) == (1, "guard")
    assert meeting.answer(3, ringing.call, TICKET) == 2
    with pytest.raises(RelayRefused, match="no call"):
        meeting.answer(4, ringing.call, TICKET)


def test_only_the_ticket_answers() -> None:
    meeting = Meeting()
    name, _ = meeting.arrive(1, TICKET, 0.0)
    meeting.arrive(5, OTHER, 0.0)
    call = meeting.call(2, name, "control", 0.0).call
    with pytest.raises(RelayRefused, match="no call"):
        meeting.answer(6, call, OTHER)
    assert meeting.answer(3, call, TICKET) == 2


def test_a_name_that_nobody_has_is_refused() -> None:
    meeting = Meeting()
    with pytest.raises(RelayRefused, match="no instrument"):
        meeting.ask(name_of(TICKET))
    with pytest.raises(RelayRefused, match="no instrument"):
        meeting.call(1, name_of(TICKET), "control", 0.0)


def test_a_ticket_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(RelayRefused, match="guessed"):
        Meeting().arrive(1, "short", 0.0)


def test_the_same_ticket_again_takes_its_own_place_and_waiting_callers_are_closed() -> None:
    meeting = Meeting()
    name, _ = meeting.arrive(1, TICKET, 0.0)
    meeting.call(2, name, "control", 0.0)
    assert meeting.arrive(3, TICKET, 1.0) == (name, (1, 2))
    assert meeting.call(4, name, "control", 1.0).seat == 3


def test_an_open_line_outlives_the_place_and_ends_with_either_side() -> None:
    meeting = Meeting()
    name, _ = meeting.arrive(1, TICKET, 0.0)
    meeting.answer(3, meeting.call(2, name, "frames", 0.0).call, TICKET)
    assert meeting.leave(1) == ()
    assert meeting.leave(3) == (2,)
    assert meeting.counts() == (0, 0)


def test_silence_ends_a_place_and_patience_ends_a_call() -> None:
    meeting = Meeting()
    name, _ = meeting.arrive(1, TICKET, 0.0)
    meeting.call(2, name, "control", 0.0)
    assert meeting.overdue(ANSWER_S) == ()
    assert meeting.overdue(ANSWER_S + 0.1) == (2,)
    meeting.alive(1, SILENCE_S)
    meeting.leave(2)
    assert meeting.overdue(2 * SILENCE_S) == ()
    assert meeting.overdue(2 * SILENCE_S + 0.1) == (1,)


def test_places_and_calls_are_bounded_for_each() -> None:
    meeting = Meeting()
    names = [meeting.arrive(n, f"{n:032d}", 0.0)[0] for n in range(MOST_INSTRUMENTS)]
    with pytest.raises(RelayRefused, match="places"):
        meeting.arrive(9999, OTHER, 0.0)
    for n in range(MOST_CALLS):
        meeting.call(10_000 + n, names[0], "control", 0.0)
    with pytest.raises(RelayRefused, match="calls already"):
        meeting.call(20_000, names[0], "control", 0.0)
    meeting.call(20_001, names[1], "control", 0.0)
