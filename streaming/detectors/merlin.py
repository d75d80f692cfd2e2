"""Messages of Quantum Detectors' Merlin, both ways: prefix, acquisition header, frame header.

A message is `MPX,`, ten digits, `,` and its payload; the digits count the last comma and the payload. On the data
port a payload is an acquisition header (`HDR,`, lines `Key:<tab>value`, `End`) or a frame (`MQ1,`, numbers in ASCII,
then pixels from the offset that it tells). On the command port it is a command or its answer.

Source: LiberTEM-rs `libertem_qd_mpx/src/base_types.rs`; header and frames of recordings made with software 0.77.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ...core.errors import WireInvalid
from .medipix import CHIP, RAW, Pixels

CONTROL_PORT, DATA_PORT = 6341, 6342
PREFIX = re.compile(rb"MPX,(\d{10}),")
PREFIX_BYTES = 15
FRAME, HEADER = b"MQ1,", b"HDR,"
MOST_PAYLOAD = 1 << 26
"""Bytes of the longest message that is taken: a frame of 16 chips in 32 bits has a fourteenth of it."""

FRAMES = "Frames in Acquisition (Number)"
FRAMES_PER_TRIGGER = "Frames per Trigger (Number)"
DEPTH = "Counter Depth (number)"
SCAN_X, SCAN_Y = "ScanX", "ScanY"
STAMP = "Time and Date Stamp (day, mnth, yr, hr, min, s)"

_OFFSETS = {1: 384, 4: 768}
"""Bytes of a frame header, by the number of chips."""

_LONGEST_HEADER = 1 << 14


def message(payload: bytes) -> bytes:
    """Return a payload with its prefix.

    >>> message(b"GET,COUNTERDEPTH")
    b'MPX,0000000017,GET,COUNTERDEPTH'
    """
    return b"MPX,%010d," % (len(payload) + 1) + payload


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of itself before its pixels.

    Attributes
    ----------
    sequence
        Its number in the acquisition, from 1.
    offset
        Bytes of the header in the payload.
    code, layout, height, width
        As `Pixels`.
    shutter_s
        Exposure.
    depth
        Bits of the counter; 0 if the frame does not tell.
    digits
        How long its number is, behind `MQ1,`.
    fixed
        Bytes from the start that are the same in all frames of an acquisition, but for the number.
    """

    sequence: int
    offset: int
    code: str
    layout: str
    height: int
    width: int
    shutter_s: float
    depth: int
    digits: int
    fixed: int

    @classmethod
    def parsed(cls, payload: bytes) -> FrameHeader:
        """Return the header at the start of a frame's payload.

        Raises
        ------
        WireInvalid
            If it is none.
        """
        parts = bytes(payload[:_LONGEST_HEADER]).split(b",", 12)
        try:
            sequence, offset, width, height = (int(parts[i]) for i in (1, 2, 4, 5))
            code, layout, shutter_s = parts[6].decode("ascii"), parts[7].decode("ascii").strip(), float(parts[10])
        except (IndexError, ValueError):
            raise WireInvalid(f"a frame header begins with {bytes(payload[:60])!r}, which has not its fields") from None
        is_number = parts[1].isdigit() and len(parts[1]) < 19
        if not is_number or min(sequence, height, width) < 1 or not 0 < offset <= min(len(payload), _LONGEST_HEADER):
            raise WireInvalid(
                f"a frame header tells number {parts[1][:20]!r} and {height} x {width} pixels from byte {offset} of "
                f"{len(payload)}"
            )
        extension = bytes(payload[:offset]).partition(b",MQ1A,")[2].split(b",")
        depth = int(extension[2]) if len(extension) > 2 and extension[2].strip().isdigit() else 0
        fixed = len(b",".join(parts[:8]))
        return cls(sequence, offset, code, layout, height, width, shutter_s, depth, len(parts[1]), fixed)

    def pixels(self, nbytes: int, depth: int) -> Pixels:
        """Return how the pixels come that follow in `nbytes` bytes.

        Parameters
        ----------
        nbytes
            Bytes after this header.
        depth
            Counter depth as the acquisition header tells it, 0 if it does not; what the frame itself tells comes first.

        Raises
        ------
        WireInvalid
            If there is no such kind.
        """
        told = self.depth or depth
        if self.code == RAW and told == 0:
            # One bit, a byte or two bytes for each pixel leave no doubt.
            told = {1: 1, 8: 6, 16: 12}.get(8 * nbytes // (self.height * self.width), 0)
        found = Pixels(self.code, self.layout, self.height, self.width, told)
        found.check()
        return found


def frame_header(sequence: int, pixels: Pixels, shutter_s: float) -> bytes:
    """Return a frame's header as software 0.77 writes it, padded with zeros."""
    chips = max(1, round(pixels.height * pixels.width / CHIP**2)) if pixels.layout != "1x1" else 1
    offset = _OFFSETS.get(chips, 256 + 128 * chips)
    now = datetime.now(UTC)
    thresholds = ",".join(["0.000000E+0"] * 8)
    chip = "3RX," + ",".join(["000"] * 27)
    text = (
        f"MQ1,{sequence:06d},{offset:05d},{chips:02d},{pixels.width:04d},{pixels.height:04d},{pixels.code},"
        f"{pixels.layout:>6},{(1 << chips) - 1:02X},{now:%Y-%m-%d %H:%M:%S.%f},{shutter_s:.6f},0,0,0,{thresholds},"
        f"{','.join([chip] * chips)},MQ1A,{now:%Y-%m-%dT%H:%M:%S.%f}000Z,{round(shutter_s * 1e9)}ns,{pixels.depth},"
    )
    return text.encode("ascii").ljust(offset, b"\0")


def acquisition_header(facts: Mapping[str, object]) -> bytes:
    """Return an acquisition header with these lines."""
    lines = "".join(f"{key}:\t{value}\n" for key, value in facts.items())
    return f"HDR,\t\n{lines}End\t".encode("latin-1").ljust(2048, b" ")


def parsed_acquisition(payload: bytes) -> dict[str, str]:
    """Return the lines of an acquisition header, by their keys.

    >>> parsed_acquisition(acquisition_header({"ScanX": 4}))
    {'ScanX': '4'}
    """
    facts: dict[str, str] = {}
    for line in payload[:_LONGEST_HEADER].decode("latin-1").splitlines()[1:]:
        if line.strip("\0\t ") == "End":
            break
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip(), value.strip())
    return facts


def whole(facts: Mapping[str, str], key: str) -> int:
    """Return a whole number from an acquisition header; 0 if it is not there or none."""
    value = facts.get(key, "").strip()
    return int(value) if value.isdecimal() and len(value) < 19 else 0


def binary_code(depth: int) -> str:
    """Return Merlin's name of the numbers in which it sends frames of a counter depth as binary.

    >>> binary_code(12)
    'U16'
    """
    return {1: "U08", 6: "U08", 12: "U16", 24: "U32"}[depth]
