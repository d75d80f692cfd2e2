"""What is said on a relay's connections: one line of JSON each way, then the bytes of whoever meets.

An instrument keeps one connection open and *arrives* on it with its ticket; on it the relay *rings* for
each caller, and empty lines say that both live. A client *calls* an instrument by name, or *asks*
whether it is there. The instrument *answers* a call on a connection of its own, and the relay joins the
two; what passes then is not looked at.

A name is the hash of a ticket. Whoever knows the name may call; only who knows the ticket may answer. The
ticket keeps strangers from taking the instrument's place at the relay, nothing more: that caller and
instrument are who they say is proved by their own keys, end to end, which the relay does not hold.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ...core import Frozen, WireInvalid

VERSION = 1
PORT = 7450
MOST_BYTES = 1024
"""Longest line."""

LIFE_S = 5.0
"""How often an instrument says that it lives; silent for three times as long it counts as gone."""

Line = Literal["control", "frames", "guard"]
Text = Annotated[str, Field(max_length=200)]


class Arrive(Frozen):
    """An instrument takes its place."""

    kind: Literal["arrive"] = "arrive"
    ticket: Text
    version: int = VERSION


class Ask(Frozen):
    """A client asks whether an instrument is there."""

    kind: Literal["ask"] = "ask"
    name: Text
    version: int = VERSION


class Call(Frozen):
    """A client wants one line of an instrument."""

    kind: Literal["call"] = "call"
    name: Text
    line: Line
    version: int = VERSION


class Answer(Frozen):
    """An instrument takes a call, on a connection of its own."""

    kind: Literal["answer"] = "answer"
    call: int
    ticket: Text
    version: int = VERSION


class Ring(Frozen):
    """The relay tells an instrument that somebody calls."""

    kind: Literal["ring"] = "ring"
    call: int
    line: Line


class Told(Frozen):
    """The relay's reply to a first word; an empty error is a yes."""

    kind: Literal["told"] = "told"
    name: str = ""
    error: str = ""


Word = Arrive | Ask | Call | Answer | Ring | Told

_WORDS: TypeAdapter[Word] = TypeAdapter(Annotated[Word, Field(discriminator="kind")])


def spoken(word: Word) -> bytes:
    """Return the line that says this word."""
    return word.model_dump_json().encode() + b"\n"


def heard(line: bytes) -> Word:
    """Return the word that a line says.

    Raises
    ------
    WireInvalid
        If it says none, or is too long.
    """
    if len(line) > MOST_BYTES or not line.endswith(b"\n"):
        raise WireInvalid(f"a line of {len(line)} bytes is no word of the relay's; the most is {MOST_BYTES}")
    try:
        return _WORDS.validate_json(line)
    except ValidationError as error:
        raise WireInvalid(f"{line[:60]!r} is no word of the relay's: {error.errors()[0]['msg']}") from None


def name_of(ticket: str) -> str:
    """Return the name under which the holder of a ticket is called.

    >>> name_of("a ticket")
    'cc17bef09b291e933a8adef2'
    """
    return hashlib.sha256(ticket.encode()).hexdigest()[:24]
