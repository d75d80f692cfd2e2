"""What can be said of an audit by looking at it: does every line follow, and is the end there?

A chain shows that lines were changed, removed, added or reordered after they were written, as long
as whoever did it did not also write everything after them anew. That takes no secret, so a chain
alone does not stop the owner of the disk. What does is a copy of its head somewhere else: clients
keep one in the journal of each run, and `verdict_on` takes it as a witness.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import RecordingUnreadable
from .chain import FIRST, Link
from .files import Found, aside, found_in, read_head

LOOKS = 3
"""So often a file is looked at again that ends in half a line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    files
        Every file, oldest first.
    problems
        What does not follow, in the order of the lines; empty if all is well.
    remarks
        What a reader should know and is no problem.
    head
        Where the chain stands.
    """

    files: tuple[Found, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    head: Link

    @property
    def lines(self) -> int:
        """Lines that follow from those before them."""
        return sum(len(found.links) for found in self.files)


def verdict_on(place: Path, witness: Link | None = None) -> Verdict:
    """Look through an audit.

    Parameters
    ----------
    place
        The folder of a server, or one file alone; of a file alone the end cannot be judged.
    witness
        Where the chain stood, as somebody else kept it.

    Raises
    ------
    RecordingUnreadable
        If there is no audit.
    """
    # The head first: the chain only grows meanwhile.
    head = read_head(place) if place.is_dir() else None
    files = files_of(place)
    firsts = [_first_line(file) for file in files]
    found = [_looked_at(file, first) for file, first in zip(files, firsts, strict=True)]
    problems, remarks = [], []
    for former, this, first in zip([None, *found], found, firsts, strict=False):
        for text, is_bad in _seam(former, this, first, alone=not place.is_dir()):
            (problems if is_bad else remarks).append(text)
        problems += _within(this, is_last=this is found[-1])
    links = [link for one in found for link in one.links]
    if not place.is_dir():
        remarks.append(f"{place.name} was looked at alone: lines missing from its end would not be noticed")
    else:
        problems += _against_head(links, head, found)
    problems += [] if witness is None else _against_witness(links, witness)
    return Verdict(tuple(found), tuple(problems), tuple(remarks), links[-1] if links else Link(0, FIRST))


def files_of(place: Path) -> list[Path]:
    """Return the files of an audit, oldest first; a file is its own. None is left where only the head is.

    Raises
    ------
    RecordingUnreadable
        If there is none.
    """
    if place.is_file():
        return [place]
    current = place / "audit.jsonl"
    found = aside(place) if place.is_dir() else []
    found += [current] if current.is_file() and current.stat().st_size else []
    if not found and not (place / "audit.head").exists():
        raise RecordingUnreadable(
            f"no audit in {place}: it holds no audit.jsonl; name the folder that `beamloop serve` says its state is "
            "kept in, or a file of it"
        )
    return found


def _looked_at(file: Path, first: Mapping[str, Any]) -> Found:
    previous, number = str(_follows(first).get("sha256", FIRST)), _number_before(first)
    found = found_in(file, previous, number)
    for _ in range(LOOKS):
        if not found.torn:
            break
        # A server may be in the middle of writing it.
        time.sleep(0.02)
        found = found_in(file, previous, number)
    return found


def _seam(former: Found | None, this: Found, first: Mapping[str, Any], alone: bool) -> Iterator[tuple[str, bool]]:
    """Say how a file follows the one before it, and whether that is a problem."""
    follows = _follows(first)
    if not this.chained:
        if former is not None:
            yield f"{this.name}: its first line is none of the chain, and {former.name} is before it", True
        return
    named = follows.get("file")
    if alone:
        yield from [] if named is None else [(f"it goes on from {named}, which was not looked at", False)]
        return
    if named != (None if former is None else former.name):
        there = "is the first that is there" if former is None else f"comes after {former.name}"
        yield f"{this.name} says that it follows {named or 'no other file'}, and it {there}", True
    elif former is not None and follows.get("sha256") != former.sha256:
        yield (
            (
                f"{former.name} is not as it was when {this.name} was begun: SHA-256 found {former.sha256}, "
                f"expected {follows.get('sha256')}"
            ),
            True,
        )
    elif former is not None:
        yield from _ended(former, follows, this)
    if follows.get("missing"):
        yield f"{this.name} line 1: {follows['missing']} lines that were once written before it are gone", True
    if first.get("unwritten"):
        yield f"{this.name} line 1: before it, the disk did not take {first['unwritten']} notes", False


def _ended(former: Found, follows: Mapping[str, Any], this: Found) -> Iterator[tuple[str, bool]]:
    """Say how an unchanged file had ended when the next one was begun."""
    ended = follows.get("ended")
    if ended == "half a line":
        yield f"{former.name} ends in half a line of {former.torn} bytes, put aside by the next start", False
    elif ended == "not chained":
        yield (
            (
                f"{former.name}: {former.whole} lines of an older server, not chained; the chain begins at {this.name} "
                "line 1, and they are as they were then"
            ),
            False,
        )
    elif ended == "without its head":
        yield f"{former.name}: when {this.name} was begun, audit.head was missing or told otherwise", True
    if former.last is not None and this.last is not None and not follows.get("missing"):
        number = this.links[0].number
        if former.fault is None and number != former.last.number + 1:
            yield f"{this.name} line 1: found line number {number}, expected {former.last.number + 1}", True


def _within(this: Found, is_last: bool) -> Iterator[str]:
    fault = this.fault
    if fault is not None and this.chained:
        yield f"{this.name} line {fault.line}: found {fault.found}, expected {fault.expected}"
    elif is_last and not this.chained and this.whole:
        yield (
            f"{this.name}: {this.whole} lines of an older server that are not chained; the chain begins when a server "
            "of this version is started on this folder"
        )
    if is_last and this.torn:
        yield (
            f"{this.name} ends in half a line of {this.torn} bytes, as a kill leaves it; the next start of the server "
            "puts it aside and says so"
        )


def _against_head(links: list[Link], head: Link | None, found: list[Found]) -> Iterator[str]:
    if head is None:
        if any(one.chained for one in found):
            yield "audit.head is missing or damaged: lines cut off from the end would not be noticed"
        return
    yield from _compared(links, head, "audit.head")


def _against_witness(links: list[Link], witness: Link) -> Iterator[str]:
    yield from _compared(links, witness, "the head that was given")


def _compared(links: list[Link], told: Link, who: str) -> Iterator[str]:
    there = {link.number: link.hash for link in links}
    if there.get(told.number) != told.hash:
        last = links[-1].number if links else 0
        found = f"hash {there[told.number]}" if told.number in there else f"no such line, the last is {last}"
        yield f"line {told.number}: found {found}, expected hash {told.hash} as {who} says"


def _first_line(file: Path) -> Mapping[str, Any]:
    with suppress(ValueError), file.open("rb") as lines:
        first = json.loads(lines.readline())
        return first if isinstance(first, dict) and first.get("event") == "audit" else {}
    return {}


def _follows(first: Mapping[str, Any]) -> Mapping[str, Any]:
    follows = first.get("follows")
    return follows if isinstance(follows, dict) else {}


def _number_before(first: Mapping[str, Any]) -> int | None:
    number = first.get("number")
    return number - 1 if isinstance(number, int) else None
