"""What a data-channel message looks like in bytes; no other file knows.

A message is a msgpack header (a map) followed by raw buffers, so frames leave and arrive
without being copied. dtype and byte order travel as they are. Rules of version 1:

- Within the version a header may gain keys; a reader ignores keys it does not know.
- `c` of `batch` is its checksum, XXH3 of 64 bits over what `_checksum` lists; a sender that gives none is an older
  one and is believed.
- Scan headers and ends are values of `core` and exact: a field more or less raises the version.
- A changed meaning, a removed key, a new kind that must be understood, or other buffers
  raise the version; a sender refuses a receiver of another version and says so.
- A kind that came later (`lost`) goes only to receivers whose hello has a key that came with
  it (`m`); others get an empty batch of the same number.
- Frames are squeezed only for receivers whose hello names the codec (`x`); the batch then names it too.
- `v`, `k` and `n` of `hello` and all of `refused` keep their form in every version, so
  that two versions can tell each other why they part.

The kinds and their keys (all have `v` version and `k` kind; `s` session, `l` link and `q`
sequence number mean the same everywhere):

| kind | from | further keys | raw buffers |
|---|---|---|---|
| hello | receiver | n name, i incarnation, l, s, q received, p stored, w credit, r beyond, m class, o only, x codec | |
| welcome | sender | s, l, f first, q sent, h headers of open scans, m class | |
| begin | sender | s, l, q, h scan header | |
| batch | sender | s, l, q, i scan id, n frames, d dtype, f frame shape, c sum, x codec | indices, positions, frames |
| end | sender | s, l, q, e how the scan ended | |
| lost | sender | s, l, q, i scan id, n frames, r runs of their indices, z whole scans | |
| received | receiver | s, q, w credit | |
| stored | receiver | s, q, r runs stored beyond q | |
| refused | sender | e error class, t text | |

A batch's indices are <i8 and its positions <f8; its frames have the dtype that the header says. One message has no
header: the empty one, which ZeroMQ itself sends on a new connection
(`Knock`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgpack
import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import ValidationError

from ..core.errors import WireDamaged, WireInvalid
from ..core.frame import FrameBatch, Scan, ScanEnd
from ..core.plan import MOST_PIXELS
from .loss import MOST_RUNS, Loss
from .runs import Run
from .squeezing import CODEC, squeeze, unsqueeze

VERSION = 1
MOST_HEADER_BYTES = 16 * 2**20
MOST_DIMENSIONS = 8

READINGS = ("record", "read", "live")
"""Classes of receivers; see `seats`."""

_NUMERIC = re.compile(r"[<>|][biufc][0-9]{1,2}")
_LARGEST = 2**63 - 1

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Knock:
    """A connection is new, or the sender lost track: the receiver should say hello."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A receiver's whole state; a link number not seen before asks to go on from `received` + 1.

    Attributes
    ----------
    receiver
        Name of the receiver, the `Scan.receiver` of the frames it gets.
    protocol
        Version it speaks.
    incarnation
        Random number of this receiver object; tells a new process from a new connection.
    link
        Counts connections and resend requests of this incarnation.
    session
        Numbering of the sender that `received` and `stored` refer to; 0 if none is known.
    received, stored
        Highest numbers in the receiver's memory and in its store, without gaps.
    credit
        How many messages beyond `received` it will take.
    reading
        Its class, one of `READINGS`; empty from a receiver older than the classes, which records.
    only
        Id of the one scan, or measurement, that a reader or viewer wants; empty for all.
    beyond
        Runs of numbers above `stored` that are stored too.
    codec
        How frames may be squeezed for it; empty for not at all.
    """

    receiver: str
    protocol: int = VERSION
    incarnation: int = 0
    link: int = 0
    session: int = 0
    received: int = 0
    stored: int = 0
    credit: int = 0
    reading: str = ""
    only: str = ""
    beyond: tuple[Run, ...] = ()
    codec: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to every hello.

    Attributes
    ----------
    session, link
        The numbering in force and the link answered.
    first
        Number of the first message on this link.
    sent
        Number of the last message sent on this link so far; `first` - 1 if none.
    scans
        Headers of scans under way whose begin was stored by an earlier incarnation.
    reading
        The class that the sender serves it as; empty from a sender older than the classes.
    """

    session: int
    link: int
    first: int
    sent: int
    scans: tuple[Scan, ...] = ()
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Begin:
    """A scan starts."""

    seq: int
    scan: Scan
    session: int = 0
    link: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some frames of a scan; `codec` names how they are squeezed on the wire, if they are."""

    seq: int
    batch: FrameBatch
    session: int = 0
    link: int = 0
    codec: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """A scan is over."""

    seq: int
    end: ScanEnd
    session: int = 0
    link: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """Some frames of a scan will not come."""

    seq: int
    loss: Loss
    session: int = 0
    link: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """Everything up to `seq` is in the receiver's memory; `credit` more may come."""

    seq: int
    credit: int = 0
    session: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything up to `seq`, and in the runs `beyond` it, is stored; the sender may let go of it."""

    seq: int
    session: int = 0
    beyond: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The sender will not serve this receiver; `error` names the class to raise."""

    reason: str
    error: str = "ChannelClosed"


