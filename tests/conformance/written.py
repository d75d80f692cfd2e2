"""Files as beamloop writes them, for other programs to open: a 4D scan, a spectrum image, points, images, a run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import h5py
import numpy as np

from beamloop.core import Axis, FrameBatch, Scan, Signal
from beamloop.edge_client.record.run_file import RunFile
from beamloop.streaming.files import create_signal, write_signal
from beamloop.streaming.files.compression import Compression

Y = Axis(name="y", size=6, units="m", quantity="length", offset=1e-9, scale=0.5e-9)
X = Axis(name="x", size=5, units="m", quantity="length", offset=2e-9, scale=0.5e-9)
V = Axis(name="v", size=8, units="1/m", quantity="spatial frequency", offset=-4e8, scale=1e8)
U = Axis(name="u", size=7, units="1/m", quantity="spatial frequency", offset=-3e8, scale=1e8)
ENERGY = Axis(name="energy_loss", size=9, units="eV", quantity="energy loss", offset=400.0, scale=2.5)
FIELD = Axis(name="bias", size=5, units="V", quantity="bias", values=(-1.0, 0.0, 0.5, 2.0, 5.0))
LOOP = FIELD.model_copy(update={"values": (0.0, 1.0, 2.0, 1.0, 0.0)})
STATE = {"beam_energy_ev": 200e3, "semi_angle_rad": 0.02, "beam_current_a": 5e-11}
FACTS = {"dwell_s": 0.01, "state": STATE}


def numbers(*axes: Axis) -> np.ndarray:
    """Return different numbers over these axes, uint16."""
    shape = tuple(axis.size for axis in axes)
    return (np.arange(np.prod(shape)) * 7 % 50_021).reshape(shape).astype("<u2")


def write_scans(path: Path, compression: Compression) -> dict[str, Signal]:
    """Write a 4D scan as it streams in, a spectrum image and two images; return them by name."""
    scan = Scan(
        scan_id="s", measurement_id="m", receiver="", detector="camera", scan_axes=(Y, X), frame_axes=(V, U),
        dtype="<u2", dwell_s=0.01, state=STATE,
    )  # fmt: skip
    whole = {
        "eels": Signal(numbers(Y, X, ENERGY), (Y, X, ENERGY), "intensity", "counts", metadata=FACTS),
        "haadf": Signal(numbers(Y, X)[::-1].copy(), (Y, X), "intensity", "counts", metadata=FACTS),
        "survey": Signal(numbers(Y, X) / 3, (Y, X.model_copy(update={"scale": 1e-9})), "height", "nm"),
    }
    frames = numbers(Y, X, V, U).reshape(30, 8, 7)
    with h5py.File(path, "w") as file:
        growing = create_signal(file, "Channel_000", "camera", scan, compression)
        for start in (0, 10, 20):
            chosen = np.arange(start, start + 10)
            growing.write_batch(FrameBatch("s", chosen, np.zeros((10, 2)), frames[chosen]))
        for number, (name, signal) in enumerate(whole.items(), start=1):
            write_signal(file, f"Channel_{number:03d}", name, signal, compression)
    return {"camera": Signal(numbers(Y, X, V, U), (Y, X, V, U), "intensity", "counts"), **whole}


def write_run(path: Path, frame_axes: tuple[Axis, ...]) -> dict[str, Signal]:
    """Write the file of a run of twelve measurements, killed once on the way; return what is in it by name."""
    index = Axis(name="index", size=12)
    frames = numbers(index, *frame_axes)
    overview = Signal(numbers(Y, X), (Y, X), "intensity", "counts", metadata=FACTS)
    predicted = Signal(numbers(Y, X) / 7, (Y, X), "edge ratio", "counts")
    with closing(RunFile(path, 20)) as file:
        file.put_overview(overview)
    with closing(RunFile.reopened(path, 20)) as file:
        for row, frame in enumerate(frames):
            scan = Scan(
                scan_id=f"s{row}", measurement_id=f"m{row}", receiver="", detector="detector", dtype="<u2",
                scan_axes=(Axis(name="index", size=1),), frame_axes=frame_axes, dwell_s=0.01, state=STATE,
            )  # fmt: skip
            batch = FrameBatch(f"s{row}", np.zeros(1, np.int64), np.full((1, 2), row * 1e-9), frame[np.newaxis])
            file.add(scan, [batch])
        file.put_map("predicted", predicted)
    measured = Signal(frames, (index, *frame_axes), "intensity", "counts")
    return {"overview": overview, "measured": measured, "predicted": predicted}
