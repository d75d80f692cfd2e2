"""A recorded file played back as an instrument: same commands, same frames, no noise added.

Only what was recorded can be given, so a position between two recorded ones is refused and
never interpolated. Time is virtual: a point costs its dwell on a virtual clock, whatever
dwell it was recorded with. No beam is needed, so the blanker is not asked and the dose is
zero.

Detectors have the names that `streaming.files.Recording` finds: those of a file that
beamloop wrote, and in any other file `spectrum` for its only spectral grid, `diffraction`
for its only grid of frames, and the quantity or title of each image (`height_retrace`, `haadf`).
Files of one session, spectra and the image recorded with them, play back as one instrument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from ..core.errors import NotRecorded, RecordingUnreadable, SettingsInvalid
from ..core.frame import FrameBatch, Scan
from ..core.frozen import Frozen
from ..core.instrument import DetectorInfo, InstrumentInfo, RecordedGrid
from ..core.nearest import nearest
from ..core.plan import Acquisition, GridScan, Region
from ..core.protocols import Blanker, Instrument
from ..core.settings import checked
from ..core.signal import Axis
from ..core.timing import Timing
from ..streaming.files import RecordedDetector, Recording, field_of, open_recording
from .clock import VirtualClock

SNAP = 1e-3
"""Part of a step by which an asked position may miss a recorded one, because of rounding."""

BATCH_BYTES = 1 << 20
"""Frames of one batch together."""

LONGEST_WAIT_S = 0.05
"""Real seconds that one batch may take where the clock has a pace, so that a stop is soon seen."""

LONGEST_DWELL_S = 3600.0

STOPPING_TIME_S = 1.0
"""Within this time after a stop the batch in hand is read, also from a slow file."""


class ReplaySettings(Frozen):
    """Settings of the replay instrument.

    Attributes
    ----------
    file
        The recording; a list of files plays them back together.
    name
        Name of the instrument; None for the file's own.
    pace
        Real seconds per virtual second: 0 does not wait, 1 is real time.
    overview
        Image detector to start from; None for the first image that covers the recorded grid.
    """

    file: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    name: str | None = None
    pace: NonNegativeFloat = 0.0
    overview: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in order."""
        return self.file if isinstance(self.file, tuple) else (self.file,)


def replay(settings: Mapping[str, object], blanker: Blanker) -> Instrument:
    """Return a recording as an instrument; see `ReplaySettings`.

    Raises
    ------
    SettingsInvalid
        If a setting is wrong, or the overview named is no image of this recording.
    RecordingUnreadable
        If a file cannot be read, or holds nothing on a grid.
    NotInstalled
        If a file needs a package that is not installed.
    """
    wanted = checked(settings, ReplaySettings, "settings of the replay instrument")
    recording = open_recording(*wanted.files)
    try:
        return Replay(recording, wanted, VirtualClock(pace=wanted.pace))
    except (SettingsInvalid, RecordingUnreadable):
        recording.close()
        raise


