"""Batches on disk that memory has no room for, each with a checksum, in files of bounded size.

A batch lies there as it would go on the wire, behind a head with its number, its length and a
CRC-32 over both. A disk that is full or gone takes nothing and says so; what it took before
can still be read. What comes back otherwise than it was put in is given as a loss, never as
frames. A file goes as soon as none of its batches is needed any more.

Each file holds the header of every scan of which it has batches, and a batch that is let go is
marked as gone, so that what a killed process left can be taken up by the next (`left`).
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path

import numpy as np

from ..core.errors import StorageFailed, WireInvalid
from ..core.frame import Scan
from .loss import Loss, loss_of
from .runs import runs_of
from .wire import Batch, Begin, Buffer, decode, encode, scan_id_of

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
_MARK, _GONE = b"BLsp", b"BLgo"


@dataclass(eq=False, slots=True)
class Segment:
    """One file, how much of it is still needed, and the scans whose headers it holds."""

    path: Path
    raw: FileIO
    size: int = 0
    live: int = 0
    scans: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch lies, under which number it was written, and what is lost if it is damaged there."""

    segment: Segment
    start: int
    size: int
    seq: int
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
        self._scans: dict[str, Scan] = {}
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

    def begin(self, scan: Scan) -> None:
        """Note the header of a scan of which batches may come."""
        self._scans[scan.scan_id] = scan

    def end(self, scan_id: str) -> None:
        """Note that no batch of a scan will come any more."""
        self._scans.pop(scan_id, None)

    def put(self, message: Batch) -> bool:
        """Write a batch; False, with nothing kept, if the disk refuses."""
        scan_id = message.batch.scan_id
        try:
            segment = self._open()
            scan = self._scans.get(scan_id)
            if scan is not None and scan_id not in segment.scans:
                self._write(segment, Begin(1, scan))
                segment.scans.add(scan_id)
            start, size = segment.size, self._write(segment, message)
        except OSError as error:
            self._refused_s = self._clock()
            self.fault = f"{self._folder} takes no frames: {error.strerror or error}"
            return False
        self.hold(message.seq, Place(segment, start, size, message.seq, _short(loss_of(message.batch))))
        self.fault = ""
        return True

    def take_up(self, segment: Segment) -> None:
        """Have a file that another left; of its batches `hold` what is needed, or it stays for ever."""
        self._segments.insert(0, segment)
        self.held_bytes += segment.size

    def hold(self, seq: int, place: Place) -> None:
        """Keep a batch that lies in one of the files, under a number."""
        self._places[seq] = place
        place.segment.live += 1

    def get(self, seq: int) -> Batch | Loss:
        """Read a batch that is held; what is lost, if it is not what was written.

        Raises
        ------
        StorageFailed
            If the disk does not give it now.
        """
        place = self._places[seq]
        try:
            found = _parsed(_read_at(place.segment.raw, place.start, place.size))
        except OSError as error:
            self.fault = f"{place.segment.path} cannot be read: {error.strerror or error}"
            raise StorageFailed(self.fault) from None
        return replace(found, seq=seq) if isinstance(found, Batch) and found.seq == place.seq else place.loss

    def loss(self, seq: int) -> Loss:
        """Return what is lost with a batch that is held."""
        return self._places[seq].loss

    def drop(self, seq: int) -> None:
        """Let go of a batch; its file goes with the last of it."""
        place = self._places.pop(seq)
        segment = place.segment
        segment.live -= 1
        if segment.live == 0:
            self._remove(segment)
            return
        # One that cannot be marked would be offered twice after a kill, which loses nothing.
        with suppress(OSError):
            segment.raw.seek(place.start)
            segment.raw.write(_GONE)

    def clear(self) -> None:
        """Let go of all."""
        self._places.clear()
        self._scans.clear()
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

    def _write(self, segment: Segment, message: Batch | Begin) -> int:
        """Write a message at the end of a file and return how many bytes it takes."""
        record = _record(message)
        _append(segment, record)
        size = sum(len(part) for part in record)
        segment.size += size
        self.held_bytes += size
        return size

    def _remove(self, segment: Segment) -> None:
        self.held_bytes -= segment.size
        self._segments.remove(segment)
        segment.raw.close()
        # A disk that is gone keeps its file; the next start takes it up.
        with suppress(OSError):
            segment.path.unlink()


