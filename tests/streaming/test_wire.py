"""The bytes of version 1 stay as they are, frames are not copied, and malformed bytes are refused."""

from __future__ import annotations

import dataclasses
from typing import cast

import msgpack
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd, WireDamaged, WireInvalid
from beamloop.streaming import wire
from beamloop.streaming.loss import MOST_RUNS, Loss
from beamloop.streaming.wire import decode, encode

SCAN = Scan(
    scan_id="a3f9", measurement_id="m1", receiver="edge", detector="haadf",
    scan_axes=(Axis(name="y", size=1, units="m"), Axis(name="x", size=2, units="m", scale=1e-9)),
    frame_axes=(Axis(name="energy_loss", size=3, units="eV", offset=300.0),),
    dtype=">u2", dwell_s=1e-3, state={"defocus_m": -5e-8},
)  # fmt: skip
BATCH = FrameBatch(
    "a3f9",
    np.array([0, 1], dtype="<i8"),
    np.array([[0.0, 0.0], [0.0, 1e-9]]),
    np.arange(6, dtype=">u2").reshape(2, 3),
)
MESSAGES: dict[str, wire.Message] = {
    "knock": wire.Knock(),
    "hello": wire.Hello("edge", 1, incarnation=11, link=2, session=7, received=5, stored=3, credit=32),
    "welcome": wire.Welcome(session=7, link=2, first=6, sent=5, scans=(SCAN,)),
    "begin": wire.Begin(1, SCAN, session=7, link=2),
    "batch": wire.Batch(2, BATCH, session=7, link=2),
    "end": wire.End(3, ScanEnd(scan_id="a3f9", status="stopped", n_frames=2, reason="by a person"), session=7, link=2),
    "lost": wire.Lost(4, Loss("a3f9", 17, ((3, 3), (1041, 1056))), session=7, link=2),
    "received": wire.Received(3, credit=30, session=7),
    "stored": wire.Stored(3, session=7),
    "refused": wire.Refused("speaks 2", "ProtocolMismatch"),
}
GOLDEN = {
    "knock": [
        "",
    ],
    "hello": [
        "89a17601a16ba568656c6c6fa16ea465646765a1690ba16c02a17307a17105a17003a17720",
    ],
    "welcome": [
        "87a17601a16ba777656c636f6d65a17307a16c02a16606a17105a168918ea77363616e5f6964a461336639ae6d6561737572656d"
        "656e745f6964a26d31a87265636569766572a465646765a86465746563746f72a56861616466a97363616e5f617865739287a46e"
        "616d65a179a473697a6501a5756e697473a16da87175616e74697479a0a66f6666736574cb0000000000000000a57363616c65cb"
        "3ff0000000000000a676616c7565739087a46e616d65a178a473697a6502a5756e697473a16da87175616e74697479a0a66f6666"
        "736574cb0000000000000000a57363616c65cb3e112e0be826d695a676616c75657390aa6672616d655f617865739187a46e616d"
        "65ab656e657267795f6c6f7373a473697a6503a5756e697473a26556a87175616e74697479a0a66f6666736574cb4072c0000000"
        "0000a57363616c65cb3ff0000000000000a676616c75657390a56474797065a33e7532a76477656c6c5f73cb3f50624dd2f1a9fc"
        "a87175616e74697479a9696e74656e73697479a5756e697473a6636f756e7473a86578706563746564c2a973696d756c61746564"
        "c2a5737461746581a96465666f6375735f6dcbbe6ad7f29abcaf48a9737461727465645f73cb0000000000000000",
    ],
    "begin": [
        "86a17601a16ba5626567696ea17307a16c02a17101a1688ea77363616e5f6964a461336639ae6d6561737572656d656e745f6964"
        "a26d31a87265636569766572a465646765a86465746563746f72a56861616466a97363616e5f617865739287a46e616d65a179a4"
        "73697a6501a5756e697473a16da87175616e74697479a0a66f6666736574cb0000000000000000a57363616c65cb3ff000000000"
        "0000a676616c7565739087a46e616d65a178a473697a6502a5756e697473a16da87175616e74697479a0a66f6666736574cb0000"
        "000000000000a57363616c65cb3e112e0be826d695a676616c75657390aa6672616d655f617865739187a46e616d65ab656e6572"
        "67795f6c6f7373a473697a6503a5756e697473a26556a87175616e74697479a0a66f6666736574cb4072c00000000000a5736361"
        "6c65cb3ff0000000000000a676616c75657390a56474797065a33e7532a76477656c6c5f73cb3f50624dd2f1a9fca87175616e74"
        "697479a9696e74656e73697479a5756e697473a6636f756e7473a86578706563746564c2a973696d756c61746564c2a573746174"
        "6581a96465666f6375735f6dcbbe6ad7f29abcaf48a9737461727465645f73cb0000000000000000",
    ],
    "batch": [
        "8aa17601a16ba56261746368a17307a16c02a17102a169a461336639a16e02a164a33e7532a1669103a163cf69df16c18f36a377",
        "00000000000000000100000000000000",
        "00000000000000000000000000000000000000000000000095d626e80b2e113e",
        "000000010002000300040005",
    ],
    "end": [
        "86a17601a16ba3656e64a17307a16c02a17103a16587a77363616e5f6964a461336639a6737461747573a773746f70706564a86e"
        "5f6672616d657302a6726561736f6eab6279206120706572736f6ea9656c656374726f6e73cb0000000000000000aa6475726174"
        "696f6e5f73cb0000000000000000aa70726f64756365645f73cb0000000000000000",
    ],
    "lost": [
        "89a17601a16ba46c6f7374a17307a16c02a17104a169a461336639a16e11a1729292030392cd0411cd0420a17a00",
    ],
    "received": [
        "85a17601a16ba87265636569766564a17307a17103a1771e",
    ],
    "stored": [
        "84a17601a16ba673746f726564a17307a17103",
    ],
    "refused": [
        "84a17601a16ba772656675736564a165b050726f746f636f6c4d69736d61746368a174a8737065616b732032",
    ],
}  # fmt: skip


