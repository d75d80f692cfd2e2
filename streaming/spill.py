"""Batches on disk that memory has no room for, each with a checksum, in files of bounded size.

A batch lies there as it would go on the wire, behind a head with its number, its length and a
CRC-32 over both. A disk that is full or gone takes nothing and says so; what it took before
can still be read. What comes back otherwise than it was put in is given as a loss, never as
frames. A file goes as soon as none of its batches is needed any more.

Files that a killed process left are no log to go on from, for what it held in memory is gone.
They are put aside and can be read with `spilled`.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from ..core.errors import StorageFailed, WireInvalid
from .loss import Loss, loss_of
from .wire import Batch, decode, encode

SEGMENT_BYTES = 64 * 2**20
LEAST_SEGMENTS = 8
"""Into so many files a bound is cut at least, so that room is made before all of it is released."""
MOST_SPILLED = 1 << 18
"""Batches on disk at a time; each keeps some 500 bytes of memory to be found again."""

MOST_NAMED = 4
"""Runs of frames by which memory names a batch on disk; one of more is only counted if it is lost."""

RETRY_S = 1.0
"""How long a disk that refused is left alone."""

_HEAD = struct.Struct("<4sIQQ4I")
"""Mark, CRC-32 of all that follows, number, frames, lengths of the four parts."""
_MARK = b"BLsp"
_LEFT = "left"


@dataclass(eq=False, slots=True)
class Segment:
    """One file, and how much of it is still needed."""

    path: Path
    raw: FileIO
    size: int = 0
    live: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch lies, and what is lost if it is damaged there."""

    segment: Segment
    start: int
    size: int
    loss: Loss


