"""Merlin's data port as a state machine: bytes in, events out; no socket, no clock.

Frames of one acquisition differ in number, time and pixels only, so that runs of them are told apart from
anything else by comparing columns of a table, without a loop over frames.

A frame counts once the next message is seen to follow it, or once it is known that nothing follows for now. If
foreign bytes follow, the frame's length was not what its prefix says, or it was cut off and written over: it is
passed over, and the search for the next message begins inside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WireInvalid
from .events import Began, Came, Ended, Event, Odd
from .medipix import RAW, Pixels
from .merlin import (
    DEPTH,
    FRAME,
    FRAMES,
    FRAMES_PER_TRIGGER,
    HEADER,
    MOST_PAYLOAD,
    PREFIX,
    PREFIX_BYTES,
    SCAN_X,
    SCAN_Y,
    STAMP,
    FrameHeader,
    parsed_acquisition,
    whole,
)

TOGETHER_BYTES = 1 << 20
"""Frames that make one event; about what is reduced at once."""

_SEQUENCE = PREFIX_BYTES + 4
"""Where the number of a frame begins."""


class MerlinStream:
    """Reads one connection to a data port, from its first byte on; for one thread."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._acquisition = 0
        self._facts: dict[str, str] = {}
        self._kind: tuple[Pixels, bool] | None = None
        self._high: tuple[int, bytes] | None = None
        self._last = 0

    def feed(self, chunk: bytes | memoryview) -> list[Event]:
        """Take some bytes; return what they complete."""
        self._bytes += chunk
        return self._events(is_quiet=False)

    def pause(self) -> list[Event]:
        """Take it that nothing follows for now; return what that completes."""
        return self._events(is_quiet=True)

    def close(self) -> list[Event]:
        """Take it that nothing follows any more; return what that completes, and what was cut off."""
        events = self._events(is_quiet=True)
        if self._bytes:
            events.append(
                Odd("message cut off", f"the connection ended within a message: {len(self._bytes)} bytes of it came")
            )
            self._bytes.clear()
        return events

    def _events(self, is_quiet: bool) -> list[Event]:
        events: list[Event] = []
        at = 0
        while True:
            at, length = self._next_prefix(at, events)
            end = at + PREFIX_BYTES + length
            if length == 0 or end > len(self._bytes):
                break
            kind = bytes(self._bytes[at + PREFIX_BYTES : at + PREFIX_BYTES + 4])
            if kind == FRAME:
                taken = self._frames(at, length, is_quiet, events)
                if taken == 0:
                    break
                at += taken
            elif kind == HEADER:
                self._begin(bytes(self._bytes[at + PREFIX_BYTES : end]), events)
                at = end
            else:
                events.append(Odd("unknown message", f"a message of {length} bytes begins with {kind!r}"))
                at = end
        del self._bytes[:at]
        return events

    def _next_prefix(self, at: int, events: list[Event]) -> tuple[int, int]:
        """Return where the next message begins and how long its payload is; 0 if that has not come yet."""
        begin = at
        while True:
            found = PREFIX.search(self._bytes, at)
            if found is None:
                # The last bytes may be the first of a prefix.
                at = self._bytes.find(b"M", max(at, len(self._bytes) - PREFIX_BYTES + 1))
                at, length = at if at >= 0 else len(self._bytes), 0
                break
            at, length = found.start(), int(found[1]) - 1
            if 4 <= length <= MOST_PAYLOAD:
                break
            at += 4
        if at > begin:
            events.append(
                Odd("foreign bytes", f"{at - begin} bytes that are no message were passed over, up to the next 'MPX,'")
            )
        return at, length

    def _begin(self, payload: bytes, events: list[Event]) -> None:
        if self._kind is not None:
            events.append(Ended(self._name()))
        self._acquisition += 1
        self._facts = parsed_acquisition(payload)
        self._kind, self._high = None, None

    def _name(self) -> str:
        stamp = self._facts.get(STAMP, "")
        return f"acquisition {self._acquisition}{f' of {stamp}' if stamp else ''}"

    def _frames(self, at: int, length: int, is_quiet: bool, events: list[Event]) -> int:
        """Take the frames that begin at `at`; return the bytes they have, 0 if more must come first."""
        stride = PREFIX_BYTES + length
        follows = bytes(self._bytes[at + stride : at + stride + 4])
        if not b"MPX,".startswith(follows):
            events.append(
                Odd("frames damaged", f"foreign bytes follow frame {self._last + 1}, whose length cannot be trusted")
            )
            return 4
        try:
            header = FrameHeader.parsed(bytes(self._bytes[at + PREFIX_BYTES : at + stride]))
            pixels = header.pixels(length - header.offset, whole(self._facts, DEPTH))
            is_half = _is_half(pixels, length - header.offset)
            if not is_half and pixels.nbytes != length - header.offset:
                raise WireInvalid(
                    f"frame {header.sequence} has {length - header.offset} bytes of pixels, its header needs "
                    f"{pixels.nbytes}"
                )
        except WireInvalid as error:
            events.append(Odd("frames not understood", str(error)))
            return stride
        table, numbers = self._alike(at, stride, header, is_quiet)
        if not len(table):
            return 0
        self._last = int(numbers[-1])
        if self._kind is None:
            self._kind = pixels, is_half
            events.append(self._began(header, pixels))
        if self._kind != (pixels, is_half):
            events.append(Odd("frames changed", _change(header.sequence, self._kind[0], pixels)))
        elif is_half:
            for number, packed in zip(numbers - 1, table[:, PREFIX_BYTES + header.offset :], strict=True):
                self._join(int(number), packed.tobytes(), pixels, events)
        else:
            events.append(_came(numbers - 1, table[:, PREFIX_BYTES + header.offset :], pixels))
        return table.size

    def _alike(
        self, at: int, stride: int, header: FrameHeader, is_quiet: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the frames from `at` on that differ in number, time and pixels only, and their numbers from 1."""
        there = len(self._bytes) - at
        n = min(there // stride, max(1, TOGETHER_BYTES // stride))
        table = np.frombuffer(bytes(memoryview(self._bytes)[at : at + n * stride]), np.uint8).reshape(n, stride)
        stop = _SEQUENCE + header.digits
        digits = table[:, _SEQUENCE:stop] - np.uint8(ord("0"))
        is_alike = (digits < 10).all(1)
        for part in (slice(0, _SEQUENCE), slice(stop, PREFIX_BYTES + header.fixed)):
            is_alike &= (table[:, part] == table[0, part]).all(1)
        count = n if is_alike.all() else int(np.argmin(is_alike))
        if count:
            # Whether the last of them is whole only what follows can tell.
            end = at + count * stride
            follows = bytes(self._bytes[end : end + 4])
            count -= not (follows == b"MPX," or (is_quiet and b"MPX,".startswith(follows)))
        return table[:count], digits[:count].astype(np.int64) @ 10 ** np.arange(header.digits - 1, -1, -1)

    def _began(self, header: FrameHeader, pixels: Pixels) -> Began:
        n_frames, at_once = whole(self._facts, FRAMES), whole(self._facts, FRAMES_PER_TRIGGER)
        ny, nx = whole(self._facts, SCAN_Y), whole(self._facts, SCAN_X)
        shape = (ny, nx) if ny and nx else None
        if shape is None and 1 < at_once < n_frames and n_frames % at_once == 0:
            # Each line of the scan was triggered.
            shape = (n_frames // at_once, at_once)
        return Began(
            self._name(), pixels.frame_shape, pixels.dtype, n_frames, shape, header.shutter_s,
            f"Merlin {pixels.layout}", dict(self._facts),
        )  # fmt: skip

    def _join(self, number: int, half: bytes, pixels: Pixels, events: list[Event]) -> None:
        """Take one of the two images, of 12 bits each, that make one of 24; the higher comes first."""
        if number % 2 == 0:
            waiting, self._high = self._high, (number // 2, half)
            lone = None if waiting is None else waiting[0]
        elif self._high is not None and self._high[0] == number // 2:
            packed = np.frombuffer(self._high[1] + half, np.uint8)[None]
            events.append(_came(np.array([number // 2], np.int64), packed, pixels))
            self._high, lone = None, None
        else:
            lone = number // 2
        if lone is not None:
            events.append(Odd("half frames", f"of frame {lone} of 24 bits only one of its two images came"))


def _is_half(pixels: Pixels, nbytes: int) -> bool:
    return pixels.code == RAW and pixels.depth == 24 and 2 * nbytes == pixels.nbytes


def _came(numbers: NDArray[np.int64], packed: NDArray[np.uint8], pixels: Pixels) -> Came:
    def put(out: NDArray) -> None:
        out[...] = pixels.unpack(packed)

    return Came(numbers, put)


def _change(sequence: int, before: Pixels, now: Pixels) -> str:
    def told(pixels: Pixels) -> str:
        return f"{pixels.code} {pixels.layout} {pixels.height} x {pixels.width}, {pixels.depth or '?'} bit"

    return f"frame {sequence} is {told(now)}; those before it were {told(before)}"
