"""Messages that are nearly right, and noise.

Bytes are changed, cut, doubled and swapped; values of wrong kinds and sizes stand in right places. Each is made
from a valid message and a seeded generator, so that a run can be repeated.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgpack

Parts = list[bytes]

HOSTILE: tuple[object, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), float("nan"), float("inf"), -0.0, 1e308, "",
    "x" * 300, "\x00", "a" * 65, b"", b"\xff" * 40, [], [[]], {}, {"a": {}}, [0] * 300, [2**40, 2**40], ["<u2"], "|O8",
    "<V8", "batch", "hello", msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2),
)  # fmt: skip


def malformed(rng: random.Random, golden: Sequence[Sequence[bytes]], count: int) -> Iterator[Parts]:
    """Yield so many messages made from valid ones; a few come out valid by chance."""
    ways = (_noise, _flipped, _cut, _shuffled, _revalued, _revalued, _nested)
    for _ in range(count):
        yield rng.choice(ways)(rng, [bytes(part) for part in rng.choice(golden)])


def _noise(rng: random.Random, parts: Parts) -> Parts:
    return [rng.randbytes(rng.randrange(80)) for _ in range(rng.randrange(1, 6))]


def _flipped(rng: random.Random, parts: Parts) -> Parts:
    place = rng.randrange(len(parts))
    changed = bytearray(parts[place])
    for _ in range(rng.randrange(1, 4)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 0x7F, 0x80, 0xC1, 0xDF, 0xFF, rng.randrange(256)))
    parts[place] = bytes(changed)
    return parts


def _cut(rng: random.Random, parts: Parts) -> Parts:
    place = rng.randrange(len(parts))
    at = rng.randrange(len(parts[place]) + 1)
    parts[place] = parts[place][:at] if rng.random() < 0.5 else parts[place] + rng.randbytes(rng.randrange(1, 9))
    return parts


def _shuffled(rng: random.Random, parts: Parts) -> Parts:
    if rng.random() < 0.5:
        del parts[rng.randrange(len(parts))]
    else:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
    rng.shuffle(parts)
    return parts or [b"\xc1"]


def _revalued(rng: random.Random, parts: Parts) -> Parts:
    """Give some values of the header another kind or size."""
    header = _opened(parts[0])
    if header is None:
        return _flipped(rng, parts)
    for _ in range(rng.randrange(1, 3)):
        _change(rng, header)
    return [_packed(header), *parts[1:]]


def _nested(rng: random.Random, parts: Parts) -> Parts:
    """Announce far more than is there: lists in lists, huge lengths, deep maps."""
    deep = rng.choice((b"\x91", b"\x81\xa1a")) * rng.randrange(1, 3000)
    huge = rng.choice((b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9")) + struct.pack(">I", rng.choice((2**20, 2**32 - 1)))
    return [rng.choice((deep, huge, parts[0][:1] + huge, deep + huge)), *parts[1:]]


def _opened(part: bytes) -> dict[Any, Any] | None:
    try:
        header = msgpack.unpackb(part)
    except (ValueError, msgpack.UnpackException):
        return None
    return header if isinstance(header, dict) else None


def _change(rng: random.Random, where: dict[Any, Any]) -> None:
    key = rng.choice([*where, "zz"])
    inner = where.get(key)
    if isinstance(inner, dict) and inner and rng.random() < 0.7:
        _change(rng, inner)
    elif rng.random() < 0.15:
        where.pop(key, None)
    else:
        where[key] = rng.choice(HOSTILE)


def _packed(header: Mapping[Any, Any]) -> bytes:
    return cast("bytes", msgpack.packb(header))


def resident_mib(pid: int | None = None) -> float:
    """Return the memory that a process, this one if none is named, has now."""
    with open(f"/proc/{pid or os.getpid()}/statm") as facts:
        return int(facts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
