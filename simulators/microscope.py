"""A scanning transmission electron microscope that needs no hardware and repeats itself exactly.

It does what a real one does, on a virtual clock: it takes time to move and to scan, drifts,
counts electrons one by one, harms the specimen, and shows nothing while the beam is blanked.
The same seed and the same commands give the same data, however quickly they come. Asked for
an expectation, it tells what it would count on average from an undamaged specimen that has
not drifted, at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import scipy.constants as si
from numpy.typing import NDArray

from ..core.errors import BeamBlanked, LimitRefused, MotionHalted
from ..core.frame import FrameBatch, Scan
from ..core.instrument import InstrumentInfo
from ..core.limits import Limits
from ..core.plan import Acquisition, Region, SetParameters, plan_from
from ..core.protocols import Blanker, Instrument
from ..core.settings import checked
from .clock import VirtualClock
from .damage import Damage
from .detector import DETECTORS, EXPECTED_DTYPE, HAADF, Noise, block_size, counted
from .optics import WINDOW_M, Probe
from .parameters import BEAM_CURRENT, PARAMETERS, STAGE, probe_of
from .settings import MicroscopeSettings
from .signals import Signals
from .specimen import FIELD_M, grown_specimen
from .stage import Stage
from .timetable import TIMING, Timetable, timetable

Reals = NDArray[np.float64]

OPTICS_SETTLE_S = 0.05
"""Time in which lenses settle after any of them was set."""

LONGEST_BATCH_S = 0.05
"""Instrument seconds that one batch of a paced scan takes at most, unless a single frame takes longer."""

STOPPING_TIME_S = 1.0
"""Within this time after a stop all is at rest: waits end in milliseconds, computing on a busy machine later."""

_FIELD = Region(y_m=0.0, x_m=0.0, height_m=FIELD_M, width_m=FIELD_M)


def simulated_microscope(settings: Mapping[str, object], blanker: Blanker) -> Instrument:
    """Return a simulated microscope, the plugin `simulator`.

    Parameters
    ----------
    settings
        Keys of `MicroscopeSettings`; an empty mapping will do.
    blanker
        Must be open whenever it exposes.

    Raises
    ------
    SettingsInvalid
        If a key or value is wrong; the message names the nearest key.
    UnknownName
        If `start` names a parameter that does not exist.
    LimitRefused
        If `start` leaves the limits.
    """
    return Microscope(checked(settings, MicroscopeSettings, "simulator"), blanker)


class Microscope:
    """The simulated microscope as an `Instrument`; for one thread.

    Parameters
    ----------
    settings
        What it is like.
    blanker
        Must be open whenever it exposes.
    """

    def __init__(self, settings: MicroscopeSettings, blanker: Blanker) -> None:
        self._settings = settings
        self._blanker = blanker
        self._clock = VirtualClock(settings.pace)
        self._values = {parameter.name: parameter.value for parameter in PARAMETERS}
        self._stage = Stage(settings.drift_m_per_s, np.random.default_rng([settings.seed, 3]))
        self._damage = Damage(settings.critical_dose_per_m2)
        self._electrons = 0.0
        self._info = self._described()
        self._limits = Limits(self._info)
        invisible = settings.seed if settings.invisible_seed is None else settings.invisible_seed
        self._signals = Signals(grown_specimen(settings.seed, invisible))
        if settings.start:
            self._limits.check(SetParameters(values=settings.start))
            self._set(settings.start)

    def describe(self) -> InstrumentInfo:
        """Return what the microscope is, with the present values of its parameters."""
        return self._info

    def write(self, values: Mapping[str, float]) -> float:
        """Set parameters; return the instrument seconds until stage and lenses have settled.

        Raises
        ------
        PlanInvalid
            If a value is not a finite number, or none is given.
        UnknownName, LimitRefused
            If a parameter does not exist or would leave its limits; then none is set.
        MotionHalted
            If the line was halted before it had settled: the stage stands where it was then, lenses are
            set. A clock without pace waits for nothing, so only a halt before the move ends it.
        """
        self._limits.check(plan_from({"kind": "set", "values": dict(values)}))
        target = {**self._values, **values}
        position = np.array([target["stage_y_m"], target["stage_x_m"]])
        seconds = self._stage.seconds_to(position)
        if any(not name.startswith("stage") and values[name] != self._values[name] for name in values):
            seconds = max(seconds, OPTICS_SETTLE_S)
        passed = 0.0 if self._blanker.is_halted() else self._clock.advance(seconds, self._blanker.is_halted)
        if passed < seconds:
            raise self._stopped_after(passed, position, values)
        self._set(values)
        return seconds

    def _stopped_after(self, seconds: float, position: Reals, values: Mapping[str, float]) -> MotionHalted:
        """Let the stage stand where a halted move has brought it; return what to say."""
        at = self._stage.reached(position, seconds)
        there = {"stage_y_m": float(at[0]), "stage_x_m": float(at[1])}
        self._set({**values, **there} if seconds else there)
        where = ", ".join(f"{name} = {value:.6g}" for name, value in there.items())
        return MotionHalted(
            f"the move to y = {position[0]:.6g} m, x = {position[1]:.6g} m was halted after {seconds:.3g} s; the stage "
            f"stands at {where}. Arm the instrument, read its position, and move again"
        )

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        """Return the header of the scan this plan asks for; expose nothing yet.

        Raises
        ------
        UnknownName
            If there is no such detector.
        LimitRefused
            If a position or the dwell is out of range, or the probe is too wide to be computed.
        """
        self._limits.check(plan)
        probe = self._probe(self._values)
        if probe.spread_m > 0.4 * WINDOW_M:
            raise LimitRefused(
                f"the probe would be {probe.spread_m * 1e9:.2f} nm wide (radius); this microscope forms probes up to "
                f"{0.4 * WINDOW_M * 1e9:.2f} nm: bring defocus_m and the aberrations nearer to 0, "
                "or change semi_angle_rad"
            )
        detector = self._info.detector(plan.detector)
        return Scan(
            scan_id=scan_id,
            measurement_id=measurement_id,
            receiver=receiver,
            detector=detector.name,
            scan_axes=plan.axes(_FIELD),
            frame_axes=detector.frame_axes,
            dtype=EXPECTED_DTYPE if plan.expected else detector.dtype,
            dwell_s=plan.dwell_s,
            quantity=detector.quantity,
            units=detector.units,
            expected=plan.expected,
            simulated=True,
            state=dict(self._values),
            started_s=self._clock.now_s(),
        )

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        """Expose and yield the frames of a scan, up to 1 MiB at a time.

        Raises
        ------
        BeamBlanked
            If the beam is blanked at the start, before a batch, or while one is exposed; a batch
            that was cut short is charged for the part that was exposed, and not given.
        """
        return self._expectation(plan, scan) if plan.expected else self._exposure(plan, scan)

    def now_s(self) -> float:
        """Return the virtual clock in seconds."""
        return self._clock.now_s()

    def dose_electrons(self) -> float:
        """Return all electrons that reached the specimen."""
        return self._electrons

    def close(self) -> None:
        """Release everything; a simulator holds nothing."""

    def _described(self) -> InstrumentInfo:
        return InstrumentInfo(
            name=self._settings.name,
            source="simulator",
            simulated=True,
            field=_FIELD,
            parameters=tuple(p.model_copy(update={"value": self._values[p.name]}) for p in PARAMETERS),
            detectors=tuple(d.model_copy(update={"pausable": self._settings.pausable}) for d in DETECTORS),
            overview=HAADF.name,
            expects=True,
            stopping_time_s=STOPPING_TIME_S,
            stage=STAGE,
            beam_current=BEAM_CURRENT,
            timing=TIMING,
            blanks_between=True,
            doc="virtual STEM: particles on a carbon film with a hidden iron content",
        )

    def _set(self, values: Mapping[str, float]) -> None:
        self._values.update({name: float(value) for name, value in values.items()})
        position = np.array([self._values["stage_y_m"], self._values["stage_x_m"]])
        if np.any(position != self._stage.position):
            self._stage.arrive(position, self._clock.now_s())
        self._info = self._described()

    def _probe(self, state: Mapping[str, float]) -> Probe:
        return probe_of(state, self._settings.soft_aperture)

    def _expectation(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        signal = self._signals.of(scan.detector, self._probe(scan.state))
        positions = plan.positions(_FIELD)
        points = positions + np.array([scan.state["stage_y_m"], scan.state["stage_x_m"]])
        electrons = np.float32(_electrons(scan))
        size = max(1, block_size(self._info.detector(scan.detector)) // 2)
        for first in range(0, len(points), size):
            rows = np.arange(first, min(first + size, len(points)))
            frames = (signal(points[rows], np.ones(len(rows))) * electrons).astype(scan.dtype)
            yield FrameBatch(scan.scan_id, rows, positions[rows], frames)

    def _exposure(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        self._require_beam(scan, 0)
        probe, detector = self._probe(scan.state), self._info.detector(scan.detector)
        signal, noise = self._signals.of(scan.detector, probe), Noise(self._settings.seed, scan.measurement_id)
        positions, times, electrons = plan.positions(_FIELD), timetable(plan), _electrons(scan)
        points = positions + self._stage.offset(self._clock.now_s() + times.begins)
        # Damage done before the scan counts, and each frame's own; so no frame depends on how others are batched.
        fading = self._damage.fading(points, electrons, probe.spread_m / 2)
        size, passed = block_size(detector), 0.0
        for first in range(0, len(points), size):
            began = self._clock.real_s()
            block = np.arange(first, min(first + size, len(points)))
            expected = signal(points[block], fading[block]) * electrons
            frames = counted(expected, noise.generator(first // size), scan.dtype)
            for rows in self._portions(block, times):
                self._require_beam(scan, int(rows[0]))
                seconds = float(times.ends[rows[-1]]) - passed
                exposed = self._clock.advance(seconds, lambda: not self._blanker.is_open(), began) / seconds
                self._expose(points[rows], electrons * exposed, probe)
                self._require_beam(scan, int(rows[0]))
                passed, began = float(times.ends[rows[-1]]), self._clock.real_s()
                yield FrameBatch(scan.scan_id, rows, positions[rows], frames[rows - first])

    def _portions(self, block: NDArray[np.int64], times: Timetable) -> list[NDArray[np.int64]]:
        """Return a block in parts short enough to be stopped between; whole where the clock does not wait."""
        if self._clock.pace == 0:
            return [block]
        turns = np.floor(times.ends[block] / LONGEST_BATCH_S)
        return np.split(block, np.flatnonzero(np.diff(turns)) + 1)

    def _expose(self, points: Reals, electrons: float, probe: Probe) -> None:
        self._electrons += electrons * len(points)
        self._damage.add(points, electrons, probe.spread_m / 2)

    def _require_beam(self, scan: Scan, frame: int) -> None:
        state = self._blanker.is_open()
        if state is not True:
            found = "is blanked" if state is False else "cannot be read back"
            raise BeamBlanked(
                f"scan {scan.scan_id} needs the beam for frame {frame} of {scan.n_frames}, but the blanker {found}; "
                "arm the instrument and open the beam to expose"
            )


def _electrons(scan: Scan) -> float:
    """Return how many electrons the probe carries during one dwell."""
    return scan.state["beam_current_a"] * scan.dwell_s / si.e
