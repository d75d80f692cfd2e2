"""What happened to the instrument, one line each: commands, refusals, leases, limits, words at the guard.

Every line is chained to those before it (`chain.py`) and is on the disk, as durably as the server
promises, before whoever asked is answered. A disk that takes no line raises `StorageFailed`; nothing
is then done, and the next note tries again. A start goes on where the last line ended; a file that
did not end well is put aside as it is and a new one begins with what was found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...core.storage import Durability, storing, sync_folder
from .chain import FIRST, Link, sealed
from .facts import plain
from .files import Found, Head, Sheet, aside, digest_of, found_in, next_aside, read_head

FORMAT = 1
"""Version of the lines; raised whenever their meaning changes."""

FULL = 16 * 2**20
"""Bytes after which a file is put aside and the next one begins."""


def wall_clock() -> datetime:
    """Return the time of day in UTC."""
    return datetime.now(UTC)


class Audit:
    """An append-only chain of lines in one folder; any thread may note.

    Parameters
    ----------
    file
        `audit.jsonl` in the folder where its other files are made too.
    durability
        What a line survives: a power cut (`power`) or a kill of the process (`process`).
    clock
        Gives the time of day.
    full
        Size in bytes from which a file is put aside.
    sheet
        Opens a file to append to; a test gives one whose disk fails.

    Raises
    ------
    StorageFailed
        If folder or disk do not let it be written; also from `note`.
    """

    def __init__(
        self, file: Path, durability: Durability = "power", clock: Callable[[], datetime] = wall_clock,
        full: int = FULL, sheet: Callable[[Path], Sheet] = Sheet,
    ) -> None:  # fmt: skip
        self._file, self._clock, self._full, self._make_sheet = file, clock, full, sheet
        self._durability: Durability = durability
        self._lock = threading.Lock()
        self._sheet: Sheet | None = None
        self._head: Head | None = None
        self._link = Link(0, FIRST)
        self._unwritten = 0
        with storing(file):
            self._trying(self._take_up)

    def promise(self, durability: Durability) -> None:
        """Change the durability of what is noted from now on."""
        self._durability = durability

    def note(self, event: str, /, **facts: object) -> None:
        """Append one line: its number, the time, the event and its facts.

        Raises
        ------
        StorageFailed
            If the disk does not take it. How many lines were lost so is told once it does again.
        """
        with self._lock, storing(self._file):
            self._trying(lambda: self._append(event, facts))

    def head(self) -> Link:
        """Return how far the chain has come; whoever keeps it can later show that nothing before was changed."""
        return self._link

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._let_go()

    def _trying(self, write: Callable[[], None]) -> None:
        """Write; after a failure nothing is trusted, and the next attempt reads anew what is there."""
        try:
            write()
        except BaseException:
            self._unwritten += 1
            self._let_go()
            raise

    def _append(self, event: str, facts: dict[str, Any]) -> None:
        if self._sheet is None:
            self._take_up()
        elif self._sheet.size >= self._full:
            self._put_aside()
            self._begin({"ended": "whole"})
        self._put(event, facts)

    def _take_up(self) -> None:
        """Go on with what is in the folder, as it is found."""
        folder = self._file.parent
        told, former = read_head(folder), [*aside(folder), *([self._file] if _holds_something(self._file) else [])]
        if not former:
            self._link = told or self._link
            self._begin({} if told is None else {"ended": "gone", "missing": told.number})
            return
        found = found_in(former[-1], digest_of(former[-2] if former[1:] else None), None)
        self._link = _furthest(found.last, told)
        ending = _ending(found, told)
        if former[-1] != self._file:
            self._begin(ending or {"ended": "whole"})
        elif ending or self._unwritten:
            self._put_aside()
            self._begin(ending or {"ended": "whole"})
        else:
            self._open()
            # The name may not have reached the disk when the file was made.
            sync_folder(folder)

    def _put_aside(self) -> None:
        self._let_go()
        self._file.rename(next_aside(self._file.parent))

    def _begin(self, follows: dict[str, Any]) -> None:
        """Begin a file with a line that follows the one before it as a whole."""
        former = aside(self._file.parent)
        previous = digest_of(former[-1] if former else None)
        self._open()
        told = {"file": former[-1].name, **follows, "sha256": previous} if former else follows
        lost = {"unwritten": self._unwritten} if self._unwritten else {}
        self._put("audit", {"format": FORMAT, "beamloop": __version__, "follows": told or None, **lost}, previous)
        sync_folder(self._file.parent)
        self._unwritten = 0

    def _open(self) -> None:
        self._sheet, self._head = self._make_sheet(self._file), Head(self._file.parent)

    def _put(self, event: str, facts: dict[str, Any], previous: str | None = None) -> None:
        assert self._sheet is not None
        assert self._head is not None
        number = self._link.number + 1
        known = {"number": number, "time": self._clock().isoformat(), "event": event}
        line = sealed(known | {name: plain(fact) for name, fact in facts.items()}, previous or self._link.hash)
        self._sheet.append(line)
        if self._durability == "power":
            self._sheet.sync()
        self._link = Link(number, line[-67:-3].decode())
        self._head.put(self._link)

    def _let_go(self) -> None:
        for part in (self._sheet, self._head):
            if part is not None:
                with suppress(OSError):
                    part.close()
        self._sheet = self._head = None


def _holds_something(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _furthest(last: Link | None, told: Link | None) -> Link:
    """Return where numbering goes on: numbers of lines that are gone are not given again."""
    return max(last or Link(0, FIRST), told or Link(0, FIRST), key=lambda link: link.number)


def _ending(found: Found, told: Link | None) -> dict[str, Any]:
    """Return how a file ended that the next line cannot simply follow; nothing if it can."""
    if not found.chained and found.torn != found.size:
        return {"ended": "not chained", "lines": found.whole}
    if found.fault is not None:
        return {"ended": "damaged", "line": found.fault.line}
    number = 0 if found.last is None else found.last.number
    gone = 0 if told is None else max(0, told.number - number)
    missing = {"missing": gone} if gone else {}
    if found.torn:
        return {"ended": "half a line", "bytes": found.torn, **missing}
    if number > 1 and (told is None or (told.number == number and told != found.last)):
        return {"ended": "without its head"}
    return {"ended": "cut off", **missing} if missing else {}