def test_every_kind_of_message_has_golden_bytes() -> None:
    named = {type(message) for message in MESSAGES.values()}
    assert named == set(wire.Message.__args__)
    assert GOLDEN.keys() == MESSAGES.keys()


@pytest.mark.parametrize("kind", MESSAGES)
def test_encoding_gives_the_golden_bytes(kind: str) -> None:
    assert [bytes(part).hex() for part in encode(MESSAGES[kind])] == GOLDEN[kind]


@pytest.mark.parametrize("kind", MESSAGES)
def test_golden_bytes_decode_to_the_message(kind: str) -> None:
    decoded = decode([bytes.fromhex(part) for part in GOLDEN[kind]])
    if isinstance(decoded, wire.Batch):
        assert (decoded.seq, decoded.session, decoded.link, decoded.batch.scan_id) == (2, 7, 2, "a3f9")
        for name in ("indices", "positions", "frames"):
            got, sent = getattr(decoded.batch, name), getattr(BATCH, name)
            assert got.dtype.str == sent.dtype.str
            np.testing.assert_array_equal(got, sent)
    else:
        assert decoded == MESSAGES[kind]


@pytest.mark.parametrize(
    "message",
    [
        wire.Hello("v", incarnation=11, link=2, reading="live", only="a3f9", beyond=((5, 6), (9, 9))),
        wire.Welcome(7, 2, 6, 5, (SCAN,), reading="read"),
        wire.Stored(3, session=7, beyond=((5, 2**40),)),
        wire.Lost(4, Loss("", 120, scans=3)),
    ],
)
def test_keys_that_came_later_survive(message: wire.Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", ["|u1", "|b1", "<u2", ">u2", "<i4", ">i8", "<f2", "<f4", ">f8", "<c8", ">c16"])
def test_dtype_byte_order_shape_and_bits_survive(dtype: str, shape: tuple[int, ...]) -> None:
    raw = np.random.default_rng(0).integers(0, 2, (4, *shape)).astype(dtype)
    decoded = decode(encode(wire.Batch(1, FrameBatch("s", np.arange(4), np.zeros((4, 2)), raw))))
    assert isinstance(decoded, wire.Batch)
    assert decoded.batch.frames.dtype.str == dtype
    assert decoded.batch.frames.shape == raw.shape
    assert decoded.batch.frames.tobytes() == raw.tobytes()


def test_a_batch_without_frames_survives() -> None:
    empty = FrameBatch("s", np.arange(0), np.zeros((0, 2)), np.zeros((0, 4, 4), "<u2"))
    decoded = decode(encode(wire.Batch(1, empty)))
    assert isinstance(decoded, wire.Batch)
    assert decoded.batch.frames.shape == (0, 4, 4)


def test_the_checksum_is_xxh3_of_scan_dtype_shape_and_buffers() -> None:
    parts = [bytes.fromhex(part) for part in GOLDEN["batch"]]
    whole = b"a3f9 >u2 (2, 3)" + b"".join(parts[1:])
    assert msgpack.unpackb(parts[0])["c"] == xxhash.xxh3_64_intdigest(whole)


def test_a_batch_of_an_older_sender_without_checksum_is_believed() -> None:
    header = {key: value for key, value in _header("batch").items() if key != "c"}
    decoded = decode([msgpack.packb(header), *encode(MESSAGES["batch"])[1:]])
    assert isinstance(decoded, wire.Batch)
    np.testing.assert_array_equal(decoded.batch.frames, BATCH.frames)


def test_every_flipped_bit_of_the_buffers_is_noticed() -> None:
    sent = [bytes(part) for part in encode(MESSAGES["batch"])]
    for part in (1, 2, 3):
        for bit in range(8 * len(sent[part])):
            damaged = [bytearray(buffer) for buffer in sent]
            damaged[part][bit // 8] ^= 1 << bit % 8
            with pytest.raises(WireDamaged, match=r"scan 'a3f9' was sent with checksum 69df16c18f36a377"):
                decode([bytes(buffer) for buffer in damaged])


@pytest.mark.parametrize("changed", [{"i": "a3f8"}, {"d": "<u2"}, {"f": [3, 1]}])
def test_a_batch_that_would_be_taken_for_another_is_noticed(changed: dict[str, object]) -> None:
    with pytest.raises(WireInvalid):
        decode(_with("batch", **changed))


def test_neither_side_copies_contiguous_frames() -> None:
    parts = encode(MESSAGES["batch"])
    assert np.shares_memory(np.frombuffer(parts[3], np.uint8), BATCH.frames)
    received = bytearray(bytes(parts[3]))
    decoded = decode([*parts[:3], memoryview(received)])
    assert isinstance(decoded, wire.Batch)
    assert np.shares_memory(decoded.batch.frames, np.frombuffer(received, np.uint8))


def test_decoded_arrays_are_read_only_even_over_writable_buffers() -> None:
    decoded = decode([memoryview(bytearray(bytes(part))) for part in encode(MESSAGES["batch"])])
    assert isinstance(decoded, wire.Batch)
    for array in (decoded.batch.indices, decoded.batch.positions, decoded.batch.frames):
        assert not array.flags.writeable


def test_frames_that_are_slices_with_steps_arrive_right() -> None:
    whole = np.arange(64, dtype="<u2").reshape(4, 4, 4)
    view = whole[:, ::2, ::-1]
    decoded = decode(encode(wire.Batch(1, FrameBatch("s", np.arange(4), np.zeros((4, 2)), view))))
    assert isinstance(decoded, wire.Batch)
    np.testing.assert_array_equal(decoded.batch.frames, view)


def test_arrays_from_odd_addresses_come_out_aligned() -> None:
    parts = [memoryview(b"\0" + bytes(part))[1:] for part in encode(MESSAGES["batch"])]
    decoded = decode(parts)
    assert isinstance(decoded, wire.Batch)
    assert decoded.batch.positions.flags.aligned
    assert not decoded.batch.positions.flags.writeable
    np.testing.assert_array_equal(decoded.batch.positions, BATCH.positions)


def _header(kind: str) -> dict[str, object]:
    return msgpack.unpackb(encode(MESSAGES[kind])[0])


def _with(kind: str, **changed: object) -> list[bytes | memoryview]:
    parts = encode(MESSAGES[kind])
    header = cast("bytes", msgpack.packb(_header(kind) | changed))
    return [header, *parts[1:]]


@pytest.mark.parametrize("kind", [kind for kind in MESSAGES if kind != "knock"])
def test_a_key_of_a_later_version_1_is_ignored(kind: str) -> None:
    assert type(decode(_with(kind, zz=12345))) is type(MESSAGES[kind])


@pytest.mark.parametrize("kind", ["welcome", "begin", "batch", "lost", "end", "received", "stored"])
def test_another_version_is_refused_with_both_numbers(kind: str) -> None:
    with pytest.raises(WireInvalid, match=r"version 2.*version 1"):
        decode(_with(kind, v=2))


def test_hello_and_refused_of_another_version_are_understood() -> None:
    hello = decode([msgpack.packb({"v": 9, "k": "hello", "n": "edge", "new": [1]})])
    assert hello == wire.Hello("edge", protocol=9)
    refused = decode([msgpack.packb({"v": 9, "k": "refused", "e": "ProtocolMismatch", "t": "speaks 9"})])
    assert refused == wire.Refused("speaks 9", "ProtocolMismatch")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "without any part"),
        ([b"", b""], "no msgpack"),
        ([b"\xc1"], "no msgpack"),
        ([msgpack.packb([1, 2])], "it must be a map"),
        ([msgpack.packb({"v": 1, "k": "steal"})], "unknown kind 'steal'"),
        (_with("received", q=-1), "'q' is -1"),
        (_with("received", q=True), "'q' is True"),
        (_with("received", q=2**64 - 1), "'q' is 18446744073709551615"),
        (_with("begin", q=0), "numbered from 1"),
        (_with("begin", h={"scan_id": "x"}), "scan header: measurement_id"),
        (_with("begin", h=SCAN.model_dump() | {"dtype": "|O8"}), r"dtype '\|O8'"),
        (_with("begin", h=SCAN.model_dump() | {"scan_axes": [{"name": "x", "size": 2**40}]}), "the most is"),
        (_with("end", e=None), "scan end"),
        (_with("batch", d="<f3"), "'<f3' does not exist"),
        (_with("batch", d="<u4"), "need 24 bytes; 12 came"),
        (_with("batch", n=3), "need 24 bytes; 16 came"),
        (_with("batch", f=[2**30] * 9), "frame shape"),
        (_with("batch", f=[-1]), "frame shape"),
        (_with("lost", n=16), "16 lost frames are told, 17 of them are named"),
        (_with("lost", r=[[3, 2]]), "does not ascend"),
        (_with("lost", r=[[3, 4], [5, 6]]), "touches the run before it"),
        (_with("lost", r=[[3]]), "must be two whole numbers"),
        (_with("stored", r=[[True, 4]]), "must be two whole numbers"),
        (_with("stored", r=[[n, n] for n in range(0, 2 * MOST_RUNS + 2, 2)]), "at most 65536 runs"),
        (_with("hello", m=3), "'m' is 3; it must be text"),
        (encode(MESSAGES["batch"])[:3], "with 3 parts"),
        ([*encode(MESSAGES["stored"]), b"x"], "with 2 parts"),
    ],
)
def test_a_malformed_message_is_refused_with_what_was_found(parts: list[bytes], says: str) -> None:
    with pytest.raises(WireInvalid, match=says):
        decode(parts)


