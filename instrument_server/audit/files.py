"""The files of an audit: one that is written, those put aside before it, and the head beside them.

`audit.jsonl` is written; when it is full, or did not end well, it becomes `audit-000001.jsonl`
(and so on) and is never touched again. Nothing is ever removed. `audit.head` says how far the
chain has come, so that lines missing from the end are noticed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .chain import FIRST, Fault, Link, followed, hash_of

_ASIDE = re.compile(r"audit-([0-9]{6})\.jsonl")
_HEAD = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Found:
    """One file as it stands.

    Attributes
    ----------
    sha256, size
        Of all its bytes.
    whole
        Lines in it that have their line end.
    torn
        Bytes after the last line end: what a kill or a power cut left of a line.
    links
        Number and hash of each line that follows from those before it.
    fault
        The first line that does not follow from those before it.
    chained
        Whether its first line carries a hash; those of older servers do not.
    """

    name: str
    sha256: str
    size: int
    whole: int
    torn: int
    links: tuple[Link, ...]
    fault: Fault | None
    chained: bool

    @property
    def last(self) -> Link | None:
        """Where its chain stands at the last line that follows; None if no line does."""
        return self.links[-1] if self.links else None


def aside(folder: Path) -> list[Path]:
    """Return the files that were put aside, oldest first."""
    return sorted(file for file in folder.iterdir() if _ASIDE.fullmatch(file.name))


def next_aside(folder: Path) -> Path:
    """Return the name for the next file to be put aside."""
    names = [_ASIDE.fullmatch(file.name) for file in aside(folder)]
    last = max((int(name[1]) for name in names if name is not None), default=0)
    return folder / f"audit-{last + 1:06d}.jsonl"


def digest_of(file: Path | None) -> str:
    """Return what the first line of the next file follows: the SHA-256 of this one, `FIRST` for none."""
    return FIRST if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def found_in(file: Path, previous: str, number: int | None) -> Found:
    """Read a file through and return how it stands; see `followed` for `previous` and `number`."""
    data = file.read_bytes()
    *ended, torn = data.split(b"\n")
    lines = [line + b"\n" for line in ended]
    links, fault = _walked(lines, previous, number)
    chained = bool(lines) and hash_of(lines[0]) is not None
    return Found(
        file.name, hashlib.sha256(data).hexdigest(), len(data), len(lines), len(torn), links, fault, chained
    )  # fmt: skip


def read_head(folder: Path) -> Link | None:
    """Return how far the chain had come by the word of its head; None without one that can be read."""
    with suppress(FileNotFoundError):
        said = _HEAD.fullmatch((folder / "audit.head").read_bytes())
        return None if said is None else Link(int(said[1]), said[2].decode())
    return None


class Sheet:
    """A file that is only appended to; what could not be appended whole is taken back.

    Raises
    ------
    OSError
        Also from `append` and `sync`: what the disk refuses.
    """

    def __init__(self, file: Path) -> None:
        self._number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        self.size = os.fstat(self._number).st_size

    def append(self, data: bytes) -> None:
        """Append all of `data`, or none of it."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._number, rest) :]
        except OSError:
            # What cannot be taken back is found as half a line when the file is next opened.
            with suppress(OSError):
                os.ftruncate(self._number, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Return when the disk has everything."""
        os.fsync(self._number)

    def close(self) -> None:
        """Close the file."""
        os.close(self._number)


class Head:
    """The head of a chain, written over in place, so that a full disk does not hinder it."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._number = os.open(folder / "audit.head", flags, 0o644)

    def put(self, link: Link) -> None:
        """Say how far the chain has come."""
        os.lseek(self._number, 0, os.SEEK_SET)
        os.write(self._number, f"{link.number:020d} {link.hash}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._number)


def _walked(lines: Sequence[bytes], previous: str, number: int | None) -> tuple[tuple[Link, ...], Fault | None]:
    links: list[Link] = []
    for step in followed(lines, previous, number):
        if isinstance(step, Fault):
            return tuple(links), step
        links.append(step)
    return tuple(links), None
