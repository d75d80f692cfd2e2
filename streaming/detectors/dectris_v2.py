"""DECTRIS SIMPLON stream V2 as a state machine: CBOR messages in, events out; no socket, no clock.

A message is one CBOR map behind the tag that marks CBOR. Images come as a map of channels, one for each threshold of
the detector, each an array of two dimensions (tag 40, or 1040 with columns first) of typed bytes (RFC 8746) that
may be packed (tag 56500). Tags are looked at after CBOR was read, so that nothing is opened that is not wanted.

Source: github.com/dectris/documentation, stream_v2/README.md and cbor/dectris-compression-tag.md; RFC 8949; RFC 8746.
"""

from __future__ import annotations

from collections.abc import Mapping

import cbor2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import WireInvalid
from .dectris_v1 import changed, image_shape, packed_frame
from .events import Began, Came, Ended, Event, Odd
from .unpacking import Packing

MARK = b"\xd9\xd9\xf7"
"""How every message begins: the tag that says that CBOR follows."""

TYPED = {64: "<u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "<u1", 69: "<u2", 70: "<u4", 71: "<u8"}
"""Tags of unsigned numbers; what images are made of."""

ROWS_FIRST, COLUMNS_FIRST, PACKED = 40, 1040, 56500

_LONGEST_NAME = 200


class StreamV2:
    """Reads the messages of one connection; for one thread.

    Parameters
    ----------
    channel
        Which channel's images are taken; the first if empty.
    """

    def __init__(self, channel: str = "") -> None:
        self._channel = channel
        self._series: tuple[object, object] | None = None
        self._start: Mapping[str, object] = {}
        self._began: Began | None = None

    def feed(self, message: bytes) -> list[Event]:
        """Take one message; return what it completes."""
        events: list[Event] = []
        try:
            found = _read(message)
            kind = found.get("type")
            if kind == "start":
                self._start_came(found, events)
            elif kind == "image":
                self._image_came(found, events)
            elif kind == "end":
                self._end_came(found, events)
            else:
                events.append(Odd("unknown messages", f"a message has type {str(kind)[:40]!r}"))
        except WireInvalid as error:
            events.append(Odd("messages not understood", str(error)))
        return events

    def _start_came(self, found: Mapping[str, object], events: list[Event]) -> None:
        if self._began is not None:
            events.append(Ended(self._began.series))
        self._series, self._start, self._began = _series(found), found, None

    def _image_came(self, found: Mapping[str, object], events: list[Event]) -> None:
        number = found.get("image_id")
        if not isinstance(number, int) or not 0 <= number < 1 << 62:
            raise WireInvalid(f"an image has number {str(number)[:40]}; a whole number is needed")
        if _series(found) != self._series:
            now = "whose start never came" if self._series is None else f"and {_named(self._series)} is under way"
            events.append(Odd("frames of another series", f"image {number} is of {_named(_series(found))}, {now}"))
            return
        data = found.get("data")
        if not isinstance(data, Mapping) or not data:
            raise WireInvalid(f"image {number} has no channels")
        channel = self._channel or str(next(iter(data)))
        if channel not in data:
            known = ", ".join(repr(str(name)[:40]) for name in list(data)[:8])
            raise WireInvalid(f"image {number} has no channel {channel!r}; its channels are {known}")
        shape, dtype, frame = _frame(number, data[channel])
        if self._began is None:
            self._channel = channel
            self._began = self._beginning(shape, dtype, [str(name)[:_LONGEST_NAME] for name in data])
            events.append(self._began)
        if (self._began.frame_shape, self._began.dtype) != (shape, dtype):
            events.append(Odd("frames changed", changed(number, shape, dtype, self._began)))
            return
        events.append(frame)

    def _end_came(self, found: Mapping[str, object], events: list[Event]) -> None:
        if self._series is None or _series(found) != self._series:
            events.append(Odd("ends of another series", f"{_named(_series(found))} ended, which is not under way"))
            return
        events.append(Ended(_named(self._series)))
        self._series, self._began = None, None

    def _beginning(self, shape: tuple[int, int], dtype: str, channels: list[str]) -> Began:
        assert self._series is not None
        start = self._start
        images, dwell = start.get("number_of_images"), start.get("count_time")
        facts = {key: value for key, value in start.items() if isinstance(value, (str, int, float))}
        return Began(
            _named(self._series), shape, dtype, images if isinstance(images, int) and 0 < images < 1 << 31 else 0, None,
            float(dwell) if isinstance(dwell, (int, float)) and dwell >= 0 else 0.0,
            str(start.get("detector_description", "DECTRIS"))[:80],
            facts | {"channel": self._channel, "channels": channels},
        )  # fmt: skip


def _read(message: bytes) -> Mapping[str, object]:
    try:
        found = cbor2.loads(message)
    except (cbor2.CBORDecodeError, ValueError, RecursionError, MemoryError) as error:
        raise WireInvalid(f"a message of {len(message)} bytes is no CBOR, or was cut off: {str(error)[:80]}") from None
    if not isinstance(found, Mapping):
        raise WireInvalid(f"a message of {len(message)} bytes is CBOR, but no map")
    return found


def _series(found: Mapping[str, object]) -> tuple[object, object]:
    return found.get("series_id"), found.get("series_unique_id")


def _named(series: tuple[object, object]) -> str:
    return f"series {str(series[0])[:40]} ({str(series[1])[:40]})"


def _frame(number: int, told: object) -> tuple[tuple[int, int], str, Came]:
    """Return shape and dtype of a channel's image, and the image as it came."""
    order = told.tag if isinstance(told, cbor2.CBORTag) else 0
    value = told.value if isinstance(told, cbor2.CBORTag) and order in (ROWS_FIRST, COLUMNS_FIRST) else None
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not isinstance(value[1], cbor2.CBORTag):
        raise WireInvalid(f"image {number} has no array of two dimensions (tag 40)")
    shape, typed = image_shape(value[0], width_first=False), value[1]
    if typed.tag not in TYPED:
        raise WireInvalid(f"image {number} is of numbers with tag {typed.tag}; known are {sorted(TYPED)}")
    kind, blob, packing = np.dtype(TYPED[typed.tag]), typed.value, Packing("none")
    if isinstance(blob, cbor2.CBORTag):
        blob, packing = _packed(number, blob)
    if not isinstance(blob, bytes):
        raise WireInvalid(f"image {number} has no bytes of pixels")
    dtype, came = kind.newbyteorder("<").str, packed_frame(number, blob, packing)
    if kind.str == dtype and order == ROWS_FIRST:
        return shape, dtype, came

    def turn(out: NDArray) -> None:
        stored = np.empty(out.shape if order == ROWS_FIRST else (1, *shape[::-1]), kind)
        came.open(stored)
        out[0] = stored[0] if order == ROWS_FIRST else stored[0].T

    return shape, dtype, Came(came.numbers, turn)


def _packed(number: int, tag: cbor2.CBORTag) -> tuple[object, Packing]:
    value = tag.value
    if tag.tag != PACKED or not isinstance(value, (list, tuple)) or len(value) != 3:
        raise WireInvalid(f"image {number} has pixels under tag {tag.tag}; known is {PACKED}")
    algorithm, width, blob = value
    if algorithm == "lz4":
        return blob, Packing("lz4-framed")
    if algorithm == "bslz4" and width in (1, 2, 4, 8):
        return blob, Packing("bslz4", width)
    raise WireInvalid(f"image {number} is packed as {str(algorithm)[:40]!r} of {str(width)[:10]}; known are lz4, bslz4")