def _decodes_or_is_refused(parts: list[bytes]) -> None:
    try:
        message = decode(parts)
    except WireInvalid:
        return
    assert type(message) in {type(known) for known in MESSAGES.values()}


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary()
NESTED = st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=3), PLAIN, max_size=3)
ANYTHING = PLAIN | NESTED | st.lists(NESTED, max_size=2)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_random_bytes_raise_nothing_but_wire_invalid(parts: list[bytes]) -> None:
    _decodes_or_is_refused(parts)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(set(MESSAGES) - {"knock"})),
    st.dictionaries(st.sampled_from(["v", "k", "n", "i", "s", "l", "q", "p", "w", "f", "h", "e", "t", "d"]), ANYTHING),
    st.lists(st.binary(max_size=40), max_size=4),
)
def test_wrong_values_in_right_places_raise_nothing_but_wire_invalid(
    kind: str, changed: dict[str, object], extra: list[bytes]
) -> None:
    _decodes_or_is_refused([bytes(part) for part in _with(kind, **changed)])
    _decodes_or_is_refused([bytes(_with(kind, **changed)[0]), *extra])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["welcome", "begin", "end"]), st.data())
def test_wrong_values_inside_scan_headers_raise_nothing_but_wire_invalid(kind: str, data: st.DataObject) -> None:
    inner = ScanEnd(scan_id="a", status="failed", n_frames=0).model_dump() if kind == "end" else SCAN.model_dump()
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(inner)), ANYTHING, min_size=1))
    body: object = inner | changed
    _decodes_or_is_refused(
        [bytes(_with(kind, **{"e" if kind == "end" else "h": [body] if kind == "welcome" else body})[0])]
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(MESSAGES)), st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_one_flipped_byte_raises_nothing_but_wire_invalid(kind: str, part: int, at: int, mask: int) -> None:
    parts = [bytearray(bytes(buffer)) for buffer in encode(MESSAGES[kind])]
    chosen = parts[part % len(parts)]
    if chosen:
        chosen[at % len(chosen)] ^= mask
    _decodes_or_is_refused([bytes(buffer) for buffer in parts])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(MESSAGES)), st.integers(0, 10_000))
def test_a_truncated_header_raises_nothing_but_wire_invalid(kind: str, length: int) -> None:
    header, *buffers = (bytes(part) for part in encode(MESSAGES[kind]))
    _decodes_or_is_refused([header[: length % (len(header) + 1)], *buffers])


def test_messages_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MESSAGES["stored"].seq = 4  # pyright: ignore[reportAttributeAccessIssue]
