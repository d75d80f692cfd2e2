"""Who is at the relay and who waits for whom: a state machine without sockets or clock.

Connections are numbers that the talker gives out. Everything that anybody may ask for is bounded, so a
flood of callers costs the relay a fixed amount of memory and other instruments nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core import RelayRefused
from .words import LIFE_S, Line, name_of

SILENCE_S = 3 * LIFE_S
ANSWER_S = 10.0
"""How long a caller waits for the instrument to take the call."""

MOST_INSTRUMENTS = 256
MOST_CALLS = 64
"""Calls of one instrument, waiting and under way; a client needs a handful."""


@dataclass(slots=True)
class _Seat:
    name: str
    heard_s: float


@dataclass(slots=True)
class _Call:
    caller: int
    name: str
    since_s: float
    answered_by: int | None = None


@dataclass(frozen=True, slots=True)
class Ringing:
    """A call was taken down: tell the instrument at connection `seat` of it."""

    seat: int
    call: int
    line: Line


class Meeting:
    """Instruments that are there and calls to them."""

    def __init__(self) -> None:
        self._seats: dict[int, _Seat] = {}
        self._calls: dict[int, _Call] = {}
        self._last = 0

    def arrive(self, connection: int, ticket: str, now_s: float) -> tuple[str, tuple[int, ...]]:
        """Give an instrument its place; return its name and the connections that must be closed for it.

        The same ticket again is the same instrument after its network broke: the newer connection holds.

        Raises
        ------
        RelayRefused
            If the ticket is too short to be secret, or every place is taken.
        """
        name = name_of(ticket)
        if len(ticket) < 32:
            raise RelayRefused(f"a ticket of {len(ticket)} characters can be guessed; it needs at least 32")
        before = self._seat_of(name)
        if before is None and len(self._seats) >= MOST_INSTRUMENTS:
            raise RelayRefused(f"all {MOST_INSTRUMENTS} places at this relay are taken")
        closed = () if before is None else (before, *self.leave(before))
        self._seats[connection] = _Seat(name, now_s)
        return name, closed

    def alive(self, connection: int, now_s: float) -> None:
        """Note that an instrument was heard."""
        if connection in self._seats:
            self._seats[connection].heard_s = now_s

    def ask(self, name: str) -> None:
        """Raise unless an instrument of this name is there.

        Raises
        ------
        RelayRefused
            If none is.
        """
        self._seat_for(name)

    def call(self, connection: int, name: str, line: Line, now_s: float) -> Ringing:
        """Take down a call; it waits until `answer`.

        Raises
        ------
        RelayRefused
            If no instrument of this name is there, or too many calls of it are.
        """
        seat = self._seat_for(name)
        if sum(call.name == name for call in self._calls.values()) >= MOST_CALLS:
            raise RelayRefused(f"instrument {name} has {MOST_CALLS} calls already, the most that one may have")
        self._last += 1
        self._calls[self._last] = _Call(connection, name, now_s)
        return Ringing(seat, self._last, line)

    def answer(self, connection: int, number: int, ticket: str) -> int:
        """Join the instrument's connection to a call; return the caller's.

        Raises
        ------
        RelayRefused
            If there is no such call to the holder of this ticket, or it was answered already.
        """
        call = self._calls.get(number)
        if call is None or call.answered_by is not None or call.name != name_of(ticket):
            raise RelayRefused(f"there is no call {number} for this instrument; it may have been given up")
        call.answered_by = connection
        return call.caller

    def leave(self, connection: int) -> tuple[int, ...]:
        """Note that a connection is gone; return those that must be closed with it."""
        seat = self._seats.pop(connection, None)
        closed = []
        for number, call in list(self._calls.items()):
            waits = call.answered_by is None
            if connection in (call.caller, call.answered_by) or (seat and waits and call.name == seat.name):
                del self._calls[number]
                closed += [other for other in (call.caller, call.answered_by) if other not in (None, connection)]
        return tuple(closed)

    def overdue(self, now_s: float) -> tuple[int, ...]:
        """Return the connections to close: instruments that went silent, callers whom nobody answers."""
        silent = [who for who, seat in self._seats.items() if now_s - seat.heard_s > SILENCE_S]
        waiting = [
            call.caller for call in self._calls.values() if call.answered_by is None and now_s - call.since_s > ANSWER_S
        ]
        return (*silent, *waiting)

    def counts(self) -> tuple[int, int]:
        """Return how many instruments and calls there are."""
        return len(self._seats), len(self._calls)

    def _seat_of(self, name: str) -> int | None:
        return next((who for who, seat in self._seats.items() if seat.name == name), None)

    def _seat_for(self, name: str) -> int:
        seat = self._seat_of(name)
        if seat is None:
            raise RelayRefused(
                f"no instrument {name} is at this relay; is `beamloop serve` running there with this relay, and is "
                "the name right?"
            )
        return seat