class Spill:
    """The store of one channel, in files of its own; not thread-safe, as its retention.

    Parameters
    ----------
    folder
        Where the files lie; made when the first is needed.
    name
        Begins the names of the files; no other spill of this folder has it.
    bound_bytes
        Bytes that the files may take.
    clock
        Monotonic seconds.

    Attributes
    ----------
    held_bytes
        Bytes that the files take.
    fault
        Why the disk refused the last batch; empty if it took it.
    """

    def __init__(
        self, folder: Path, name: str, bound_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._folder, self._name, self._bound_bytes, self._clock = folder, name, bound_bytes, clock
        self._places: dict[int, Place] = {}
        self._segments: list[Segment] = []
        self._made = 0
        self._segment_bytes = min(SEGMENT_BYTES, bound_bytes // LEAST_SEGMENTS)
        self._refused_s = float("-inf")
        self.held_bytes = 0
        self.fault = ""

    def __len__(self) -> int:
        return len(self._places)

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a batch of this size would be taken; a disk that refused is tried again after `RETRY_S`."""
        if self.fault and self._clock() - self._refused_s < RETRY_S:
            return False
        return len(self._places) < MOST_SPILLED and self.held_bytes + size_bytes <= self._bound_bytes

    def put(self, message: Batch) -> bool:
        """Write a batch; False, with nothing kept, if the disk refuses."""
        record = _record(message)
        try:
            segment = self._open()
            _append(segment, record)
        except OSError as error:
            self._refused_s = self._clock()
            self.fault = f"{self._folder} takes no frames: {error.strerror or error}"
            return False
        size = sum(len(part) for part in record)
        self._places[message.seq] = Place(segment, segment.size, size, _short(loss_of(message.batch)))
        segment.size += size
        segment.live += 1
        self.held_bytes += size
        self.fault = ""
        return True

    def get(self, seq: int) -> Batch | Loss:
        """Read a batch that is held; what is lost, if it is not what was written.

        Raises
        ------
        StorageFailed
            If the disk does not give it now.
        """
        place = self._places[seq]
        try:
            place.segment.raw.seek(place.start)
            found = _parsed(_read(place.segment.raw, place.size))
        except OSError as error:
            self.fault = f"{place.segment.path} cannot be read: {error.strerror or error}"
            raise StorageFailed(self.fault) from None
        return found if found is not None and found.seq == seq else place.loss

    def loss(self, seq: int) -> Loss:
        """Return what is lost with a batch that is held."""
        return self._places[seq].loss

    def drop(self, seq: int) -> None:
        """Let go of a batch; its file goes with the last of it."""
        segment = self._places.pop(seq).segment
        segment.live -= 1
        if segment.live == 0:
            self._remove(segment)

    def clear(self) -> None:
        """Let go of all."""
        self._places.clear()
        for segment in list(self._segments):
            self._remove(segment)

    def close(self) -> None:
        """Close the files; those that hold something stay on the disk."""
        for segment in self._segments:
            segment.raw.close()

    def _open(self) -> Segment:
        if self._segments and self._segments[-1].size < self._segment_bytes:
            return self._segments[-1]
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}-{self._made:04d}.spill"
        segment = Segment(path, FileIO(path, "x+b"))
        self._made += 1
        self._segments.append(segment)
        return segment

    def _remove(self, segment: Segment) -> None:
        self.held_bytes -= segment.size
        self._segments.remove(segment)
        segment.raw.close()
        # A disk that is gone keeps its file; the next start puts it aside.
        with suppress(OSError):
            segment.path.unlink()


def put_aside(folder: Path) -> list[Path]:
    """Move the files that a killed process left into a folder beside, in place of any older; return them.

    Raises
    ------
    StorageFailed
        If they cannot be moved.
    """
    left, aside = sorted(folder.glob("*.spill")), folder / _LEFT
    if not left:
        return []
    try:
        aside.mkdir(exist_ok=True)
        for older in aside.glob("*.spill"):
            older.unlink()
        return [path.replace(aside / path.name) for path in left]
    except OSError as error:
        raise StorageFailed(f"frames left in {folder} cannot be put aside: {error}; move or delete them") from None


def spilled(path: Path) -> Iterator[Batch]:
    """Yield the batches of a file that was left, as far as they are whole."""
    with FileIO(path, "rb") as raw:
        while len(head := _read(raw, _HEAD.size)) == _HEAD.size:
            mark, *_ = _HEAD.unpack(head)
            if mark != _MARK:
                return
            found = _parsed(head + _read(raw, sum(_HEAD.unpack(head)[4:])))
            if found is not None:
                yield found


def _short(loss: Loss) -> Loss:
    return loss if len(loss.runs) <= MOST_NAMED else Loss(loss.scan_id, loss.count)


def _record(message: Batch) -> list[bytes | memoryview]:
    parts = encode(message)
    lengths = [len(part) for part in parts]
    rest = struct.pack("<QQ4I", message.seq, len(message.batch.indices), *lengths)
    crc = zlib.crc32(rest)
    for part in parts:
        crc = zlib.crc32(part, crc)
    return [struct.pack("<4sI", _MARK, crc) + rest, *parts]


def _parsed(record: bytes) -> Batch | None:
    """Return the batch of a record; None if it is not what was written."""
    view = memoryview(record)
    if len(view) < _HEAD.size:
        return None
    mark, crc, _, _, *lengths = _HEAD.unpack_from(view)
    if mark != _MARK or len(view) != _HEAD.size + sum(lengths) or zlib.crc32(view[8:]) != crc:
        return None
    parts, start = [], _HEAD.size
    for length in lengths:
        parts.append(view[start : start + length])
        start += length
    try:
        message = decode(parts)
    except WireInvalid:
        return None
    return message if isinstance(message, Batch) else None


def _append(segment: Segment, record: list[bytes | memoryview]) -> None:
    segment.raw.seek(segment.size)
    try:
        for part in record:
            left = memoryview(part)
            while left:
                # A disk that becomes full takes a part first and says so at the next.
                left = left[segment.raw.write(left) :]
    except OSError:
        with suppress(OSError):
            segment.raw.truncate(segment.size)
        raise


def _read(raw: FileIO, size: int) -> bytes:
    read, left = [], size
    while left and (some := raw.read(left)):
        read.append(some)
        left -= len(some)
    return b"".join(read)