Numbered = Begin | Batch | Lost | End
Message = Knock | Hello | Welcome | Begin | Batch | Lost | End | Received | Stored | Refused


def encode(message: Message) -> list[Buffer]:
    """Return the header and the raw buffers of a message; contiguous frames are not copied.

    >>> bytes(encode(Stored(seq=7, session=1))[0]).hex()
    '84a17601a16ba673746f726564a17301a17107'
    """
    match message:
        case Batch():
            return _encode_batch(message)
        case Knock():
            return [b""]
        case Hello(receiver=name, protocol=protocol, incarnation=incarnation, link=link, session=session):
            keys = {"n": name, "i": incarnation, "l": link, "s": session}
            state = {"q": message.received, "p": message.stored, "w": message.credit}
            asked = _given(m=message.reading, o=message.only, r=message.beyond, x=message.codec)
            return _header("hello", keys | state | asked, protocol)
        case Welcome(session=session, link=link, first=first, sent=sent, scans=scans):
            headers = [scan.model_dump() for scan in scans]
            keys = {"s": session, "l": link, "f": first, "q": sent, "h": headers}
            return _header("welcome", keys | _given(m=message.reading))
        case Begin(seq=seq, scan=scan, session=session, link=link):
            return _header("begin", {"s": session, "l": link, "q": seq, "h": scan.model_dump()})
        case End(seq=seq, end=end, session=session, link=link):
            return _header("end", {"s": session, "l": link, "q": seq, "e": end.model_dump()})
        case Lost(seq=seq, loss=loss, session=session, link=link):
            lost = {"i": loss.scan_id, "n": loss.count, "r": loss.runs, "z": loss.scans}
            return _header("lost", {"s": session, "l": link, "q": seq} | lost)
        case Received(seq=seq, credit=credit, session=session):
            return _header("received", {"s": session, "q": seq, "w": credit})
        case Stored(seq=seq, session=session, beyond=beyond):
            return _header("stored", {"s": session, "q": seq} | _given(r=beyond))
        case Refused(reason=reason, error=error):
            return _header("refused", {"e": error, "t": reason})


def decode(parts: Sequence[Buffer]) -> Message:
    """Return the message in these parts; its arrays are read-only views of them.

    Only buffers that start at an odd address are copied (ZeroMQ hands small messages out
    of a common buffer), because compiled kernels need aligned arrays.

    Raises
    ------
    WireInvalid
        If the parts are not a message of this version.
    WireDamaged
        If they are a batch, and not the one that was sent.
    """
    if not parts:
        raise WireInvalid("a message without any part was given; a header is the least")
    if len(parts) == 1 and len(parts[0]) == 0:
        return Knock()
    header = _unpacked(parts[0])
    kind = _text(header, "k")
    if kind not in _DECODERS:
        raise WireInvalid(f"message of unknown kind {kind!r:.40}; known: {', '.join(_DECODERS)}")
    version = _count(header, "v")
    if version != VERSION and kind not in ("hello", "refused"):
        raise WireInvalid(f"{kind} message of version {version}; this side reads version {VERSION}")
    wanted = 4 if kind == "batch" else 1
    if len(parts) != wanted:
        raise WireInvalid(f"{kind} message with {len(parts)} parts; it has {wanted}")
    return _DECODERS[kind](header, parts)


def scan_id_of(header: Buffer) -> str:
    """Return the scan of a batch, from the first of its parts alone.

    Raises
    ------
    WireInvalid
        If it is not the header of a batch.
    """
    return _text(_unpacked(header), "i")


def buffer_bytes(batch: FrameBatch) -> int:
    """Return how many bytes of raw buffers a batch has on the wire."""
    return batch.indices.nbytes + batch.positions.nbytes + batch.frames.nbytes


def _given(**keys: object) -> dict[str, object]:
    """Return the keys that say something; those that came later are left out when empty."""
    return {key: value for key, value in keys.items() if value}


def _header(kind: str, keys: Mapping[str, object], version: int = VERSION) -> list[Buffer]:
    return [_packed({"v": version, "k": kind, **keys})]


def _packed(header: Mapping[str, object]) -> bytes:
    return cast("bytes", msgpack.packb(header))


