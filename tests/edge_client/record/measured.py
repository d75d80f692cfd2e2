"""Measurements for tests of run files: spectra of 40 channels, each with its number in every channel."""

from __future__ import annotations

import numpy as np

from beamloop.core import FrameBatch, InstrumentInfo, PointScan, Scan


def scan_of(info: InstrumentInfo, number: int) -> Scan:
    detector = info.detector("spectrometer")
    plan = PointScan(detector="spectrometer", points=((0.0, 0.0),), dwell_s=0.01)
    return Scan(
        scan_id=f"s{number}", measurement_id=f"m{number}", receiver="me", detector=detector.name,
        scan_axes=plan.axes(info.field), frame_axes=detector.frame_axes, dtype="<u2", dwell_s=0.01,
    )  # fmt: skip


def batch_of(number: int) -> FrameBatch:
    frame = np.full((1, 40), number, "<u2")
    return FrameBatch(f"s{number}", np.zeros(1, np.int64), np.array([[1e-9 * number, 2e-9 * number]]), frame)
