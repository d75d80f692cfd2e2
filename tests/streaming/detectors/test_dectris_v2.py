"""Stream V2 built with the reference encoders of CBOR, Bitshuffle and LZ4, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

import cbor2
import numpy as np
import pytest

from beamloop.streaming.detectors.dectris_v2 import StreamV2

from .heard import Heard, heard
from .packed import bslz4, lz4_framed

TAGS = {"|u1": 64, ">u2": 65, ">u4": 66, "<u2": 69, "<u4": 70}
UNIQUE = "01GRXWS1MWTNK0GJYNYKDWCNBY"
FRAMES = np.random.default_rng(0).poisson(2.0, (5, 20, 12)).astype("<u2")


def message(**fact: object) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(55799, fact))


def start(series: int = 3, **more: object) -> bytes:
    told = {
        "type": "start", "series_id": series, "series_unique_id": UNIQUE, "number_of_images": 5, "count_time": 0.002,
        "image_size_x": 12, "image_size_y": 20, "image_dtype": "uint16", "channels": ["threshold_1"],
        "detector_description": "EIGER2 CdTe 500K", "incident_energy": 200000.0,
    }  # fmt: skip
    return message(**(told | more))


def array(frame: np.ndarray, packing: str = "none", order: int = 40) -> cbor2.CBORTag:
    data: object = frame.tobytes() if order == 40 else frame.T.tobytes()
    if packing == "bslz4":
        data = cbor2.CBORTag(56500, ["bslz4", frame.itemsize, bslz4(frame)])
    elif packing == "lz4":
        data = cbor2.CBORTag(56500, ["lz4", 0, lz4_framed(frame)])
    return cbor2.CBORTag(order, [list(frame.shape), cbor2.CBORTag(TAGS[frame.dtype.str], data)])


def image(number: int, series: int = 3, **more: object) -> bytes:
    told = {
        "type": "image", "series_id": series, "series_unique_id": UNIQUE, "image_id": number,
        "real_time": [2000, 10**6], "start_time": [number * 2000, 10**6], "stop_time": [number * 2000 + 2000, 10**6],
        "data": {"threshold_1": array(FRAMES[number % 5], "bslz4")},
    }  # fmt: skip
    return message(**(told | more))


def end(series: int = 3) -> bytes:
    return message(type="end", series_id=series, series_unique_id=UNIQUE)


def read(messages: Iterable[bytes], channel: str = "") -> Heard:
    stream = StreamV2(channel)
    return heard([event for each in messages for event in stream.feed(each)])


@pytest.mark.parametrize("packing", ["none", "lz4", "bslz4"])
@pytest.mark.parametrize("dtype", list(TAGS))
def test_a_series_is_read_in_every_packing_and_dtype(packing: str, dtype: str) -> None:
    frames = FRAMES.astype(dtype)
    images = [image(n, data={"threshold_1": array(frames[n], packing)}) for n in range(5)]
    found = read([start(), *images, end()])
    (began,) = found.began
    assert (began.frame_shape, began.dtype) == ((20, 12), np.dtype(dtype).newbyteorder("<").str)
    assert (began.n_frames, began.dwell_s, began.detector) == (5, 0.002, "EIGER2 CdTe 500K")
    assert (sorted(found.frames), found.odd) == (list(range(5)), [])
    np.testing.assert_array_equal(np.stack([found.frames[n] for n in range(5)]), frames)
    assert found.ended == [f"series 3 ({UNIQUE})"]


def test_columns_may_come_first() -> None:
    found = read([start(), image(0, data={"t": array(FRAMES[0], order=1040)})])
    np.testing.assert_array_equal(found.frames[0], FRAMES[0])


def test_of_several_thresholds_the_first_or_the_one_asked_for_is_taken() -> None:
    data = {"threshold_1": array(FRAMES[1]), "threshold_2": array(FRAMES[2])}
    for channel, expected in (("", 1), ("threshold_1", 1), ("threshold_2", 2)):
        found = read([start(), image(0, data=data)], channel)
        np.testing.assert_array_equal(found.frames[0], FRAMES[expected])
        assert found.began[0].facts["channels"] == ["threshold_1", "threshold_2"]
    assert "no channel 'threshold_3'; its channels are 'threshold_1', 'threshold_2'" in str(
        read([start(), image(0, data=data)], "threshold_3").odd
    )


def test_the_end_as_a_detector_sent_it() -> None:
    # github.com/dectris/documentation, stream_v2/test_data/r500k_bm_bslz4_8bit/000011.cbor, 69 bytes; the number of the
    # series is a byte that cannot be read there as text, here 2.
    as_sent = (
        bytes.fromhex("d9d9f7a3") + b"\x64type\x63end\x69series_id\x02\x70series_unique_id\x78\x1a" + UNIQUE.encode()
    )
    assert len(as_sent) == 69
    found = read([start(2), image(0, series=2), as_sent])
    assert found.ended == [f"series 2 ({UNIQUE})"]
    assert as_sent == end(2)


def test_frames_of_another_series_are_passed_over_and_told() -> None:
    found = read([image(4, series=2), end(2), start(3), image(0, series=2), image(1), end(3)])
    assert sorted(found.frames) == [1]
    assert found.kinds == ["frames of another series", "ends of another series", "frames of another series"]
    assert f"image 4 is of series 2 ({UNIQUE}), whose start never came" == found.odd[0][1]


def test_frames_that_change_within_a_series_are_passed_over_and_told() -> None:
    found = read([start(), image(0), image(1, data={"t": 0, "threshold_1": array(FRAMES[1].astype("<u4"))}), image(2)])
    assert (sorted(found.frames), found.kinds) == ([0, 2], ["frames changed"])


def of(data: object, shape: tuple[int, int] = (20, 12), tag: int = 69) -> cbor2.CBORTag:
    return cbor2.CBORTag(40, [list(shape), cbor2.CBORTag(tag, data)])


def one(channel: object) -> bytes:
    return image(1, data={"threshold_1": channel})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (image(1)[:-5], "no CBOR, or was cut off"),
        (b"\xd9\xd9\xf7\x5b" + b"\x0f" * 8, "no CBOR, or was cut off"),
        (b"\xd9\xd9\xf7" + b"\x81" * 100_000, "no CBOR, or was cut off"),
        (b"\xd9\xd9\xf7\x01", "no map"),
        (message(type="image", image_id=-1), "number -1"),
        (image(1, data={}), "no channels"),
        (image(1, data={"threshold_1": b"\0" * 480}), "no array of two dimensions"),
        (one(cbor2.CBORTag(40, [[20, 12], b"\0" * 480])), "no array of two dimensions"),
        (one(of(b"", tag=85)), "numbers with tag 85"),
        (one(of(b"", shape=(1 << 30, 1 << 30))), "an image of"),
        (one(of("text")), "no bytes of pixels"),
        (one(of(cbor2.CBORTag(56500, ["zip", 1, b""]))), "packed as 'zip'"),
        (message(type="calibration"), "type 'calibration'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_the_series_goes_on(bad: bytes, words: str) -> None:
    found = read([start(), image(0), bad, image(2), end()])
    assert sorted(found.frames) == [0, 2]
    assert words in found.odd[0][1]
    assert len(found.odd[0][1]) < 300
    assert len(found.ended) == 1
