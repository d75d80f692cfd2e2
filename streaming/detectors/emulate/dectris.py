"""A DECTRIS detector that plays a recording: a stream of V1 or V2, and the REST interface that starts it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import zmq
from numpy.typing import NDArray

from .... import __version__
from ....core.closing import Closing
from ....core.errors import SettingsInvalid
from .dectris_messages import V1, V2, Compression, Format, Message, Series
from .dectris_rest import Simplon
from .footage import Footage
from .playing import LOOK_S, Cached, Pace, Playing

WAITING = 64
"""Messages that wait here for who listens."""

LINGER_S = 5.0
"""How long the last messages may take to go out."""

Block = tuple[NDArray[np.int64], list[bytes]]
"""Numbers of some frames, and the frames packed."""


class DectrisEmulator(Closing):
    """Plays a recording as a detector with SIMPLON does; `run` it in one thread, close it, or use it as a context.

    Parameters
    ----------
    footage
        What is played.
    playing
        How.
    version
        Of the stream: 1 or 2; it can also be set by REST.
    compression
        How frames are packed; it can also be set by REST.
    host, port, api_port
        Where it listens; port 0 takes any.
    dwell_s
        Exposure that it tells.

    Raises
    ------
    SettingsInvalid
        If a port cannot be had.
    """

    def __init__(
        self,
        footage: Footage,
        playing: Playing,
        version: int = 2,
        compression: Compression = "bslz4",
        host: str = "127.0.0.1",
        port: int = 0,
        api_port: int = 0,
        dwell_s: float = 0.001,
    ) -> None:
        self._footage, self._playing, self._dwell_ns = footage, playing, round(dwell_s * 1e9)
        self._cached: tuple[tuple[str, bool], Cached[Block]] | None = None
        v, u = footage.frame_shape
        simulated = "SIMULATED " if footage.is_simulated else ""
        self._simplon = Simplon(
            {"x_pixels_in_detector": u, "y_pixels_in_detector": v, "trigger_mode": "exte", "compression": compression,
             "bit_depth_image": 8 * np.dtype(footage.dtype).itemsize, "nimages": 1, "ntrigger": footage.n_frames,
             "count_time": dwell_s, "frame_time": dwell_s, "software_version": f"beamloop {__version__}",
             "description": f"{simulated}DECTRIS emulated by beamloop", "simulated": footage.is_simulated},
            {"mode": "enabled", "format": "cbor" if version == 2 else "legacy", "header_detail": "basic"},
        )  # fmt: skip
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.set(zmq.SNDHWM, WAITING)
        try:
            self._socket.bind(f"tcp://{host}:{port}")
            self.port = int(self._socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
            self.api_port = self._simplon.listen(host, api_port)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsInvalid(
                f"the detector's stream cannot listen at {host}:{port}: {error}; name a free port, or 0 for any"
            ) from None
        except SettingsInvalid:
            self.close()
            raise

    def prepare(self) -> None:
        """Pack the recording before anybody waits for it."""
        self._blocks(self._format(), self._compression())

    def run(self) -> None:
        """Play until it is enough, or stopped.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged.
        """
        for _ in self._playing.acquisitions():
            if not self._series():
                self._context.destroy(linger=0)
                return
        self._context.destroy(linger=round(LINGER_S * 1000))

    def close(self) -> None:
        """Stop listening; may be called twice."""
        self._simplon.close()
        self._context.destroy(linger=0)

    def _format(self) -> Format:
        return V2() if self._simplon.config("stream")["format"] == "cbor" else V1()

    def _compression(self) -> Compression:
        told = self._simplon.config("detector")["compression"]
        return "bslz4" if told == "bslz4" else "lz4" if told == "lz4" else "none"

    def _series(self) -> bool:
        """Play one series; return False if stopped meanwhile."""
        simplon, playing = self._simplon, self._playing
        if playing.waits and not playing.awaited(simplon.armed):
            return False
        number = simplon.begin()
        try:
            format_, config = self._format(), simplon.config("detector")
            series = Series(
                number, uuid.uuid4().hex[:26].upper(), self._footage.frame_shape, self._footage.dtype,
                self._compression(), config, str(simplon.config("stream")["header_detail"]),
            )  # fmt: skip
            if not self._send(format_.header(series)):
                return False
            is_triggered = playing.waits and config["trigger_mode"] in ("ints", "inte")
            if is_triggered and not playing.awaited(simplon.triggered):
                return False
            return self._frames(format_, series) and self._send(format_.end(series))
        finally:
            simplon.is_armed = False

    def _frames(self, format_: Format, series: Series) -> bool:
        pace = Pace(self._playing)
        for numbers, blobs in self._numbered(format_, series):
            if self._simplon.halt.is_set():
                self._simplon.halt.clear()
                return True
            if not pace.next(len(numbers)):
                return False
            for number, blob in zip(numbers.tolist(), blobs, strict=True):
                if not self._send(format_.frame(series, number, blob, self._dwell_ns)):
                    return False
            self._playing.told(len(numbers), sum(map(len, blobs)))
        return True

    def _numbered(self, format_: Format, series: Series) -> Iterator[Block]:
        """Yield the frames of one series; after the recording's end it begins anew, with numbers that go on."""
        cached = self._blocks(format_, series.compression)
        for offset in range(0, series.n_frames, self._footage.n_frames):
            for recorded, blobs in cached.blocks():
                numbers = recorded + offset
                count = int(np.searchsorted(numbers, series.n_frames))
                if count == 0:
                    return
                yield numbers[:count], blobs[:count]

    def _blocks(self, format_: Format, compression: Compression) -> Cached[Block]:
        kind = compression, isinstance(format_, V2)
        if self._cached is None or self._cached[0] != kind:
            v, u = self._footage.frame_shape
            together = self._playing.together(v * u * np.dtype(self._footage.dtype).itemsize)

            def encoded() -> Iterator[Block]:
                for numbers, frames in self._footage.blocks(together, 2**32 - 1):
                    yield numbers, format_.packed(frames, compression)

            self._cached = kind, Cached(encoded, lambda block: sum(map(len, block[1])))
            self._cached[1].prepare()
        return self._cached[1]

    def _send(self, parts: Message | Sequence[bytes]) -> bool:
        """Send one message; return False if stopped meanwhile."""
        while not self._playing.stop.is_set():
            if self._socket.poll(round(LOOK_S * 1000), zmq.POLLOUT):
                self._socket.send_multipart(parts, zmq.NOBLOCK)
                return True
        return False
