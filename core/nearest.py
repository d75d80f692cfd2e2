"""Name the nearest valid name after a misspelling."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest, then all that are known.

    >>> nearest("dwel_s", ["dwell_s", "shape"])
    "; did you mean 'dwell_s'? known: 'dwell_s', 'shape'"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    guess = f" did you mean {close[0]!r}?" if close else ""
    return f";{guess} known: {', '.join(map(repr, names)) or 'none'}"
