"""The armour of a child's socket, from the folder of keys that its orders name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...streaming.armour import Armour
from .key_list import KeyList
from .place import Line, Place


def armour_for(
    line: Line, folder: Path | None, turned_away: Callable[[str, str], None], reads: bool = True
) -> Armour | None:
    """Return the armour of a line; None where no keys are configured.

    Parameters
    ----------
    line
        Whose socket it is for.
    folder
        The folder of keys.
    turned_away
        Called with the address of whoever is refused, and why.
    reads
        As of `KeyList`: whether the socket's owner may wait for the disk.
    """
    if folder is None:
        return None
    place = Place(folder)
    return Armour(place.pair(line).secret, KeyList(place, reads), turned_away)
