"""A small instrument for the virtual world: numbered frames, and every misbehaviour that the schedule asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from beamloop.core import (
    Acquisition,
    Axis,
    BeamBlanked,
    DetectorInfo,
    FrameBatch,
    InstrumentInfo,
    Parameter,
    Region,
    Scan,
)

from .hub import current_task

if TYPE_CHECKING:
    from .site import Site
    from .witness import Witness

INFO = InstrumentInfo(
    name="virtual", source="simulator", field=Region(y_m=0, x_m=0, height_m=1e-6, width_m=1e-6),
    parameters=(Parameter(name="tilt", units="", value=0.0, low=-1e6, high=1e6),),
    detectors=(DetectorInfo(name="camera", frame_axes=(Axis(name="u", size=2),)),),
)  # fmt: skip
DESCRIBED = INFO.model_dump()


def frame_of(measurement_id: str, index: int) -> int:
    """Return the number that a frame carries, so that nobody can take it for another."""
    return (sum(measurement_id.encode()) * 31 + index) % 60_000 + 1


class Bench:
    """The instrument in the driver's process.

    Parameters
    ----------
    site
        Where it stands.
    witness
        Told everything that really happened.
    pausable
        Whether its camera can wait.
    """

    def __init__(self, site: Site, witness: Witness, pausable: bool) -> None:
        self._site, self._witness, self._rng = site, witness, witness.world.rng
        self._tilt, self._electrons = 0.0, 0.0
        self._axes: dict[int, tuple[Axis, ...]] = {}
        self.hang_s, self.raises = 0.0, False
        self._detectors = tuple(d.model_copy(update={"pausable": pausable}) for d in INFO.detectors)

    def describe(self) -> InstrumentInfo:
        parameter = INFO.parameters[0].model_copy(update={"value": self._tilt})
        return INFO.model_copy(update={"parameters": (parameter,), "detectors": self._detectors})

    def write(self, values: Mapping[str, float]) -> float:
        self._witness.moved(values["tilt"])
        self._pause(self._rng.choice((0.0, 0.01, 0.3)))
        self._tilt = values["tilt"]
        return duration_of(self._tilt)

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        self._witness.begun(measurement_id, scan_id)
        return Scan(
            scan_id=scan_id, measurement_id=measurement_id, receiver=receiver, detector=plan.detector,
            scan_axes=plan.axes(INFO.field), frame_axes=INFO.detectors[0].frame_axes, dtype="<u2", dwell_s=plan.dwell_s,
        )  # fmt: skip

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        positions = plan.positions(INFO.field)
        for index in range(scan.n_frames):
            if not self._site.beam_is_open:
                raise BeamBlanked("no beam")
            self._pause(plan.dwell_s)
            if self.raises:
                self.raises = False
                raise RuntimeError("the vendor's library broke")
            self._electrons += 1.0
            frame = np.full((1, 2), frame_of(scan.measurement_id, index), "<u2")
            self._witness.exposed(scan, index)
            yield FrameBatch(scan.scan_id, np.array([index]), positions[index : index + 1], frame)

    def _pause(self, seconds: float) -> None:
        hang_s, self.hang_s = self.hang_s, 0.0
        if seconds + hang_s:
            current_task().block(seconds + hang_s)

    def now_s(self) -> float:
        return current_task().node.clock()

    def dose_electrons(self) -> float:
        return self._electrons

    def close(self) -> None:
        return


def duration_of(tilt: float) -> float:
    """Return the seconds that the bench says a move took: each value has its own, so that replies can be told apart."""
    return tilt / 1000.0 + 0.5