def found_in(path: Path) -> tuple[Segment, dict[str, Scan], list[Place]]:
    """Open a file that another process left: what it holds, its scans by id, and its batches that were not let go.

    Half a batch at its end is cut off. Frames are not read, so whether a batch is whole shows when it is got.

    Raises
    ------
    OSError
        If the file cannot be read or cut.
    """
    segment, scans, places = Segment(path, FileIO(path, "r+b")), {}, []
    whole = path.stat().st_size
    while len(head := _read_at(segment.raw, segment.size, _HEAD.size)) == _HEAD.size:
        mark, _, seq, frames, *lengths = _HEAD.unpack(head)
        size = _HEAD.size + sum(lengths)
        if mark not in (_MARK, _GONE) or segment.size + size > whole:
            break
        if lengths[1:] == [0, 0, 0]:
            begin = _parsed(_read_at(segment.raw, segment.size, size))
            if isinstance(begin, Begin):
                scans[begin.scan.scan_id] = begin.scan
        elif mark == _MARK:
            known = _read_at(segment.raw, segment.size + _HEAD.size, lengths[0] + lengths[1])
            loss = _short(_loss_in(known[: lengths[0]], known[lengths[0] :], frames))
            places.append(Place(segment, segment.size, size, seq, loss))
        segment.size += size
    segment.raw.truncate(segment.size)
    segment.scans.update(scans)
    return segment, scans, places


def _short(loss: Loss) -> Loss:
    return loss if len(loss.runs) <= MOST_NAMED else Loss(loss.scan_id, loss.count)


def _loss_in(header: bytes, indices: bytes, frames: int) -> Loss:
    """Return what is lost with a batch, from the beginning of its record; of no scan if that is unreadable."""
    try:
        return Loss(scan_id_of(header), frames, runs_of(np.frombuffer(indices, "<i8")))
    except (WireInvalid, ValueError):
        return Loss("", frames)


def _record(message: Batch | Begin) -> list[Buffer]:
    parts = encode(message)
    lengths = [len(part) for part in parts] + [0] * (4 - len(parts))
    frames = len(message.batch.indices) if isinstance(message, Batch) else 0
    rest = struct.pack("<QQ4I", message.seq, frames, *lengths)
    crc = zlib.crc32(rest)
    for part in parts:
        crc = zlib.crc32(part, crc)
    return [struct.pack("<4sI", _MARK, crc) + rest, *parts]


def _parsed(record: bytes) -> Batch | Begin | None:
    """Return what a record holds; None if it is not what was written."""
    view = memoryview(record)
    if len(view) < _HEAD.size:
        return None
    mark, crc, _, _, *lengths = _HEAD.unpack_from(view)
    if mark != _MARK or len(view) != _HEAD.size + sum(lengths) or zlib.crc32(view[8:]) != crc:
        return None
    parts, start = [], _HEAD.size
    for length in lengths if any(lengths[1:]) else lengths[:1]:
        parts.append(view[start : start + length])
        start += length
    try:
        message = decode(parts)
    except WireInvalid:
        return None
    return message if isinstance(message, Batch | Begin) else None


def _append(segment: Segment, record: list[Buffer]) -> None:
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


def _read_at(raw: FileIO, start: int, size: int) -> bytes:
    raw.seek(start)
    return _read(raw, size)


def _read(raw: FileIO, size: int) -> bytes:
    read, left = [], size
    while left and (some := raw.read(left)):
        read.append(some)
        left -= len(some)
    return b"".join(read)