def _encode_batch(message: Batch) -> list[Buffer]:
    batch = message.batch
    frames = batch.frames
    header = {
        "v": VERSION, "k": "batch", "s": message.session, "l": message.link, "q": message.seq,
        "i": batch.scan_id, "n": len(batch.indices), "d": frames.dtype.str, "f": frames.shape[1:],
    }  # fmt: skip
    squeezed = squeeze(frames) if message.codec == CODEC else None
    if squeezed is not None:
        header["x"] = CODEC
    buffers = [
        _raw(np.ascontiguousarray(batch.indices, dtype="<i8")),
        _raw(np.ascontiguousarray(batch.positions, dtype="<f8")),
        _raw(np.ascontiguousarray(frames)) if squeezed is None else squeezed,
    ]
    header["c"] = _checksum(batch.scan_id, frames.dtype.str, frames.shape, buffers)
    return [_packed(header), *buffers]


def _checksum(scan_id: str, dtype: str, shape: tuple[int, ...], buffers: Sequence[Buffer]) -> int:
    """Return the checksum of a batch: of its scan, dtype and shape as text, and of its buffers as they travel."""
    digest = xxhash.xxh3_64(f"{scan_id} {dtype} {shape}".encode())
    for buffer in buffers:
        digest.update(buffer)
    return digest.intdigest()


def _raw(array: NDArray) -> memoryview:
    # A byte view first: memoryview cannot cast swapped byte orders or empty shapes itself.
    return array.reshape(-1).view(np.uint8).data


def _unpacked(part: Buffer) -> Mapping[str, object]:
    if len(part) > MOST_HEADER_BYTES:
        raise WireInvalid(f"header of {len(part)} bytes; the most is {MOST_HEADER_BYTES}")
    try:
        header = msgpack.unpackb(part)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireInvalid(f"header {bytes(part[:16]).hex()}... is no msgpack: {error}") from None
    if not isinstance(header, dict):
        raise WireInvalid(f"header is a {type(header).__name__}; it must be a map")
    return header


def _count(header: Mapping[str, object], key: str, most: int = _LARGEST) -> int:
    value = header.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise WireInvalid(f"header key {key!r} is {value!r:.60}; it must be a whole number from 0 to {most}")
    return value


