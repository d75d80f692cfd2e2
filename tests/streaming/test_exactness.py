"""Every numeric type in both byte orders, of any frame shape, is the same to the last bit wherever it passes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.streaming import Receiver, Sender
from beamloop.streaming.files import record

from ..faults.amount import amount
from .traffic import WAIT_S, after, until

CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
DTYPES = sorted({np.dtype(order + code).str for code in CODES for order in "<>"})
SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


def _scan(dtype: str, n: int, shape: tuple[int, ...]) -> Scan:
    axes = tuple(Axis(name=f"axis_{place}", size=size) for place, size in enumerate(shape))
    return Scan(
        scan_id="a", measurement_id="m", receiver="edge", detector="camera", dtype=dtype, dwell_s=1e-3,
        scan_axes=(Axis(name="y", size=1), Axis(name="x", size=n)), frame_axes=axes,
    )  # fmt: skip


def _anything(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Return arrays of any bits that this type can have, not-a-number and infinities among them."""
    if dtype == "|b1":
        return arrays.arrays(np.bool_, shape)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=amount(2, 40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_frames_come_out_as_they_went_in(dtype: str, data: st.DataObject, tmp_path: Path) -> None:
    shape, n = data.draw(SHAPES), 6
    frames = data.draw(_anything(dtype, (n, *shape)))
    scan, end = _scan(dtype, n, shape), ScanEnd(scan_id="a", status="complete", n_frames=n)
    folder = tmp_path / str(sum(1 for _ in tmp_path.iterdir()))
    folder.mkdir()
    # One batch in memory, the others on disk.
    with Sender(retention_bytes=2500, spill_bytes=1 << 20, spill_folder=folder) as sender:
        sender.begin(scan)
        for index in range(n):
            indices = np.array([index])
            sender.send(FrameBatch("a", indices, np.zeros((1, 2)), frames[index : index + 1]), after(WAIT_S))
        sender.end(end)
        assert sender.statistics().receivers["edge"].spilled >= n - 2
        with Receiver(sender.endpoint, "edge") as receiver:
            came = [(b.frames.dtype.str, b.frames.tobytes()) for b in receiver.scan("a", WAIT_S).batches(WAIT_S)]
            assert came == [(dtype, frames[index : index + 1].tobytes()) for index in range(n)]
        # Nothing was stored, so all of it comes again, to be recorded.
        with Receiver(sender.endpoint, "edge") as receiver:
            recorded = record(receiver.scan("a", WAIT_S), folder / "a.h5", WAIT_S)
            until(lambda: sender.statistics().receivers["edge"].retained == 0)
    assert recorded.lacks == ""
    with h5py.File(recorded.path) as file:
        dataset = file["Measurement_000/Channel_000/camera/camera"]
        assert isinstance(dataset, h5py.Dataset)
        stored = dataset[()]
    assert stored.dtype.str == dtype
    assert stored.reshape(frames.shape).tobytes() == frames.tobytes()
