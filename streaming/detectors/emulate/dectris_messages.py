"""What a DECTRIS detector sends: a series' header, its frames and its end, as stream V1 and as stream V2.

Frames are packed by the filters of HDF5 themselves, which write what the detector writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import cbor2
import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from ..dectris_v2 import PACKED, ROWS_FIRST

Compression = Literal["bslz4", "lz4", "none"]
Message = Sequence[bytes]

_SELF_DESCRIBED = 55799
_TAGS = {"|u1": 64, "<u2": 69, "<u4": 70}
_FRAMING_BYTES, _LENGTH_BYTES = 12, 4


@dataclass(frozen=True)
class Series:
    """One series that is sent.

    Attributes
    ----------
    number, unique
        Its number, and a name that no other has.
    frame_shape, dtype
        Of its frames `(v, u)`.
    compression
        How they are packed.
    config
        The detector's configuration.
    header_detail
        `none`, `basic` or `all`; V2 takes `none` for `basic`.
    """

    number: int
    unique: str
    frame_shape: tuple[int, int]
    dtype: str
    compression: Compression
    config: Mapping[str, object]
    header_detail: str = "basic"

    @property
    def n_frames(self) -> int:
        """Frames that it is to have."""
        return int(str(self.config["nimages"])) * int(str(self.config["ntrigger"]))


class Format(Protocol):
    """One version of the stream."""

    def header(self, series: Series) -> Message:
        """Return what begins a series."""
        ...

    def packed(self, frames: NDArray, compression: Compression) -> list[bytes]:
        """Return each frame packed."""
        ...

    def frame(self, series: Series, number: int, blob: bytes, dwell_ns: int) -> Message:
        """Return a frame that was packed."""
        ...

    def end(self, series: Series) -> Message:
        """Return what ends a series."""
        ...


class V1:
    """Parts of JSON and bytes."""

    def header(self, series: Series) -> Message:
        """Return the header, of as many parts as its detail says."""
        first = _json(htype="dheader-1.0", series=series.number, header_detail=series.header_detail)
        if series.header_detail == "none":
            return [first]
        tables = [
            part
            for name in ("dflatfield-1.0", "dpixelmask-1.0", "dcountrate_table-1.0")
            for part in (_json(htype=name, shape=[], type="undefined"), b"")
        ]
        return [first, _json(**series.config), *(tables if series.header_detail == "all" else [])]

    def packed(self, frames: NDArray, compression: Compression) -> list[bytes]:
        """Return each frame packed; LZ4 as one block without a header."""
        framed = filtered(frames, compression)
        return [_bare(blob, frames[0].nbytes) for blob in framed] if compression == "lz4" else framed

    def frame(self, series: Series, number: int, blob: bytes, dwell_ns: int) -> Message:
        """Return the four parts of a frame."""
        kind = np.dtype(series.dtype)
        encoding = {"bslz4": f"bs{8 * kind.itemsize}-lz4<", "lz4": "lz4<", "none": "<"}[series.compression]
        shape = series.frame_shape[::-1]
        return [
            b'{"htype":"dimage-1.0","series":%d,"frame":%d,"hash":""}' % (series.number, number),
            _json(htype="dimage_d-1.0", shape=shape, type=kind.name, encoding=encoding, size=len(blob)),
            blob,
            b'{"htype":"dconfig-1.0","start_time":%d,"stop_time":%d,"real_time":%d}'
            % (number * dwell_ns, (number + 1) * dwell_ns, dwell_ns),
        ]  # fmt: skip

    def end(self, series: Series) -> Message:
        """Return the one part that ends a series."""
        return [_json(htype="dseries_end-1.0", series=series.number)]


class V2:
    """CBOR, one part for each message."""

    channel = "threshold_1"

    def header(self, series: Series) -> Message:
        """Return the start message."""
        config, (v, u) = series.config, series.frame_shape
        return self._message(
            "start", series, number_of_images=series.n_frames, image_size_x=u, image_size_y=v, channels=[self.channel],
            image_dtype=np.dtype(series.dtype).name, count_time=config["count_time"], frame_time=config["frame_time"],
            detector_description=config["description"], user_data="", simulated=config["simulated"],
        )  # fmt: skip

    def packed(self, frames: NDArray, compression: Compression) -> list[bytes]:
        """Return each frame packed, with the header of the HDF5 filter."""
        return filtered(frames, compression)

    def frame(self, series: Series, number: int, blob: bytes, dwell_ns: int) -> Message:
        """Return an image message."""
        width = np.dtype(series.dtype).itemsize
        data: object = blob
        if series.compression != "none":
            modifier = width if series.compression == "bslz4" else 0
            data = cbor2.CBORTag(PACKED, [series.compression, modifier, blob])
        typed = cbor2.CBORTag(_TAGS[series.dtype], data)
        return self._message(
            "image", series, image_id=number, real_time=[dwell_ns, 10**9], start_time=[number * dwell_ns, 10**9],
            stop_time=[(number + 1) * dwell_ns, 10**9],
            data={self.channel: cbor2.CBORTag(ROWS_FIRST, [list(series.frame_shape), typed])},
        )  # fmt: skip

    def end(self, series: Series) -> Message:
        """Return the end message."""
        return self._message("end", series)

    def _message(self, kind: str, series: Series, **facts: object) -> Message:
        told = {"type": kind, "series_id": series.number, "series_unique_id": series.unique, **facts}
        return [cbor2.dumps(cbor2.CBORTag(_SELF_DESCRIBED, told))]


def filtered(frames: NDArray, compression: Compression) -> list[bytes]:
    """Return each of some frames, shape (n, v, u), as the HDF5 filter of that name writes it."""
    if compression == "none":
        return [frame.tobytes() for frame in frames]
    filters = hdf5plugin.Bitshuffle(cname="lz4") if compression == "bslz4" else hdf5plugin.LZ4()
    with h5py.File("frames", "w", driver="core", backing_store=False) as file:
        stored = file.create_dataset("frames", data=frames, chunks=(1, *frames.shape[1:]), **filters)
        return [stored.id.read_direct_chunk((i, 0, 0))[1] for i in range(len(frames))]


def _bare(framed: bytes, nbytes: int) -> bytes:
    """Return the one LZ4 block of a frame."""
    block = framed[_FRAMING_BYTES + _LENGTH_BYTES :]
    if len(block) < nbytes:
        return block
    # What LZ4 makes no smaller the filter keeps as it is; as a block of LZ4 it is one run of literals.
    if nbytes < 15:
        return bytes([nbytes << 4]) + block
    more, rest = divmod(nbytes - 15, 255)
    return b"\xf0" + b"\xff" * more + bytes([rest]) + block


def _json(**fact: object) -> bytes:
    return json.dumps(fact, separators=(",", ":")).encode()
