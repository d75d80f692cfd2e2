"""A checksum over all of a run file that does not change while it grows.

HDF5 vouches for its chunks and most of its structure, not for texts, and it may crash when a flipped bit
hits those. So a run file carries a CRC-32 over every byte but three kinds: the rows, which have checksums of
their own, the superblock, in which SWMR keeps its mark and which has one too, and the seal itself. It is made and
tested on the bytes, past HDF5.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from ...core import RecordingUnreadable
from ...streaming.files.facts import part_of
from .damage import reading

SEAL = "seal"
SEAL_BYTES, SUPERBLOCK_BYTES, PIECE_BYTES = 1024, 48, 1 << 20

Span = tuple[int, int]
"""Where bytes begin and how many they are."""


def make_room(file: h5py.File) -> Span:
    """Lay out space for the seal of a new file and return where it is."""
    return place_of(file.create_dataset(SEAL, data=np.zeros(SEAL_BYTES, np.uint8)))


def place_of(dataset: h5py.Dataset) -> Span:
    """Return where the bytes of a contiguous dataset lie."""
    start = dataset.id.get_offset()
    assert start is not None, dataset.name
    return start, dataset.id.get_storage_size()


def seal(raw: io.RawIOBase, place: Span, growing: Sequence[Span]) -> None:
    """Write the seal of a file that is whole.

    Parameters
    ----------
    raw
        Its bytes.
    place
        Where the seal lies.
    growing
        Bytes that will change.
    """
    told = json.dumps({"growing": growing, "crc32": _crc(raw, [place, *growing])}).encode()
    assert len(told) <= SEAL_BYTES
    raw.seek(place[0])
    raw.write(told.ljust(SEAL_BYTES, b"\0"))


def check_seal(file: h5py.File, path: Path) -> None:
    """Compare an open file with its seal; one without a seal passes, as those of format 1 have none.

    Raises
    ------
    RecordingUnreadable
        If it is not as it was written.
    """
    with reading(str(path)):
        dataset = part_of(file, SEAL)
        if not isinstance(dataset, h5py.Dataset):
            return
        told = json.loads(dataset[()].tobytes().rstrip(b"\0"))
        spans, wanted = (
            [place_of(dataset), *((int(start), int(size)) for start, size in told["growing"])],
            told["crc32"],
        )
        with path.open("rb", buffering=0) as raw:
            found = _crc(raw, spans)
    if found != wanted:
        raise RecordingUnreadable(
            f"{path} is damaged, or was changed by another program: its structure has checksum {found:#x}, its seal "
            f"says {wanted:#x}"
        )


def _crc(raw: io.RawIOBase, spans: Iterable[Span]) -> int:
    end, found, place = raw.seek(0, io.SEEK_END), 0, SUPERBLOCK_BYTES
    for start, size in sorted([*spans, (end, 0)]):
        raw.seek(place)
        left = start - place
        while left > 0:
            piece = raw.read(min(left, PIECE_BYTES))
            if not piece:
                break
            found, left = zlib.crc32(piece, found), left - len(piece)
        place = max(place, start + size)
    return found
