"""A recording that an emulator plays and a receiver reads is the recording, over sockets of this computer."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import pytest

from beamloop.core import Axis, RecordingUnreadable, SettingsInvalid, Signal
from beamloop.streaming.detectors import Connection, LiveScan
from beamloop.streaming.detectors.dectris_connection import DectrisConnection
from beamloop.streaming.detectors.emulate import DectrisEmulator, Footage, MerlinEmulator, Playing
from beamloop.streaming.detectors.emulate.dectris_messages import Compression
from beamloop.streaming.detectors.merlin import message
from beamloop.streaming.detectors.merlin_connection import MerlinConnection
from beamloop.streaming.files import open_recording, write_signal

NY, NX, V, U = 4, 5, 16, 24
WAIT_S = 20.0


def recording(folder: Path, data: np.ndarray, valid: np.ndarray | None = None) -> Path:
    y, x = (Axis(name=n, size=s, units="m", scale=1e-9) for n, s in zip("yx", data.shape, strict=False))
    rest = [Axis(name=n, size=s) for n, s in zip("vu", data.shape[2:], strict=False)]
    with h5py.File(folder / "scan.h5", "w") as file:
        write_signal(file, "Channel_000", "camera", Signal(data, (y, x, *rest), "intensity", "counts", valid))
    return folder / "scan.h5"


def counts(most: int, dtype: str = "<u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, most + 1, (NY, NX, V, U)).astype(dtype)


@contextmanager
def footage(file: Path) -> Iterator[Footage]:
    with open_recording(file) as opened:
        yield Footage(opened.main)


@contextmanager
def running(emulator: MerlinEmulator | DectrisEmulator, playing: Playing) -> Iterator[None]:
    thread = Thread(target=emulator.run, daemon=True)
    with emulator:
        thread.start()
        try:
            yield
        finally:
            playing.stop.set()
            thread.join(WAIT_S)
            assert not thread.is_alive()


def received(connection: Connection) -> tuple[LiveScan, np.ndarray]:
    """Return one series and its frames, shape (*scan_shape, v, u)."""
    with LiveScan.awaited(connection, WAIT_S) as scan:
        frames = np.zeros((scan.header.n_frames, *scan.header.frame_shape), scan.header.dtype)
        for batch in scan.batches(WAIT_S):
            frames[batch.indices] = batch.frames
    return scan, frames.reshape(*scan.header.scan_shape, *scan.header.frame_shape)


@pytest.mark.parametrize("layout", ["1x1", "2x2"])
@pytest.mark.parametrize(("bits", "is_raw"), [(b, raw) for b in (1, 6, 12, 24) for raw in (False, True)])
def test_merlin_gives_the_recording(tmp_path: Path, bits: int, is_raw: bool, layout: str) -> None:
    data, playing = counts(2**bits - 1, "<u4"), Playing()
    with footage(recording(tmp_path, data)) as film:
        emulator = MerlinEmulator(film, playing, bits, is_raw, layout)
        with running(emulator, playing):
            scan, frames = received(MerlinConnection(f"127.0.0.1:{emulator.data_port}"))
        assert film.altered == 0
    np.testing.assert_array_equal(frames, data)
    assert (scan.header.scan_shape, scan.complete, scan.notices.lines()) == ((NY, NX), True, ())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<u4"])
def test_dectris_gives_the_recording(tmp_path: Path, version: int, compression: Compression, dtype: str) -> None:
    # The last line is noise, which no packing makes smaller.
    data, playing = counts(3, dtype), Playing()
    data[-1] = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, data[-1].shape)
    with footage(recording(tmp_path, data)) as film:
        emulator = DectrisEmulator(film, playing, version, compression)
        with running(emulator, playing):
            scan, frames = received(DectrisConnection(f"127.0.0.1:{emulator.port}"))
    assert frames.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(frames.reshape(data.shape), data)
    assert (scan.complete, scan.ended) == (True, "the detector ended it")


def test_repeated_acquisitions_come_over_one_connection(tmp_path: Path) -> None:
    data, playing = counts(4095), Playing(repeat=2)
    with footage(recording(tmp_path, data)) as film:
        emulator = MerlinEmulator(film, playing)
        with running(emulator, playing):
            connection = MerlinConnection(f"127.0.0.1:{emulator.data_port}")
            events = []
            while not connection.is_over:
                events += connection.events(WAIT_S)
            connection.close()
    assert [type(event).__name__ for event in events].count("Began") == 2


def test_positions_that_were_not_recorded_are_gaps(tmp_path: Path) -> None:
    data, playing = counts(4095), Playing()
    valid = np.ones((NY, NX), np.bool_)
    valid[1, 2:4] = False
    with footage(recording(tmp_path, data, valid)) as film:
        emulator = DectrisEmulator(film, playing)
        with running(emulator, playing):
            scan, _ = received(DectrisConnection(f"127.0.0.1:{emulator.port}"))
    assert scan.lack() == "lacks 2 of 20 frames: 7-8 (the detector ended it)"


def test_what_a_counter_cannot_hold_is_shown_as_full_and_counted(tmp_path: Path) -> None:
    data = counts(4095).astype("<f4")
    data[0, 0, 0, :3] = -5, 0.4, 1e9
    with footage(recording(tmp_path, data)) as film:
        (_, frames), *_ = film.blocks(NX, 4095)
        assert frames[0, 0, :3].tolist() == [0, 0, 4095]
        assert film.altered == 3


def test_images_and_frames_of_no_such_form_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(RecordingUnreadable, match="frames of one or two axes"),
        footage(recording(tmp_path, counts(9)[:, :, 0, 0])),
    ):
        pass
    with footage(recording(tmp_path, counts(9)[:, :, :15])) as film, pytest.raises(SettingsInvalid, match="15 x 24"):
        MerlinEmulator(film, Playing(), layout="2x2")


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, footage(recording(tmp_path, counts(9))) as film:
        port = taken.getsockname()[1]
        for made in (
            lambda: MerlinEmulator(film, Playing(), data_port=port),
            lambda: MerlinEmulator(film, Playing(), control_port=port),
            lambda: DectrisEmulator(film, Playing(), port=port),
            lambda: DectrisEmulator(film, Playing(), api_port=port),
        ):
            with pytest.raises(SettingsInvalid, match=f"{port}.*free port"):
                made()


def commanded(port: int, *commands: str) -> list[str]:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client, client.makefile("rb") as answers:
        found = []
        for command in commands:
            client.sendall(message(command.encode()))
            found.append(answers.read(int(answers.read(15)[4:14]) - 1).decode())
        return found


def test_merlin_starts_and_is_set_by_commands(tmp_path: Path) -> None:
    data, playing = counts(63), Playing(waits=True)
    with footage(recording(tmp_path, data)) as film:
        emulator = MerlinEmulator(film, playing)
        with running(emulator, playing):
            connection = MerlinConnection(f"127.0.0.1:{emulator.data_port}")
            assert list(connection.events(0.05)) == []
            assert commanded(
                emulator.control_port, "GET,IMAGEX", "GET,NOTHING", "SET,COUNTERDEPTH,7", "SET,COUNTERDEPTH,6",
                "SET,FILEFORMAT,2", "SET,TRIGGERSTART,5", "SET,NUMFRAMESTOACQUIRE,33", "CMD,STARTACQUISITION",
                "CMD,SOFTTRIGGER",
            ) == [
                f"GET,IMAGEX,{U},0", "GET,NOTHING,0,2", "SET,COUNTERDEPTH,3", "SET,COUNTERDEPTH,0", "SET,FILEFORMAT,0",
                "SET,TRIGGERSTART,0", "SET,NUMFRAMESTOACQUIRE,0", "CMD,STARTACQUISITION,0", "CMD,SOFTTRIGGER,0",
            ]  # fmt: skip
            scan, frames = received(connection)
    # After its last frame a recording begins anew.
    expected = np.tile(data.reshape(-1, V, U), (2, 1, 1))[:33]
    np.testing.assert_array_equal(frames.reshape(33, V, U), expected)
    assert scan.header.dtype == "|u1"


def put(port: int, path: str, **body: object) -> object:
    url = f"http://127.0.0.1:{port}/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.loads(answer.read())


def test_dectris_starts_and_is_set_over_rest(tmp_path: Path) -> None:
    data, playing = counts(4095), Playing(waits=True)
    with footage(recording(tmp_path, data)) as film:
        emulator = DectrisEmulator(film, playing, version=2)
        with running(emulator, playing):
            connection = DectrisConnection(f"127.0.0.1:{emulator.port}")
            api, config = emulator.api_port, "detector/api/1.8.0/config"
            put(api, "stream/api/1.8.0/config/format", value="legacy")
            put(api, "stream/api/1.8.0/config/header_detail", value="all")
            put(api, f"{config}/compression", value="lz4")
            put(api, f"{config}/trigger_mode", value="ints")
            with pytest.raises(urllib.error.HTTPError, match="400"):
                put(api, f"{config}/compression", value="zip")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                put(api, "detector/api/1.8.0/command/explode")
            assert put(api, "detector/api/1.8.0/command/arm") == {"sequence id": 1}
            assert put(api, "detector/api/1.8.0/command/trigger") == {}
            scan, frames = received(connection)
    np.testing.assert_array_equal(frames.reshape(data.shape), data)
    assert scan.began.facts["trigger_mode"] == "ints"
    assert scan.began.detector == "DECTRIS emulated by beamloop"
