"""Squeezed frames come out exactly as they went in, only those who ask get them, and no message can claim memory."""

from __future__ import annotations

import struct

import msgpack
import numpy as np
import pytest

from beamloop.core import FrameBatch, NotInstalled, WireInvalid
from beamloop.streaming import Receiver, Sender, collect, squeezing, wire
from beamloop.streaming.squeezing import CODEC, squeeze, unsqueeze

from .traffic import WAIT_S, frames_of, scan_of, send_scan

SPARSE = np.random.default_rng(0).poisson(0.4, (4, 64, 64))


def batch_of(frames: np.ndarray) -> FrameBatch:
    return FrameBatch("s", np.arange(len(frames)), np.zeros((len(frames), 2)), frames)


def sent(frames: np.ndarray) -> list[bytes]:
    return [bytes(part) for part in wire.encode(wire.Batch(1, batch_of(frames), codec=CODEC))]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", "<i4", ">i8", "<f4", ">f8", "<c8", ">c16"])
def test_dtype_byte_order_and_bits_survive(dtype: str) -> None:
    frames = SPARSE.astype(dtype)
    parts = sent(frames)
    assert len(parts[3]) < frames.nbytes / 2
    message = wire.decode(parts)
    assert isinstance(message, wire.Batch)
    assert message.batch.frames.dtype.str == dtype
    assert message.batch.frames.tobytes() == frames.tobytes()
    assert not message.batch.frames.flags.writeable


def test_what_does_not_get_smaller_goes_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 2**16, (4, 64, 64)).astype("<u2")
    for frames in (noise, SPARSE[:1, :4, :4].astype("<u2"), np.zeros((0, 64, 64), "<u2")):
        parts = sent(frames)
        assert parts[3] == frames.tobytes()
        assert "x" not in msgpack.unpackb(parts[0])


def test_who_does_not_ask_gets_frames_as_they_are() -> None:
    frames = SPARSE.astype("<u2")
    assert bytes(wire.encode(wire.Batch(1, batch_of(frames)))[3]) == frames.tobytes()


@pytest.mark.parametrize("squeezed", [True, False])
def test_a_scan_arrives_the_same_squeezed_or_not(squeezed: bool) -> None:
    scan = scan_of(n=64)
    with Sender() as sender, Receiver(sender.endpoint, "edge", squeezed=squeezed) as receiver:
        send_scan(sender, scan, 16)
        np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))


def test_a_small_message_cannot_claim_memory() -> None:
    squeezed = squeeze(SPARSE.astype("<u2"))
    assert squeezed is not None
    for size, length in ((2**31 - 1, len(squeezed)), (2**20, len(squeezed)), (SPARSE.size * 2, 2**20)):
        bomb = squeezed[:4] + struct.pack("<I", size) + squeezed[8:12] + struct.pack("<I", length) + squeezed[16:]
        with pytest.raises(WireInvalid, match="squeezed frames say"):
            unsqueeze(bomb, SPARSE.size * 2)


def test_damaged_squeezed_frames_raise_nothing_but_wire_invalid() -> None:
    parts, rng = sent(SPARSE.astype("<u2")), np.random.default_rng(1)
    header = {key: value for key, value in msgpack.unpackb(parts[0]).items() if key != "c"}
    for _ in range(3000):
        damaged = bytearray(parts[3])
        for at in rng.integers(0, rng.choice([32, len(damaged)]), 3):
            damaged[at] = rng.integers(256)
        try:
            wire.decode([msgpack.packb(header), parts[1], parts[2], bytes(damaged)])
        except WireInvalid:
            continue


def test_an_unknown_codec_is_refused() -> None:
    parts = sent(SPARSE.astype("<u2"))
    header = msgpack.unpackb(parts[0]) | {"x": "zip"}
    with pytest.raises(WireInvalid, match="squeezed by 'zip'"):
        wire.decode([msgpack.packb({k: v for k, v in header.items() if k != "c"}), *parts[1:]])


def test_without_blosc2_nothing_is_squeezed_and_asking_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squeezing, "can_squeeze", lambda: False)
    monkeypatch.setattr("beamloop.streaming.receiver.can_squeeze", lambda: False)
    assert squeeze(SPARSE.astype("<u2")) is None
    with pytest.raises(NotInstalled, match=r"beamloop\[network\]"):
        Receiver("tcp://127.0.0.1:1", "edge", squeezed=True)
