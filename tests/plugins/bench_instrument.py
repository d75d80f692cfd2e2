"""An instrument that misbehaves on request, installed as anybody's plugin would be.

Its camera gives numbered test patterns. Parameters make the next acquisition slow, raise,
or hold the interpreter lock inside C code as a vendor's library can. Its stage goes evenly,
takes `move_s` for any move, and stands still when its line is halted.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping

import numpy as np

from beamloop.core import (
    Acquisition,
    Axis,
    BeamBlanked,
    Blanker,
    DetectorInfo,
    FrameBatch,
    InstrumentInfo,
    LimitRefused,
    MotionHalted,
    Parameter,
    Region,
    Scan,
)

ELECTRON_C = 1.602176634e-19
CURRENT_A = 50e-12
SIZE = 512


class Bench:
    """A camera on a bench."""

    def __init__(self, settings: Mapping[str, object], blanker: Blanker) -> None:
        if "break" in settings:
            raise OSError(f"no vendor library at {settings['break']}")
        if "refuse" in settings:
            raise LimitRefused(f"the bench was told to refuse: {settings['refuse']}")
        self._blanker = blanker
        self._values = {"hold_lock_s": 0.0, "frame_s": 0.0, "raise_at": -1.0, "stage_m": 0.0, "move_s": 0.0}
        self._started_s = time.monotonic()
        self._electrons = 0.0
        self._pattern = np.arange(SIZE * SIZE, dtype=np.uint32).reshape(SIZE, SIZE).astype(np.uint16)

    def describe(self) -> InstrumentInfo:
        pixels = tuple(Axis(name=name, size=SIZE, units="1/m", scale=1e7) for name in "vu")
        return InstrumentInfo(
            name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=1e-6, width_m=1e-6),
            parameters=tuple(
                Parameter(name=n, units="", value=v, low=-1.0, high=60.0) for n, v in self._values.items()
            ),
            detectors=(DetectorInfo(name="camera", frame_axes=pixels),), stopping_time_s=0.5,
        )  # fmt: skip

    def write(self, values: Mapping[str, float]) -> float:
        self._values.update({name: value for name, value in values.items() if name != "stage_m"})
        return self._moved(values["stage_m"]) if "stage_m" in values else 0.0

    def _moved(self, target_m: float) -> float:
        start_m, began_s, length_s = self._values["stage_m"], time.monotonic(), self._values["move_s"]
        while (passed_s := time.monotonic() - began_s) < length_s:
            self._values["stage_m"] = start_m + (target_m - start_m) * passed_s / length_s
            if self._blanker.is_halted():
                raise MotionHalted(f"the bench's stage was halted at {self._values['stage_m']:.6g} m")
            time.sleep(0.002)
        self._values["stage_m"] = target_m
        return length_s

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        info = self.describe()
        return Scan(
            scan_id=scan_id, measurement_id=measurement_id, receiver=receiver, detector=plan.detector,
            scan_axes=plan.axes(info.field), frame_axes=info.detectors[0].frame_axes, dtype="<u2",
            dwell_s=plan.dwell_s, state=dict(self._values), started_s=self.now_s(),
        )  # fmt: skip

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        positions = plan.positions(self.describe().field)
        for index in range(scan.n_frames):
            if not self._blanker.is_open():
                raise BeamBlanked("the bench has no beam")
            if index == self._values["raise_at"]:
                raise RuntimeError(f"the vendor's library broke at frame {index}")
            if self._values["hold_lock_s"]:
                # A PyDLL call keeps the interpreter lock, as C code that forgets to release it does.
                ctypes.PyDLL(None).usleep(int(self._values["hold_lock_s"] * 1e6))
            time.sleep(self._values["frame_s"])
            self._electrons += CURRENT_A * plan.dwell_s / ELECTRON_C
            frame = (self._pattern + np.uint16(index))[None]
            yield FrameBatch(scan.scan_id, np.array([index]), positions[index : index + 1], frame)

    def now_s(self) -> float:
        return time.monotonic() - self._started_s

    def dose_electrons(self) -> float:
        return self._electrons

    def close(self) -> None:
        self._pattern = self._pattern[:0]


bench = Bench
