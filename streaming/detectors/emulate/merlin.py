"""A Merlin that plays a recording: data port and command port, frames as they are set to be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from .... import __version__
from ....core.closing import Closing
from ....core.errors import SettingsInvalid, WireInvalid
from ..medipix import GAP, RAW, Pixels
from ..merlin import (
    DEPTH,
    FRAMES,
    FRAMES_PER_TRIGGER,
    PREFIX_BYTES,
    SCAN_X,
    SCAN_Y,
    acquisition_header,
    binary_code,
    frame_header,
    message,
)
from .footage import Footage
from .merlin_control import RAW_FORMAT, Asked, MerlinControl
from .playing import LOOK_S, Cached, Pace, Playing, refused_port

MOST_NUMBER = 999_999
"""Six digits are what a frame has for its number."""

_NUMBER = PREFIX_BYTES + 4

Block = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""Numbers of some frames, and their messages as rows of a table."""


class MerlinEmulator(Closing):
    """Plays a recording as Merlin does; `run` it in one thread, close it, or use it as a context.

    Parameters
    ----------
    footage
        What is played.
    playing
        How.
    bits
        Depth of the counter: 1, 6, 12 or 24.
    is_raw
        Whether pixels are sent raw.
    layout
        `1x1`, `2x2` or `2x2G`.
    host, data_port, control_port
        Where it listens; port 0 takes any.
    shutter_s
        Exposure that it tells.

    Raises
    ------
    SettingsInvalid
        If frames of this size have no such form, or a port cannot be had.
    """

    def __init__(
        self,
        footage: Footage,
        playing: Playing,
        bits: int = 12,
        is_raw: bool = False,
        layout: str = "1x1",
        host: str = "127.0.0.1",
        data_port: int = 0,
        control_port: int = 0,
        shutter_s: float = 0.001,
    ) -> None:
        self._footage, self._playing, self._layout = footage, playing, layout
        self._cached: tuple[Pixels, Cached[Block]] | None = None
        v, u = footage.frame_shape
        self._control = MerlinControl({
            "NUMFRAMESTOACQUIRE": footage.n_frames, "NUMFRAMESPERTRIGGER": footage.n_frames, "COUNTERDEPTH": bits,
            "ACQUISITIONTIME": shutter_s * 1e3, "ACQUISITIONPERIOD": shutter_s * 1e3, "TRIGGERSTART": 0,
            "FILEFORMAT": RAW_FORMAT if is_raw else 0, "RUNHEADLESS": 0, "IMAGEX": u, "IMAGEY": v,
            "SOFTWAREVERSION": f"beamloop {__version__}",
        })  # fmt: skip
        # Refused now and not when somebody waits for frames.
        self._pixels(self._control.asked())
        self._listener = socket.socket()
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, data_port))
            self._listener.listen(1)
        except OSError as error:
            self._listener.close()
            raise refused_port("Merlin's data port", host, data_port, error) from None
        self._listener.settimeout(LOOK_S)
        try:
            self.control_port = self._control.listen(host, control_port)
        except SettingsInvalid:
            self._listener.close()
            raise
        self.data_port: int = self._listener.getsockname()[1]

    def prepare(self) -> None:
        """Encode the recording before anybody waits for it."""
        self._blocks(self._pixels(self._control.asked()), self._control.asked().shutter_s)

    def run(self) -> None:
        """Play until it is enough, or stopped; a client that leaves early gets no more, and the next one begins anew.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged.
        SettingsInvalid
            If frames have no form that a client set meanwhile.
        """
        acquisitions = self._playing.acquisitions()
        number = next(acquisitions, None)
        while number is not None and (client := self._accepted()) is not None:
            with client, suppress(BrokenPipeError, ConnectionResetError):
                while number is not None:
                    if not self._acquire(client):
                        return
                    number = next(acquisitions, None)

    def close(self) -> None:
        """Stop listening; may be called twice."""
        self._listener.close()
        self._control.close()

    def _accepted(self) -> socket.socket | None:
        while not self._playing.stop.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                client.settimeout(LOOK_S)
                return client
        return None

    def _acquire(self, client: socket.socket) -> bool:
        """Play one acquisition; return False if stopped meanwhile."""
        control, playing = self._control, self._playing
        if playing.waits and not playing.awaited(control.start):
            return False
        control.is_busy = True
        try:
            asked = control.asked()
            pixels = self._pixels(asked)
            self._send(client, message(acquisition_header(self._told(asked))))
            if asked.is_triggered and not playing.awaited(control.trigger):
                return False
            pace = Pace(playing)
            for numbers, table in self._numbered(pixels, asked):
                if control.halt.is_set():
                    control.halt.clear()
                    return True
                if not pace.next(len(numbers)) or not self._send(client, table.reshape(-1).data):
                    return False
                playing.told(len(numbers), table.size)
            return True
        finally:
            control.is_busy = False

    def _send(self, client: socket.socket, data: bytes | memoryview) -> bool:
        """Send bytes; return False if stopped meanwhile."""
        left = memoryview(data)
        while len(left):
            if self._playing.stop.is_set():
                return False
            with suppress(TimeoutError):
                left = left[client.send(left) :]
        return True

    def _numbered(self, pixels: Pixels, asked: Asked) -> Iterator[Block]:
        """Yield the frames of one acquisition; after the recording's end it begins anew, with numbers that go on."""
        total = asked.frames or MOST_NUMBER
        cached = self._blocks(pixels, asked.shutter_s)
        for offset in range(0, total, self._footage.n_frames):
            for recorded, table in cached.blocks():
                numbers = recorded + offset
                count = int(np.searchsorted(numbers, total))
                if count == 0:
                    return
                table[:count, _NUMBER : _NUMBER + 6] = _digits(numbers[:count] + 1)
                yield numbers[:count], table[:count]

    def _blocks(self, pixels: Pixels, shutter_s: float) -> Cached[Block]:
        if self._cached is None or self._cached[0] != pixels:
            header = frame_header(1, pixels, shutter_s)
            start = np.frombuffer(message(header + bytes(pixels.nbytes))[: PREFIX_BYTES + len(header)], np.uint8)
            together = self._playing.together(pixels.nbytes)

            def encoded() -> Iterator[Block]:
                for numbers, frames in self._footage.blocks(together, 2**pixels.depth - 1):
                    packed = pixels.pack(frames)
                    yield numbers, np.hstack([np.broadcast_to(start, (len(frames), len(start))), packed])

            self._cached = pixels, Cached(encoded, lambda block: block[1].nbytes)
            self._cached[1].prepare()
        return self._cached[1]

    def _pixels(self, asked: Asked) -> Pixels:
        """Return how frames are sent.

        Raises
        ------
        SettingsInvalid
            If frames of this size have no such form.
        """
        v, u = self._footage.frame_shape
        told = f"frames of {v} x {u} pixels have no {'raw ' if asked.is_raw else ''}form of layout {self._layout}"
        gap = GAP if self._layout == "2x2G" else 0
        is_quad = self._layout != "1x1"
        if self._layout not in ("1x1", "2x2", "2x2G") or (is_quad and ((v - gap) % 2 or (u - gap) % 2)):
            raise SettingsInvalid(f"{told}; known are 1x1, and 2x2 and 2x2G with four chips of one size")
        if max(v, u) > 9999 or asked.frames > MOST_NUMBER:
            raise SettingsInvalid(f"{told}, or {asked.frames} are more than Merlin numbers ({MOST_NUMBER})")
        if not asked.is_raw:
            return Pixels(binary_code(asked.depth), self._layout, v, u, asked.depth)
        height, width = ((v - gap) // 2, 2 * (u - gap)) if is_quad else (v, u)
        pixels = Pixels(RAW, self._layout, height, width, asked.depth)
        try:
            pixels.check()
        except WireInvalid as error:
            raise SettingsInvalid(f"{told}: {error}") from None
        return pixels

    def _told(self, asked: Asked) -> dict[str, object]:
        ny, nx = self._footage.scan_shape
        scan = {SCAN_X: nx, SCAN_Y: ny} if asked.frames == self._footage.n_frames else {}
        return {
            "Assembly Size (NX1, 2X2)": self._layout, DEPTH: asked.depth, FRAMES: asked.frames,
            FRAMES_PER_TRIGGER: asked.at_once, **scan, "Readout System": "Merlin emulated by beamloop",
            "Software Version": __version__, "simulated": str(self._footage.is_simulated).lower(),
        }  # fmt: skip


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return six ASCII digits for each number, shape (n, 6)."""
    return (numbers[:, None] // 10 ** np.arange(5, -1, -1) % 10 + ord("0")).astype(np.uint8)
