"""What h5py says of damaged bytes, taken for what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...core import RecordingUnreadable


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Take whatever h5py raises in the block for damage of what is named.

    Raises
    ------
    RecordingUnreadable
        If what is read in the block is not what was written.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise RecordingUnreadable(f"{name} is damaged: {first_line(str(error))}") from None


def first_line(text: str) -> str:
    """Return what HDF5 says, without the dump that it adds."""
    return text.split("\n", 1)[0].strip()
