"""A scan recorded to a file of its own while it comes, however large: nothing of it is held in memory.

Each frame is compressed here and its chunk handed to HDF5 as it is (a direct chunk write), flushed, marked as
there, flushed again; only then is it acknowledged as stored. The file is written as HDF5's single writer does
(SWMR), whose order of writing keeps all that was flushed readable after a kill at any moment; such a file is
marked as being written, and `open_recording` reads it all the same. A disk is looked at before each write,
because HDF5 loses its bearings when one fails (decision 8).

Source: HDF5 User Guide, "Single-Writer/Multiple-Reader"; H5Dwrite_chunk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import h5py
import numpy as np
from numpy.typing import NDArray

from ...core.closing import Closing
from ...core.errors import OutputExists, StorageFailed
from ...core.frame import FrameBatch, Scan
from ..incoming import IncomingScan
from ..runs import Run
from .compression import CHUNK_BYTES, filters
from .growing import GrowingSignal, create_signal
from .nsid import group_of

DIRECT_BYTES = 1 << 13
"""Frames from this size on have a chunk of their own and are written directly; smaller ones share chunks."""

SPARE_BYTES = 1 << 24
"""What must stay free on the disk beside what is written."""

SCAN_END = "scan_end"
END_BYTES = 1 << 16
MOST_RUNS, MOST_WORDS = 1000, 4000
"""Runs of lost frames, and characters of a reason, that fit in it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A scan that was recorded to its end.

    Attributes
    ----------
    path
        The file.
    frames
        Frames in it.
    lacks
        What keeps it from being complete; empty if nothing does.
    """

    path: Path
    frames: int
    lacks: str


class ScanFile(Closing):
    """A file for the frames of one scan, open for writing; for one thread.

    Parameters
    ----------
    path
        New file.
    scan
        Header of the scan.
    metadata
        Further facts, as `create_signal`.

    Raises
    ------
    OutputExists
        If the file is already there.
    StorageFailed
        If it cannot be made.
    """

    def __init__(self, path: Path, scan: Scan, metadata: Mapping[str, object] | None = None) -> None:
        if path.exists():
            raise OutputExists(f"{path} already exists; a scan is recorded into a new file, choose another name")
        self._path, self._scan, self._failed = path, scan, ""
        dtype = np.dtype(scan.dtype)
        frame_bytes = int(np.prod(scan.frame_shape, dtype=np.int64)) * dtype.itemsize
        self._is_direct = frame_bytes >= DIRECT_BYTES
        chunk_bytes = 1 if self._is_direct else CHUNK_BYTES
        try:
            self._file = h5py.File(path, "w-", libver=("v110", "v110"))
            self._signal = create_signal(
                self._file, "Channel_000", scan.detector, scan, "bitshuffle", metadata, chunk_bytes
            )
            # Made before the first frame, because nothing can be added to a file that is marked as being written.
            self._end = group_of(self._signal.dataset).create_dataset(SCAN_END, (), f"S{END_BYTES}", data=b"")
            self._file.swmr_mode = True
        except OSError as error:
            raise StorageFailed(f"{path} could not be made: {error}") from None
        self._press = _Press(self._signal) if self._is_direct else None

    def add(self, batch: FrameBatch) -> None:
        """Write some frames; when this returns, they survive a kill.

        Raises
        ------
        FrameShapeWrong
            If the batch is not what the scan's header announced.
        StorageFailed
            If the disk has no room, and nothing was done: make some and add the batch again. Or if the disk failed:
            what was added before is kept, the file takes no more.
        """
        batch.check(self._scan)
        self._look(batch.frames.nbytes)
        try:
            if self._press is None:
                self._signal.put(batch)
            else:
                self._put_directly(self._press, batch)
            # The frames must have left before anything says that they are there.
            self._signal.dataset.flush()
            self._signal.mark(batch)
            self._signal.flush_marks()
        except (OSError, RuntimeError) as error:
            self._failed = str(error)
            raise StorageFailed(
                f"{self._path} could not be given frames: {error}; those added before are kept"
            ) from None

    def _put_directly(self, press: _Press, batch: FrameBatch) -> None:
        dataset, still = self._signal.dataset, (0,) * len(self._scan.frame_shape)
        for index, frame in zip(batch.indices, batch.frames, strict=True):
            place = np.unravel_index(int(index), self._scan.scan_shape)
            dataset.id.write_direct_chunk((*map(int, place), *still), *press.pressed(frame))

    def finish(self, facts: Mapping[str, object]) -> None:
        """Write how the scan ended, JSON-like, beside its frames.

        Raises
        ------
        StorageFailed
            As `add`.
        """
        self._look(END_BYTES)
        try:
            self._end[()] = json.dumps(facts).encode()
            self._end.flush()
        except (OSError, RuntimeError) as error:
            self._failed = str(error)
            raise StorageFailed(f"{self._path} could not be told how its scan ended: {error}") from None

    def close(self) -> None:
        """Close the file; may be repeated."""
        if self._press is not None:
            self._press.close()
        # A file whose disk failed cannot be closed in order; its frames are there, and its mark stays.
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _look(self, size_bytes: int) -> None:
        if self._failed:
            raise StorageFailed(f"{self._path} takes no more since its disk failed: {self._failed}")
        free = shutil.disk_usage(self._path.parent).free
        if free < size_bytes + SPARE_BYTES:
            raise StorageFailed(
                f"{self._path} is given no frames: {free} bytes are free on its disk, {size_bytes + SPARE_BYTES} are "
                "needed; make room, then go on. Frames that are not stored wait at the instrument"
            )


class _Press:
    """Compresses frames as the chunks of a signal, by a dataset in memory that is stored in the same way."""

    def __init__(self, signal: GrowingSignal) -> None:
        chunk = cast(tuple[int, ...], signal.dataset.chunks)
        # The name is of no file; two open at a time must not share it.
        self._file = h5py.File(f"press-{id(self)}", "w", driver="core", backing_store=False)
        self._one = self._file.create_dataset(
            "frame", chunk, signal.dataset.dtype, **filters("bitshuffle", chunk, chunk)
        )
        self._origin = (0,) * len(chunk)

    def pressed(self, frame: NDArray) -> tuple[bytes, int]:
        """Return a frame as the bytes of its chunk, and which filters it has not gone through."""
        self._one[...] = frame
        self._one.flush()
        skipped, chunk = self._one.id.read_direct_chunk(self._origin)
        return chunk, skipped

    def close(self) -> None:
        """Let go of the memory."""
        self._file.close()


def record(
    incoming: IncomingScan,
    path: Path,
    timeout_s: float,
    metadata: Mapping[str, object] | None = None,
    goes_on: Callable[[StorageFailed], bool] = lambda failure: False,
    stored: Callable[[], None] = lambda: None,
) -> Recorded:
    """Record a scan to a new file as it comes, acknowledging frames as they are stored; return what is there.

    Frames that lack, and why, are in the file as well: `valid` is False there, and `scan_end` says how it ended.

    Parameters
    ----------
    incoming
        The scan, of which nothing was taken yet.
    path
        New file.
    timeout_s
        Longest wait for the next message.
    metadata
        Further facts, as `create_signal`.
    goes_on
        Asked when the disk takes nothing, after a wait of its own; True tries again. Meanwhile frames wait at the
        instrument, whose source pauses at its bound.
    stored
        Called after each batch, when it is in the file.

    Raises
    ------
    OutputExists, StorageFailed
        As `ScanFile`.
    InstrumentUnreachable, ChannelClosed, FrameShapeWrong
        As `IncomingScan.batches`; what was stored before is in the file.
    """

    def tried(action: Callable[[], None]) -> None:
        while True:
            try:
                action()
            except StorageFailed as failure:
                if not goes_on(failure):
                    raise
            else:
                return

    with ScanFile(path, incoming.header, metadata) as file:
        for batch in incoming.batches(timeout_s):
            tried(lambda batch=batch: file.add(batch))
            incoming.stored()
            stored()
        tried(lambda: file.finish(_how_it_ended(incoming)))
    incoming.stored()
    return Recorded(path, int(incoming.valid.sum()), incoming.lack())


def scan_end_of(dataset: h5py.Dataset) -> dict[str, object]:
    """Return how the recorded scan of a main dataset ended; empty if it was cut off."""
    group = group_of(dataset)
    told = bytes(cast(h5py.Dataset, group[SCAN_END])[()]) if SCAN_END in group else b""
    return json.loads(told) if told else {}


def _how_it_ended(incoming: IncomingScan) -> dict[str, object]:
    assert incoming.end is not None
    lost: tuple[Run, ...] = incoming.lost_frames.pairs(MOST_RUNS)
    end = incoming.end.model_copy(update={"reason": incoming.end.reason[:MOST_WORDS]})
    lacks = incoming.lack()[:MOST_WORDS]
    return {**end.model_dump(), "lacks": lacks, "lost": incoming.lost, "lost_frames": lost}
