"""The chain of the audit: each line carries the SHA-256 of itself and of all that came before it.

A line is one JSON object whose last key is its hash. What is hashed are the bytes as they stand,
so there is no second way to write the same line:

    hash of a line = SHA-256(hash of the line before it, in hex, + the line up to `,"hash"`)

The first line of a file follows the file before it as a whole, whatever state that is in:
instead of a line's hash it takes the SHA-256 of all its bytes, and `FIRST` where there is none.
Lines are numbered from 1 through all files.

Source: Haber & Stornetta, "How to time-stamp a digital document", J. Cryptology 3 (1991) 99-111
(linking each record to those before it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

FIRST = "0" * 64
"""What the very first line follows."""

_MARK = b',"hash":"'
_CLOSING = b'"}\n'
_TAIL = len(_MARK) + 64 + len(_CLOSING)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: the number and the hash of its last line."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing in a file that does not follow from what is before it.

    Attributes
    ----------
    line
        Which line of the file, from 1.
    found, expected
        What stands there, and what would follow from the lines before.
    """

    line: int
    found: str
    expected: str


def sealed(facts: dict[str, Any], previous: str) -> bytes:
    """Return the line of these facts that follows `previous`, with its hash and line end."""
    body = json.dumps(facts, separators=(",", ":"), allow_nan=False)[:-1].encode("ascii")
    return body + _MARK + _hash(previous, body).encode() + _CLOSING


def hash_of(line: bytes) -> str | None:
    """Return the hash that a line carries; None if it carries none, as before there was a chain."""
    tail = line[-_TAIL:]
    is_sealed = len(line) > _TAIL and tail.startswith(_MARK) and tail.endswith(_CLOSING)
    return tail[len(_MARK) : -len(_CLOSING)].decode("ascii", "replace") if is_sealed else None


def followed(lines: Iterable[bytes], previous: str, number: int | None) -> Iterator[Link | Fault]:
    """Yield where the chain stands after each line; a fault ends it.

    Parameters
    ----------
    lines
        The lines of one file, each with its line end.
    previous
        What the first of them follows.
    number
        Number of the line before the first; None takes the first line's own word for it.
    """
    for index, line in enumerate(lines, 1):
        found, expected = hash_of(line), _hash(previous, line[:-_TAIL])
        if found is None:
            yield Fault(index, "a line without a hash at its end", f"a line of the chain, its hash after {previous}")
            return
        if found != expected:
            yield Fault(index, f"hash {found}", f"hash {expected}")
            return
        says = _number_of(line)
        if says is None or says != (says if number is None else number + 1):
            yield Fault(index, f"line number {says}", f"line number {'...' if number is None else number + 1}")
            return
        previous, number = found, says
        yield Link(says, found)


def _number_of(line: bytes) -> int | None:
    # Whoever can write the file can also compute a hash; what they wrote need not be ours.
    with suppress(ValueError, KeyError, TypeError):
        number = json.loads(line)["number"]
        return number if isinstance(number, int) else None
    return None


def _hash(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()
