"""Facts as an audit can hold them: whatever a stranger sends becomes JSON of bounded length.

A request may carry bytes, NaN, integers of a million digits or a mapping a thousand deep. None of
that may keep it from being written down, or fill the disk.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 1 << 16
"""A longer fact is told by its beginning, its length and its SHA-256."""

SHOWN_CHARACTERS = 1000
DEEPEST = 12


def plain(fact: object) -> Any:
    """Return a fact as JSON can say it, and not at greater length than `MOST_CHARACTERS`.

    >>> plain({"dwell_s": float("nan"), "raw": b"abc"})
    {'dwell_s': 'nan', 'raw': '<3 bytes>'}
    """
    said = _said(fact, DEEPEST)
    text = json.dumps(said)
    if len(text) <= MOST_CHARACTERS:
        return said
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"begins": text[:SHOWN_CHARACTERS], "characters": len(text), "sha256": digest}


def _said(fact: object, deeper: int) -> Any:
    if fact is None or isinstance(fact, bool | str):
        return fact
    if isinstance(fact, int):
        return fact if fact.bit_length() <= 64 else f"<integer of {fact.bit_length()} bits>"
    if isinstance(fact, float):
        return fact if math.isfinite(fact) else repr(fact)
    if isinstance(fact, bytes | bytearray | memoryview):
        return f"<{len(fact)} bytes>"
    if deeper == 0:
        return f"<{type(fact).__name__}, too deep>"
    if isinstance(fact, Mapping):
        return {str(_said(key, 0)): _said(value, deeper - 1) for key, value in fact.items()}
    if isinstance(fact, list | tuple | set | frozenset):
        return [_said(value, deeper - 1) for value in fact]
    return f"<{type(fact).__name__}>"
