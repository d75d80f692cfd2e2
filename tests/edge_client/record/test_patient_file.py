"""A file that takes every write, and tells afterwards whether the disk did."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from beamloop.edge_client.record.patient_file import PatientFile

NUMBERS = np.random.default_rng(0).random((50, 50))


def write_hdf5(raw: PatientFile, after_one: int | None = None) -> None:
    """Write two datasets; put another descriptor in place of the file's after the first."""
    with h5py.File(raw, "w") as file:
        file.create_dataset("one", data=NUMBERS, chunks=(10, 50), fletcher32=True)
        file.flush()
        if after_one is not None:
            os.dup2(after_one, raw.fileno())
        file.create_dataset("two", data=NUMBERS + 1)
        file.flush()
        np.testing.assert_array_equal(file["two"], NUMBERS + 1)


def test_on_a_good_disk_it_is_a_file(tmp_path: Path) -> None:
    with PatientFile(tmp_path / "f.h5") as raw:
        write_hdf5(raw)
        raw.check()
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_array_equal(file["one"], NUMBERS)
        np.testing.assert_array_equal(file["two"], NUMBERS + 1)


def test_hdf5_ends_its_work_on_a_disk_that_fails_and_the_error_is_told(tmp_path: Path) -> None:
    with PatientFile(tmp_path / "f.h5") as raw:
        only_read = os.open(tmp_path / "f.h5", os.O_RDONLY)
        write_hdf5(raw, after_one=only_read)
        with pytest.raises(OSError, match="Bad file descriptor"):
            raw.check()
    os.close(only_read)


def test_what_the_disk_refused_is_read_from_memory(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_RDWR)
    with PatientFile(tmp_path / "f") as raw:
        os.dup2(full, raw.fileno())
        raw.seek(0)
        assert raw.write(b"abcdef") == 6
        raw.seek(0)
        assert raw.write(b"12") == 2
        raw.seek(0)
        found = bytearray(6)
        assert raw.readinto(found) == 6
        assert bytes(found) == b"12cdef"
    os.close(full)
