"""Stream V1 as DECTRIS detectors send it, with parts as they were recorded on one, and what can be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from beamloop.streaming.detectors.dectris_v1 import StreamV1

from .heard import Heard, heard
from .packed import bslz4, lz4_bare

FRAMES = np.random.default_rng(0).poisson(2.0, (6, 20, 12)).astype("<u2")
CONFIG = {
    "x_pixels_in_detector": 12, "y_pixels_in_detector": 20, "bit_depth_image": 16, "nimages": 1, "ntrigger": 6,
    "trigger_mode": "exte", "compression": "bslz4", "count_time": 0.001, "description": "Dectris QUADRO",
}  # fmt: skip
Message = list[bytes]


def js(**fact: object) -> bytes:
    return json.dumps(fact).encode()


def header(series: int = 7, detail: str = "basic", **config: object) -> Message:
    parts = [js(htype="dheader-1.0", series=series, header_detail=detail)]
    if detail != "none":
        parts.append(json.dumps(CONFIG | config).encode())
    if detail == "all":
        parts += [js(htype="dflatfield-1.0", shape=[12, 20], type="float32"), b"\0" * 960]
        parts += [js(htype="dpixelmask-1.0", shape=[], type="undefined"), b""]
        parts += [js(htype="dcountrate_table-1.0", shape=[], type="undefined"), b""]
    return parts


def image(
    number: int, series: int = 7, encoding: str = "bs16-lz4<", frame: np.ndarray | None = None, **data: object
) -> Message:
    frame = FRAMES[number % 6] if frame is None else frame
    pack: dict[str, Callable[[np.ndarray], bytes]] = {"bs16-lz4<": bslz4, "lz4<": lz4_bare, "<": np.ndarray.tobytes}
    blob = pack[encoding](frame)
    fact = {"shape": list(frame.shape[::-1]), "type": frame.dtype.name, "encoding": encoding, "size": len(blob)}
    return [
        js(htype="dimage-1.0", series=series, frame=number, hash="d41d8cd98f00b204e9800998ecf8427e"),
        js(htype="dimage_d-1.0", **(fact | data)), blob,
        js(htype="dconfig-1.0", start_time=number * 10, stop_time=number * 10 + 9, real_time=9),
    ]  # fmt: skip


def end(series: int = 7) -> Message:
    return [js(htype="dseries_end-1.0", series=series)]


def read(messages: Iterable[Sequence[bytes]]) -> Heard:
    stream = StreamV1()
    return heard([event for parts in messages for event in stream.feed(parts)])


def assert_frames(found: Heard, numbers: Iterable[int]) -> None:
    assert sorted(found.frames) == list(numbers)
    for number, frame in found.frames.items():
        np.testing.assert_array_equal(frame, FRAMES[number % 6])


@pytest.mark.parametrize("detail", ["none", "basic", "all"])
@pytest.mark.parametrize("encoding", ["bs16-lz4<", "lz4<", "<"])
@pytest.mark.parametrize("is_apart", [False, True])
def test_a_series_is_read_whether_its_parts_come_together_or_apart(detail: str, encoding: str, is_apart: bool) -> None:
    messages = [header(detail=detail), *(image(n, encoding=encoding) for n in range(6)), end()]
    found = read([[part] for parts in messages for part in parts] if is_apart else messages)
    assert_frames(found, range(6))
    (began,) = found.began
    assert (began.series, began.frame_shape, began.dtype) == ("series 7", (20, 12), "<u2")
    known = detail != "none"
    assert (began.n_frames, began.dwell_s) == ((6, 0.001) if known else (0, 0.0))
    assert (found.ended, found.odd) == (["series 7"], [])


@pytest.mark.parametrize("appendix", [b"\x00\xff", b"whatever", b'{"htype": "mine"}', b"[1]", b""])
def test_appendices_are_passed_over(appendix: bytes) -> None:
    found = read([[*header(), appendix], [*image(0), appendix], [*image(1), appendix], end()])
    assert_frames(found, [0, 1])
    assert found.odd == []


def test_parts_as_a_detector_sent_them() -> None:
    # github.com/SaschaAndresGrimm/EIGERStreamReceiver, testScripts/streamData: an EIGER2 Si 1M, firmware of January
    # 2022. The pixels are not kept there as text, so these are packed here in their stead.
    frame = np.random.default_rng(3).poisson(0.02, (1062, 1028)).astype("<u4")
    blob = lz4_bare(frame)
    messages = [
        [b'{"header_detail":"all","htype":"dheader-1.0","series":71}',
         b'{"auto_summation":true,"beam_center_x":0.0,"beam_center_y":0.0,"bit_depth_image":32,"bit_depth_readout":16,'
         b'"compression":"lz4","count_time":0.9999999,"description":"Dectris EIGER2 Si 1M","frame_time":1.0,'
         b'"nimages":10,"ntrigger":1,"roi_mode":"","software_version":"1.8.0","trigger_mode":"ints",'
         b'"x_pixels_in_detector":1028,"y_pixels_in_detector":1062}',
         b'{"htype":"dflatfield-1.0","shape":[],"type":"undefined"}', b"",
         b'{"htype":"dpixelmask-1.0","shape":[],"type":"undefined"}', b"",
         b'{"htype":"dcountrate_table-1.0","shape":[],"type":"undefined"}', b""],
        [b'{"frame":0,"hash":"","htype":"dimage-1.0","series":71}',
         b'{"encoding":"lz4<","htype":"dimage_d-1.0","shape":[1028,1062],"size":17445,"type":"uint32"}', blob,
         b'{"htype":"dconfig-1.0","real_time":999999900,"start_time":2896044831605460,"stop_time":2896045831605360}'],
        [b'{"htype":"dseries_end-1.0","series":71}'],
    ]  # fmt: skip
    found = read(messages)
    assert (found.odd, found.ended) == ([], ["series 71"])
    (began,) = found.began
    assert (began.n_frames, began.detector, began.dwell_s) == (10, "Dectris EIGER2 Si 1M", 0.9999999)
    np.testing.assert_array_equal(found.frames[0], frame)


def test_images_in_bursts_are_lines_of_a_scan() -> None:
    (began,) = read([header(nimages=2, ntrigger=3, trigger_mode="exts"), image(0)]).began
    assert (began.n_frames, began.scan_shape) == (6, (3, 2))


def test_frames_of_a_series_before_are_passed_over_and_told() -> None:
    found = read([image(4, series=6), end(6), header(7), image(5, series=6), image(0), end(7)])
    assert_frames(found, [0])
    assert found.odd == [
        ("frames of another series", "frame 4 is of series 6, whose header never came"),
        ("ends of another series", "series 6 ended, which is not under way"),
        ("frames of another series", "frame 5 is of series 6, and series 7 is under way"),
    ]


def test_a_new_header_ends_the_series_before_that_had_no_end() -> None:
    found = read([header(7), image(0), header(8), image(0, series=8), end(8)])
    assert (found.ended, [began.series for began in found.began]) == (
        ["series 7", "series 8"],
        ["series 7", "series 8"],
    )


def test_a_widespread_misspelling_of_the_end_is_understood() -> None:
    assert read([header(), image(0), [js(htype="deseries_end-1.0", series=7)]]).ended == ["series 7"]


def test_frames_that_change_within_a_series_are_passed_over_and_told() -> None:
    other = [image(1, frame=FRAMES[1].astype("<u4"), encoding="<"), image(2, frame=FRAMES[2][:-1], encoding="<")]
    found = read([header(), image(0), *other, image(3), end()])
    assert_frames(found, [0, 3])
    assert [words for _, words in found.odd] == [
        "frame 1 has shape (20, 12) of <u4; those before it have (20, 12) of <u2",
        "frame 2 has shape (19, 12) of <u2; those before it have (20, 12) of <u2",
    ]


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (image(1)[:2], "messages cut off", "the message of frame 1 ends before its pixels"),
        ([image(1)[0], b"{}"], "messages not understood", "behind the first part of an image comes b'{}'"),
        (image(1, shape=[1 << 40, 1 << 40]), "messages not understood", "an image of shape [1099511627776"),
        (image(1, shape=[60000, 60000]), "messages not understood", "is larger than 67108864"),
        (image(1, shape=[12, True, 3]), "messages not understood", "two sizes above 0"),
        (image(1, shape="x" * 5000), "messages not understood", "two sizes above 0"),
        (image(1, type="float64"), "messages not understood", "'float64'"),
        ([image(1)[0], b"[" * 100000], "messages not understood", "100000 bytes"),
        ([js(htype="dimage-1.0", series=7, frame=-1)], "messages not understood", "frame = -1"),
        ([js(htype="dimage-1.0", series=7)], "messages not understood", "frame = None"),
        ([b"\x00\x01"], "messages not understood", "JSON with named values is needed"),
        ([b"[1]"], "messages not understood", "JSON with named values is needed"),
        ([js(htype="dnothing-1.0")], "unknown messages", "dnothing-1.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_the_series_goes_on(message: Message, kind: str, words: str) -> None:
    found = read([header(), image(0), message, image(2), end()])
    assert_frames(found, [0, 2])
    assert found.odd[0][0] == kind
    assert words in found.odd[0][1]
    assert len(found.odd[0][1]) < 300
    assert found.ended == ["series 7"]