def _text(header: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = header.get(key, default)
    if not isinstance(value, str):
        raise WireInvalid(f"header key {key!r} is {value!r:.60}; it must be text")
    return value


def _number(header: Mapping[str, object], key: str) -> int:
    """Return a sequence number, which counts from 1."""
    number = _count(header, key)
    if number == 0:
        raise WireInvalid(f"header key {key!r} is 0; messages are numbered from 1")
    return number


def _runs(header: Mapping[str, object]) -> tuple[Run, ...]:
    """Return runs of numbers, which ascend and do not touch; none if the key is missing."""
    value = header.get("r", [])
    if not isinstance(value, list) or len(value) > MOST_RUNS:
        raise WireInvalid(f"header key 'r' is {value!r:.60}; it must be a list of at most {MOST_RUNS} runs")
    before = -2
    for run in value:
        if not isinstance(run, list) or len(run) != 2 or any(type(number) is not int for number in run):
            raise WireInvalid(f"run {run!r:.60} must be two whole numbers, first and last")
        if not before + 1 < run[0] <= run[1] <= _LARGEST:
            raise WireInvalid(f"run {run!r:.60} does not ascend, or touches the run before it")
        before = run[1]
    return tuple((first, last) for first, last in value)


def _scan(data: object) -> Scan:
    try:
        scan = Scan.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise WireInvalid(f"scan header: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if scan.n_frames > MOST_PIXELS:
        raise WireInvalid(f"scan {scan.scan_id!r:.60} announces {scan.n_frames} frames; the most is {MOST_PIXELS}")
    _dtype(scan.dtype)
    return scan


def _dtype(name: str) -> np.dtype:
    if not _NUMERIC.fullmatch(name):
        raise WireInvalid(f"dtype {name!r:.40} is not a number with byte order, such as <u2")
    try:
        return np.dtype(name)
    except TypeError:
        raise WireInvalid(f"dtype {name!r} does not exist") from None


def _hello(header: Mapping[str, object], parts: Sequence[Buffer]) -> Hello:
    protocol = _count(header, "v")
    if protocol != VERSION:
        return Hello(_text(header, "n"), protocol)
    return Hello(
        _text(header, "n"), protocol, _count(header, "i"), _count(header, "l"), _count(header, "s"),
        _count(header, "q"), _count(header, "p"), _count(header, "w"), _text(header, "m", ""), _text(header, "o", ""),
        _runs(header), _text(header, "x", ""),
    )  # fmt: skip


def _welcome(header: Mapping[str, object], parts: Sequence[Buffer]) -> Welcome:
    scans = header.get("h")
    if not isinstance(scans, list):
        raise WireInvalid(f"header key 'h' is {scans!r:.60}; it must be a list of scan headers")
    return Welcome(
        _number(header, "s"), _count(header, "l"), _number(header, "f"), _count(header, "q"),
        tuple(map(_scan, scans)), _text(header, "m", ""),
    )  # fmt: skip


def _begin(header: Mapping[str, object], parts: Sequence[Buffer]) -> Begin:
    return Begin(_number(header, "q"), _scan(header.get("h")), _count(header, "s"), _count(header, "l"))


def _batch(header: Mapping[str, object], parts: Sequence[Buffer]) -> Batch:
    n = _count(header, "n", MOST_PIXELS)
    shape = header.get("f")
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise WireInvalid(f"frame shape is {shape!r:.60}; it must be a list of at most {MOST_DIMENSIONS} sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size < 2**31:
            raise WireInvalid(f"frame shape {shape!r:.60} has a size that is no whole number below 2**31")
    scan_id, dtype, shape = _text(header, "i"), _dtype(_text(header, "d")), (n, *shape)
    part, codec = parts[3], _text(header, "x", "")
    if codec:
        # Nobody opens what is damaged.
        _verify(header, (scan_id, dtype.str, shape), parts[1:])
        part = _opened(codec, part, math.prod(shape) * dtype.itemsize)
    batch = FrameBatch(
        scan_id,
        _array(parts[1], _INDEX, (n,), "indices"),
        _array(parts[2], _POSITION, (n, 2), "positions"),
        _array(part, dtype, shape, "frames"),
    )
    if not codec:
        _verify(header, (scan_id, dtype.str, shape), parts[1:])
    return Batch(_number(header, "q"), batch, _count(header, "s"), _count(header, "l"))


def _verify(header: Mapping[str, object], what: tuple[str, str, tuple[int, ...]], buffers: Sequence[Buffer]) -> None:
    if "c" not in header:
        return
    told, found = _count(header, "c", 2**64 - 1), _checksum(*what, buffers)
    if told != found:
        raise WireDamaged(
            f"a batch of scan {what[0]!r:.60} was sent with checksum {told:016x} and came with {found:016x}"
        )


def _opened(codec: str, part: Buffer, wanted: int) -> Buffer:
    if codec != CODEC:
        raise WireInvalid(f"frames are squeezed by {codec!r:.40}; this side knows {CODEC!r}")
    return unsqueeze(part, wanted)


_INDEX = np.dtype("<i8")
_POSITION = np.dtype("<f8")


def _array(part: Buffer, dtype: np.dtype, shape: tuple[int, ...], what: str) -> NDArray:
    view = memoryview(part).toreadonly()
    wanted = math.prod(shape) * dtype.itemsize
    if view.nbytes != wanted:
        raise WireInvalid(f"{what} of shape {shape} and dtype {dtype.str} need {wanted} bytes; {view.nbytes} came")
    if 0 in shape:
        return np.empty(shape, dtype)
    array: NDArray = np.ndarray(shape, dtype, buffer=view)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    return array


def _end(header: Mapping[str, object], parts: Sequence[Buffer]) -> End:
    try:
        end = ScanEnd.model_validate(header.get("e"))
    except ValidationError as error:
        first = error.errors()[0]
        raise WireInvalid(f"scan end: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return End(_number(header, "q"), end, _count(header, "s"), _count(header, "l"))


def _lost(header: Mapping[str, object], parts: Sequence[Buffer]) -> Lost:
    count, runs = _count(header, "n"), _runs(header)
    named = sum(last - first + 1 for first, last in runs)
    if runs and named != count:
        raise WireInvalid(f"{count} lost frames are told, {named} of them are named; all or none must be")
    loss = Loss(_text(header, "i"), count, runs, _count(header, "z"))
    return Lost(_number(header, "q"), loss, _count(header, "s"), _count(header, "l"))


def _received(header: Mapping[str, object], parts: Sequence[Buffer]) -> Received:
    return Received(_count(header, "q"), _count(header, "w"), _count(header, "s"))


def _stored(header: Mapping[str, object], parts: Sequence[Buffer]) -> Stored:
    return Stored(_count(header, "q"), _count(header, "s"), _runs(header))


def _refused(header: Mapping[str, object], parts: Sequence[Buffer]) -> Refused:
    return Refused(_text(header, "t"), _text(header, "e"))


_DECODERS: dict[str, Callable[[Mapping[str, object], Sequence[Buffer]], Message]] = {
    "hello": _hello,
    "welcome": _welcome,
    "begin": _begin,
    "batch": _batch,
    "end": _end,
    "lost": _lost,
    "received": _received,
    "stored": _stored,
    "refused": _refused,
}