class Replay:
    """A recording as an instrument; for one thread, owns the recording.

    Parameters
    ----------
    recording
        What to play back.
    settings
        Name and overview.
    clock
        Counts dwell.

    Raises
    ------
    SettingsInvalid
        If the overview named is no image of this recording.
    """

    def __init__(self, recording: Recording, settings: ReplaySettings, clock: VirtualClock) -> None:
        self._recording = recording
        self._clock = clock
        self._field = field_of(recording.main)
        self._playable = {d.name: d for d in recording.detectors if _misfit(d, self._field) <= 0.5}
        self._info = self._described(settings)

    def describe(self) -> InstrumentInfo:
        """Return what was recorded: its detectors, grid and field of view; there are no parameters."""
        return self._info

    def write(self, values: Mapping[str, float]) -> float:
        """Refuse: a recording has nothing to set.

        Raises
        ------
        UnknownName
            Naming the parameter asked for.
        """
        for name in values:
            self._info.parameter(name)
        return 0.0

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        """Return the header of a scan over recorded positions.

        Raises
        ------
        NotRecorded
            If a position is not a recorded one; the message names the nearest, and the tolerance.
        UnknownName
            If there is no such detector.
        """
        recorded = self._recorded(plan.detector)
        self._indices(plan, recorded)
        own = _whole(plan, recorded) and _misfit(recorded, self._field) > SNAP
        return Scan(
            scan_id=scan_id,
            measurement_id=measurement_id,
            receiver=receiver,
            detector=recorded.name,
            scan_axes=(recorded.y, recorded.x) if own else plan.axes(self._field),
            frame_axes=recorded.frame_axes,
            dtype=recorded.dtype,
            dwell_s=plan.dwell_s,
            quantity=recorded.quantity,
            units=recorded.units,
            expected=plan.expected,
            simulated=recorded.simulated,
            started_s=self._clock.now_s(),
        )

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        """Yield the recorded frames, batch by batch, and let their dwell pass; an expectation takes no time.

        Raises
        ------
        RecordingUnreadable
            If the file is damaged there.
        """
        recorded = self._recorded(plan.detector)
        indices = self._indices(plan, recorded)
        positions = _positions(recorded)
        n = self._frames_together(plan, recorded)
        for start in range(0, len(indices), n):
            chosen = indices[start : start + n]
            began_s = self._clock.real_s()
            frames = recorded.frames(chosen)
            if not plan.expected:
                self._clock.advance(plan.dwell_s * len(chosen), since_real_s=began_s)
            yield FrameBatch(scan.scan_id, np.arange(start, start + len(chosen)), positions[chosen], frames)

    def now_s(self) -> float:
        """Return the virtual seconds of dwell since the start."""
        return self._clock.now_s()

    def dose_electrons(self) -> float:
        """Return 0: playing back exposes nothing."""
        return 0.0

    def close(self) -> None:
        """Close the files."""
        self._recording.close()

    def _recorded(self, name: str) -> RecordedDetector:
        return self._playable[self._info.detector(name).name]

    def _indices(self, plan: Acquisition, recorded: RecordedDetector) -> NDArray[np.int64]:
        """Return the flat index in the recorded grid of each position of a plan, shape (n,)."""
        if _whole(plan, recorded):
            indices = np.arange(recorded.valid.size)
        else:
            indices = _snapped(plan, plan.positions(self._field), recorded)
        missing = indices[~recorded.valid.ravel()[indices]]
        if len(missing):
            y, x = _positions(recorded)[missing[0]]
            raise NotRecorded(
                f"{len(missing)} of {len(indices)} positions hold no frame of {recorded.name}, the first at "
                f"y = {y:g} m, x = {x:g} m: the recording ended before they were measured; ask for others"
            )
        return indices

    def _frames_together(self, plan: Acquisition, recorded: RecordedDetector) -> int:
        frame_bytes = np.dtype(recorded.dtype).itemsize * int(np.prod(recorded.frame_shape, dtype=np.int64))
        most = max(1, BATCH_BYTES // frame_bytes)
        real_s = plan.dwell_s * self._clock.pace
        return most if plan.expected or real_s == 0 else max(1, min(most, int(LONGEST_WAIT_S / real_s)))

    def _described(self, settings: ReplaySettings) -> InstrumentInfo:
        paths = self._recording.paths
        together = " + ".join(path.name for path in paths)
        images = [name for name, d in self._playable.items() if d.kind == "image"]
        overview = settings.overview or _first_covering(self._recording, images)
        if settings.overview is not None and settings.overview not in images:
            raise SettingsInvalid(
                f"overview = {settings.overview!r}: no such image in {together}{nearest(settings.overview, images)}"
            )
        left_out = [d.name for d in self._recording.detectors if d.name not in self._playable]
        notes = [*self._recording.notes, *(f"{name} lies elsewhere and is left out" for name in left_out)]
        return InstrumentInfo(
            name=settings.name or paths[0].stem,
            source="recording",
            simulated=any(d.simulated for d in self._playable.values()),
            field=self._field,
            parameters=(),
            detectors=tuple(_detector_info(d) for d in self._playable.values()),
            overview=overview,
            expects=True,
            stopping_time_s=STOPPING_TIME_S,
            counts_dose=False,
            timing=Timing(settle_s=0.0, flyback_s=0.0, jump_s=0.0),
            doc="; ".join([f"{together} played back", *notes]),
        )


def _misfit(recorded: RecordedDetector, field: Region) -> float:
    """Return by how many steps, at most, a detector's own grid is off the grid of its shape over the field."""
    return max(
        float(np.abs(mine.coordinates() - theirs.coordinates()).max()) / theirs.scale
        for mine, theirs in zip((recorded.y, recorded.x), field.grid(recorded.shape), strict=True)
    )


def _first_covering(recording: Recording, images: list[str]) -> str | None:
    found = recording.overview
    return found.name if found is not None and found.name in images else None


def _detector_info(recorded: RecordedDetector) -> DetectorInfo:
    return DetectorInfo(
        name=recorded.name,
        frame_axes=recorded.frame_axes,
        quantity=recorded.quantity,
        units=recorded.units,
        dtype=recorded.dtype,
        longest_dwell_s=LONGEST_DWELL_S,
        grid=RecordedGrid(y=recorded.y, x=recorded.x),
        doc=f"{recorded.shape[0]} x {recorded.shape[1]} recorded positions of {recorded.path}",
    )


def _whole(plan: Acquisition, recorded: RecordedDetector) -> bool:
    """Tell whether a plan asks for everything that was recorded, in its own order."""
    return isinstance(plan, GridScan) and plan.region is None and plan.shape == recorded.shape


def _positions(recorded: RecordedDetector) -> NDArray[np.float64]:
    """Return every recorded position, `(y, x)` in metres, shape (ny * nx, 2)."""
    rows, columns = np.meshgrid(recorded.y.coordinates(), recorded.x.coordinates(), indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])


