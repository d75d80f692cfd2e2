"""DECTRIS SIMPLON stream V1 as a state machine: message parts in, events out; no socket, no clock.

Parts say by their `htype` what follows them, so it makes no difference whether a header's parts come as one message,
as real detectors send them, or one by one, as other simulators do. A part that nobody announced is an appendix
if it stands at the end of a message, and foreign otherwise.

    header   {htype: dheader-1.0, series, header_detail}, then for basic and all: {detector configuration}, and for
             all: flat field, pixel mask, count rate table, each as {htype, shape, type} and a blob
    image    {htype: dimage-1.0, series, frame}, {htype: dimage_d-1.0, shape: [width, height], type, encoding, size},
             blob, {htype: dconfig-1.0, start_time, stop_time, real_time}
    end      {htype: dseries_end-1.0, series}

Source: SIMPLON API reference 1.8 by DECTRIS; SaschaAndresGrimm/EIGERStreamReceiver for parts as they were recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WireInvalid
from .events import Began, Came, Ended, Event, Odd
from .unpacking import Packing, unpack

DTYPES = {"uint8": "|u1", "uint16": "<u2", "uint32": "<u4"}
MOST_PIXELS = 1 << 26
"""Of one image; the largest detectors have a quarter of it."""

LONGEST_JSON = 1 << 20
_TABLES = ("dflatfield-1.0", "dpixelmask-1.0", "dcountrate_table-1.0")
_END = ("dseries_end-1.0", "deseries_end-1.0")
"""As DECTRIS and as a widespread simulator spell it."""

Fact = dict[str, object]


class StreamV1:
    """Reads the messages of one connection; for one thread."""

    def __init__(self) -> None:
        self._header: Fact | None = None
        self._config: Fact = {}
        self._began: Began | None = None
        self._frame: tuple[int, int] | None = None
        self._data: Fact = {}
        self._due: Callable[[bytes, list[Event]], None] | None = None
        self._due_name = ""

    def feed(self, parts: Sequence[bytes]) -> list[Event]:
        """Take one message; return what it completes."""
        events: list[Event] = []
        if len(parts) > 1 and self._due is not None:
            self._cut_off(events)
        for i, part in enumerate(parts):
            due, self._due = self._due, None
            try:
                if due is not None:
                    due(part, events)
                else:
                    self._begin(part, i > 0, events)
            except WireInvalid as error:
                events.append(Odd("messages not understood", str(error)))
        if len(parts) > 1 and self._due is not None and self._due_name != "configuration":
            self._cut_off(events)
        return events

    def _cut_off(self, events: list[Event]) -> None:
        of = f"frame {self._frame[1]}" if self._frame else "a header"
        events.append(Odd("messages cut off", f"the message of {of} ends before its {self._due_name}"))
        self._due = None

    def _expect(self, name: str, due: Callable[[bytes, list[Event]], None]) -> None:
        self._due, self._due_name = due, name

    def _begin(self, part: bytes, is_later: bool, events: list[Event]) -> None:
        try:
            fact = _fact(part)
            htype = fact.get("htype")
        except WireInvalid:
            if is_later:
                # An appendix, whatever the user put in it.
                return
            raise
        if htype == "dheader-1.0":
            self._header_came(fact, events)
        elif htype == "dimage-1.0":
            series, number = _whole(fact, "series"), _whole(fact, "frame")
            self._frame = (series, number)
            self._expect("dimage_d part", self._image_came)
        elif htype in _TABLES:
            self._expect("table", lambda blob, events: None)
        elif htype in _END:
            self._end_came(_whole(fact, "series"), events)
        elif htype != "dconfig-1.0" and not is_later:
            events.append(Odd("unknown messages", f"a message begins with {part[:60]!r}"))

    def _header_came(self, fact: Fact, events: list[Event]) -> None:
        if self._began is not None:
            events.append(Ended(self._began.series))
        self._header, self._config, self._began, self._frame = fact, {}, None, None
        if fact.get("header_detail") in ("basic", "all"):
            self._expect("configuration", self._config_came)

    def _config_came(self, part: bytes, events: list[Event]) -> None:
        self._config = _fact(part)

    def _image_came(self, part: bytes, events: list[Event]) -> None:
        self._data = _fact(part)
        if self._data.get("htype") != "dimage_d-1.0":
            raise WireInvalid(f"behind the first part of an image comes {part[:60]!r}")
        self._expect("pixels", self._pixels_came)

    def _pixels_came(self, blob: bytes, events: list[Event]) -> None:
        assert self._frame is not None
        series, number = self._frame
        if self._header is None or self._header.get("series") != series:
            words = f"frame {number} is of series {series}, "
            known = None if self._header is None else self._header.get("series")
            words += "whose header never came" if known is None else f"and series {known} is under way"
            events.append(Odd("frames of another series", words))
            return
        shape, dtype = image_shape(self._data.get("shape"), width_first=True), str(self._data.get("type"))
        if dtype not in DTYPES:
            raise WireInvalid(f"frame {number} has pixels of type {dtype[:40]!r}; known are {', '.join(DTYPES)}")
        packing = Packing.spelt(str(self._data.get("encoding")))
        if self._began is None:
            self._began = self._beginning(series, shape, DTYPES[dtype])
            events.append(self._began)
        if (self._began.frame_shape, self._began.dtype) != (shape, DTYPES[dtype]):
            events.append(Odd("frames changed", changed(number, shape, DTYPES[dtype], self._began)))
            return
        events.append(packed_frame(number, blob, packing))

    def _end_came(self, series: int, events: list[Event]) -> None:
        if self._header is None or self._header.get("series") != series:
            events.append(Odd("ends of another series", f"series {series} ended, which is not under way"))
            return
        events.append(Ended(f"series {series}"))
        self._header, self._began = None, None

    def _beginning(self, series: int, shape: tuple[int, int], dtype: str) -> Began:
        config = self._config
        images, triggers = (_count(config.get(key)) for key in ("nimages", "ntrigger"))
        scan_shape = (triggers, images) if images > 1 and triggers > 1 else None
        dwell = config.get("count_time")
        return Began(
            f"series {series}", shape, dtype, images * triggers, scan_shape,
            float(dwell) if isinstance(dwell, (int, float)) and dwell >= 0 else 0.0,
            str(config.get("description", "DECTRIS"))[:80], dict(config),
        )  # fmt: skip


def packed_frame(number: int, blob: bytes, packing: Packing) -> Came:
    """Return one frame that came packed."""

    def put(out: NDArray) -> None:
        try:
            unpack(blob, packing, out[0])
        except WireInvalid as error:
            raise WireInvalid(f"frame {number}: {error}") from None

    return Came(np.array([number], np.int64), put)


def image_shape(told: object, *, width_first: bool) -> tuple[int, int]:
    """Return the shape `(v, u)` of an image that a message tells.

    Raises
    ------
    WireInvalid
        If it is none, or larger than `MOST_PIXELS`.
    """
    sizes = list(told) if isinstance(told, (list, tuple)) else []
    if len(sizes) != 2 or not all(isinstance(n, int) and 0 < n <= MOST_PIXELS for n in sizes):
        raise WireInvalid(f"an image of shape {str(told)[:60]} is none; two sizes above 0 are needed")
    v, u = reversed(sizes) if width_first else sizes
    if v * u > MOST_PIXELS:
        raise WireInvalid(f"an image of {v} x {u} pixels is larger than {MOST_PIXELS}, which none is")
    return v, u


def changed(number: int, shape: tuple[int, int], dtype: str, began: Began) -> str:
    """Say how a frame differs from those before it."""
    return f"frame {number} has shape {shape} of {dtype}; those before it have {began.frame_shape} of {began.dtype}"


def _fact(part: bytes) -> Fact:
    try:
        fact = json.loads(part) if len(part) <= LONGEST_JSON else None
    except (ValueError, RecursionError):
        fact = None
    if not isinstance(fact, dict):
        raise WireInvalid(f"a part of {len(part)} bytes begins with {part[:60]!r}; JSON with named values is needed")
    return fact


def _whole(fact: Fact, key: str) -> int:
    value = fact.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise WireInvalid(f"{fact.get('htype')} says {key} = {str(value)[:40]}; a whole number is needed")
    return value


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 31 else 0
