"""Other programs open what we write: shapes, units, axes and every value, each in an environment of its own.

`make readers` makes the environments (minutes, the first time) and runs this; without them it is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beamloop.core import Signal
from beamloop.streaming.files.compression import Compression
from beamloop.streaming.files.units import customary

from .written import ENERGY, FIELD, LOOP, U, V, write_run, write_scans

HERE = Path(__file__).parent
READERS = Path(os.environ.get("BEAMLOOP_READERS", HERE.parents[1] / ".readers"))
DATA_TYPES = {
    "yx": "IMAGE", "yxvu": "IMAGE_4D", "yxenergy_loss": "SPECTRAL_IMAGE", "indexenergy_loss": "LINE_PLOT_FAMILY",
    "indexvu": "IMAGE_STACK", "indexbias": "LINE_PLOT_FAMILY",
}  # fmt: skip
RUNS = {"spectra": (ENERGY,), "patterns": (V, U), "sweeps": (FIELD,), "loops": (LOOP,)}
HYPERSPY_NAMES = {"energy_loss": "Energy loss", "u": "kx", "v": "ky"}


def seen_by(environment: str, script: str, path: Path, *more: str) -> dict[str, Any]:
    """Return what a script tells that another program's Python runs on a file."""
    python = READERS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"NOT TESTED: {environment} is not installed in {READERS}; run `make readers`")
    home = {"HOME": str(path.parent), "MPLCONFIGDIR": str(path.parent), "PATH": os.environ["PATH"]}
    child = subprocess.run(
        [str(python), "-I", str(HERE / script), str(path), *more], capture_output=True, text=True, timeout=110, env=home
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout.split("FOUND", 1)[1])


def digest(signal: Signal) -> str:
    return hashlib.sha256(np.ascontiguousarray(signal.data, "<f8").tobytes()).hexdigest()


@pytest.fixture(params=["scans-bitshuffle", "scans-gzip", "scans-none", *RUNS])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Signal]]:
    path, (kind, _, compression) = tmp_path / "file.h5", request.param.partition("-")
    if kind == "scans":
        known: dict[str, Compression] = {"bitshuffle": "bitshuffle", "gzip": "gzip", "none": "none"}
        return path, write_scans(path, known[compression])
    return path, write_run(path, RUNS[kind])


def test_scifireaders_finds_every_signal_whole(written: tuple[Path, dict[str, Signal]]) -> None:
    path, signals = written
    found = seen_by("nsid_and_hyperspy", "see_nsid.py", path)
    assert set(found) == set(signals)
    for name, signal in signals.items():
        seen = found[name]
        assert seen["shape"] == list(signal.data.shape)
        assert (seen["quantity"], seen["units"]) == (signal.quantity, signal.units)
        assert seen["type"] == DATA_TYPES["".join(axis.name for axis in signal.axes)]
        assert seen["sha256"] == digest(signal)
        if name in ("camera", "eels", "measured"):
            assert seen["voltage"] == 200e3
        for axis, (label, units, quantity, kind, *values) in zip(signal.axes, seen["axes"], strict=True):
            wanted = customary(axis)
            assert (label, units, quantity) == (axis.name, wanted.units or "generic", axis.quantity or "generic")
            assert kind == {
                "y": "SPATIAL",
                "x": "SPATIAL",
                "index": "CHANNEL",
                "energy_loss": "SPECTRAL",
                "bias": "SPECTRAL",
            }.get(axis.name, "RECIPROCAL")
            np.testing.assert_allclose(values, wanted.coordinates(), rtol=1e-12, atol=1e-12)


def test_hyperspy_finds_every_signal_whole_also_lazily(written: tuple[Path, dict[str, Signal]]) -> None:
    path, signals = written
    found = seen_by("nsid_and_hyperspy", "see_hyperspy.py", path)
    assert set(found) == set(signals)
    for name, signal in signals.items():
        spectral = signal.axes[-1].name == "energy_loss"
        assert len(found[name]) == 2, "eager and lazy"
        for seen in found[name]:
            assert seen["shape"] == list(signal.data.shape)
            assert seen["sha256"] == digest(signal)
            line = "Signal1D" if signal.axes[-1].name == "bias" else "Signal2D"
            assert seen["class"] == ("EELSSpectrum" if spectral else line)
            assert seen["signal_type"] == ("EELS" if spectral else "")
            assert seen["beam_energy"] == (None if name in ("survey", "predicted") else 200.0)
            for axis, (label, units, navigate, *values) in zip(signal.axes, seen["axes"], strict=True):
                wanted = customary(axis)
                if axis == LOOP:
                    assert (label, units, values) == ("index of bias", "<undefined>", [0, 1, 2, 3, 4])
                    continue
                assert label == HYPERSPY_NAMES.get(axis.name, axis.name)
                assert units == (wanted.units or "<undefined>")
                assert navigate == ((axis.name in "yxindex" and len(signal.axes) > 2) or axis.name == "index")
                np.testing.assert_allclose(values, wanted.coordinates(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("compression", ["bitshuffle", "gzip"])
def test_py4dstem_finds_the_4d_scan_with_its_pixel_sizes(tmp_path: Path, compression: Compression) -> None:
    signals = write_scans(tmp_path / "file.h5", compression)
    seen = seen_by("py4dstem", "see_py4dstem.py", tmp_path / "file.h5", "camera_root")
    assert seen["class"] == "DataCube"
    assert seen["shape"] == list(signals["camera"].data.shape)
    assert seen["sha256"] == digest(signals["camera"])
    (r_size, r_units), (q_size, q_units) = seen["R"], seen["Q"]
    assert (r_units, q_units) == ("nm", "A^-1")
    # 0.5 nm, and 1e8 1/m = 0.01 1/Å.
    np.testing.assert_allclose([r_size, q_size], [0.5, 0.01], rtol=1e-12)
    assert [dim[0] for dim in seen["dims"]] == ["Rx", "Ry", "Qx", "Qy"]
    np.testing.assert_allclose([dim[3] - dim[2] for dim in seen["dims"]], [0.5, 0.5, 0.01, 0.01], rtol=1e-12)
