"""The instrument that a person names: an address to connect to, or one to start for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .connection.shown_key import NONE
from .embedded import embedded
from .instrument import RemoteInstrument, connect

REPLAY = "replay:"


@contextmanager
def instrument_at(where: str, name: str | None = None, key: str | None = None) -> Iterator[RemoteInstrument]:
    """Connect to an instrument that is served, or start one that ends with the block.

    Parameters
    ----------
    where
        `HOST[:PORT]`, `simulator`, `replay:FILE`, or the path of a server configuration.
    name
        This client's name; None makes one up.
    key
        The key file to show, as of `connect`. One that is started here wants none, unless its configuration does.

    Raises
    ------
    BeamloopError
        As `connect` and `embedded`.
    """
    if is_embedded(where):
        with embedded(where) as address, connect(address, name=name, key=key or NONE) as connected:
            yield connected
        return
    with connect(where, name=name, key=key) as connected:
        yield connected


def is_embedded(where: str) -> bool:
    """Tell whether this instrument is started here, and so ends with whoever uses it."""
    return where == "simulator" or where.startswith(REPLAY) or where.endswith(".toml")


def from_anywhere(where: str) -> str:
    """Return the name of an instrument so that it also holds in another working folder.

    >>> from_anywhere("stem:7440")
    'stem:7440'
    """
    if where.startswith(REPLAY):
        files = where.removeprefix(REPLAY)
        names = [files] if Path(files).exists() else files.split("+")
        return REPLAY + "+".join(str(Path(name).absolute()) for name in names)
    return str(Path(where).absolute()) if where.endswith(".toml") else where
