"""Recordings of a real Merlin, played as it would send them: numbered test patterns of one and four chips."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from beamloop.streaming.detectors.merlin import FrameHeader, message
from beamloop.streaming.detectors.merlin_stream import MerlinStream
from beamloop.streaming.files import open_recording

from .heard import Heard, heard

BYTES_EACH = {"U08": 1.0, "U16": 2.0, "U32": 4.0, "R64": 0.125}
NAMES = [
    f"{chips}_{n}_Frame_CounterDepth_{kind}" for chips in ("Single", "Quad") for n in (1, 9)
    for kind in ("1_Rows_256", "1_Rows_256RAW", "6_Rows_256", "12_Rows_256", "24_Rows_256")
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merlin")
    with zipfile.ZipFile(recorded / "diffraction-small" / "Merlin_Single_Quad.zip") as archive:
        archive.extractall(folder)
    return folder


def played(folder: Path, name: str) -> Heard:
    """Return what comes of a recording: its header file and its frames, each behind the prefix that Merlin sends."""
    stream = MerlinStream()
    header = message((folder / f"{name}.hdr").read_bytes())
    frames = b"".join(map(message, cut((folder / f"{name}.mib").read_bytes())))
    return heard([*stream.feed(header + frames), *stream.close()])


def cut(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        header = FrameHeader.parsed(data[at : at + 4096])
        end = at + header.offset + int(header.width * header.height * BYTES_EACH[header.code])
        yield data[at:end]
        at = end


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_is_read(folder: Path, name: str) -> None:
    found = played(folder, name)
    (began,) = found.began
    frames = 9 if "_9_" in name else 1
    assert (sorted(found.frames), found.odd) == (list(range(frames)), [])
    side, depth = (512 if "Quad" in name else 256), int(name.split("_")[4])
    assert (began.frame_shape, began.n_frames, began.dwell_s) == ((side, side), frames, 0.001)
    most = max(int(frame.max()) for frame in found.frames.values())
    assert 0 < most < 2**depth


@pytest.mark.parametrize("name", [name for name in NAMES if "RAW" not in name])
def test_numbers_are_those_that_rosettasciio_reads(folder: Path, name: str) -> None:
    with open_recording(folder / f"{name}.mib") as recording:
        theirs = np.asarray(recording.main.signal().data)
    found = played(folder, name)
    # It shows images with their first row below.
    ours = np.stack([found.frames[n][::-1] for n in sorted(found.frames)])
    np.testing.assert_array_equal(ours.ravel(), theirs.ravel())


@pytest.mark.parametrize("chips", ["Single", "Quad"])
def test_raw_frames_show_the_pattern_of_binary_ones(folder: Path, chips: str) -> None:
    raw, binary = (played(folder, f"{chips}_9_Frame_CounterDepth_1_Rows_256{kind}").frames for kind in ("RAW", ""))
    # Two acquisitions of one test pattern differ in a few noisy pixels; chips in wrong places in a fiftieth.
    assert (raw[0] == binary[0]).mean() > 0.999