def _snapped(plan: Acquisition, positions: NDArray[np.float64], recorded: RecordedDetector) -> NDArray[np.int64]:
    steps = np.stack(
        [(positions[:, i] - axis.offset) / axis.scale for i, axis in enumerate((recorded.y, recorded.x))], axis=1
    )
    cells = np.clip(np.rint(steps), 0, np.array(recorded.shape) - 1).astype(np.int64)
    off = np.abs(steps - cells).max(axis=1)
    if (off > SNAP).any():
        index = int((off > SNAP).argmax())
        raise NotRecorded(_refusal(plan, index, positions[index], cells[index], recorded))
    return cells[:, 0] * recorded.shape[1] + cells[:, 1]


def _refusal(
    plan: Acquisition,
    index: int,
    position: NDArray[np.float64],
    cell: NDArray[np.int64],
    recorded: RecordedDetector,
) -> str:
    asked = f" of the {plan.shape[0]} x {plan.shape[1]} grid" if isinstance(plan, GridScan) else ""
    place = [_at(axis, int(i)) for axis, i in zip((recorded.y, recorded.x), cell, strict=True)]
    return (
        f"position {index}{asked} at y = {position[0]:g} m, x = {position[1]:g} m was not recorded; the nearest that "
        f"was is y = {place[0]:.9g} m, x = {place[1]:.9g} m (within {SNAP:g} of a step counts as there). "
        f"{recorded.name} has {recorded.shape[0]} x {recorded.shape[1]} positions in steps of "
        f"{recorded.y.scale:g} m, {recorded.x.scale:g} m"
    )


def _at(axis: Axis, i: int) -> float:
    return axis.offset + axis.scale * i
