"""How an instrument describes itself, so that a client can show it and stay within it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveFloat, model_validator

from .errors import UnknownName
from .frozen import Frozen
from .nearest import nearest
from .plan import Region
from .signal import Axis
from .timing import Timing


class Parameter(Frozen):
    """One thing about the instrument that has a value.

    Attributes
    ----------
    name
        Name with its unit as suffix, for example `defocus_m`.
    units
        SI units, spelt out.
    value
        Value at the time of the description.
    low, high
        Limits, both inclusive; a value outside is refused, never clamped.
    rate_per_s
        How far it may go within any second; None for any distance.
    step
        How far one command may take it; None for any distance.
    writable
        Whether a client may set it.
    doc
        One line for a person.
    """

    name: str
    units: str
    value: float
    low: float
    high: float
    rate_per_s: PositiveFloat | None = None
    step: PositiveFloat | None = None
    writable: bool = True
    doc: str = ""


class RecordedGrid(Frozen):
    """The only positions that a recording can give, as axes `(y, x)` in metres."""

    y: Axis
    x: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """Positions `(ny, nx)`."""
        return (self.y.size, self.x.size)


class DetectorInfo(Frozen):
    """What one detector gives at one position.

    Attributes
    ----------
    name, quantity, units, dtype
        Its name, what its numbers measure, in which units and numpy dtype.
    frame_axes
        Axes of one frame: none for an image detector, one for a spectrometer, two for a camera.
    shortest_dwell_s, longest_dwell_s
        Limits of the exposure.
    grid
        The only positions that it can give, if it is a recording's; None where any will do.
    pausable
        Whether it can wait between batches. One that cannot, as a camera that hardware triggers, loses frames
        when nobody takes them, and tells which.
    doc
        One line for a person.
    """

    name: str
    frame_axes: tuple[Axis, ...] = ()
    quantity: str = "intensity"
    units: str = "counts"
    dtype: str = "<u2"
    shortest_dwell_s: PositiveFloat = 1e-7
    longest_dwell_s: PositiveFloat = 10.0
    grid: RecordedGrid | None = None
    pausable: bool = True
    doc: str = ""


_ONE_PROCESS = (
    "REDUCED GUARANTEE: driver and server share one process. A stop still goes to the guard, a process of its own, and "
    "blanks; but while the driver holds the interpreter nothing else is answered, the beam goes dark by the server's "
    "silence, a scan's end is confirmed late, and a driver that crashes takes the server with it"
)


class InstrumentInfo(Frozen):
    """What an instrument is.

    Attributes
    ----------
    name
        Its name.
    source
        `hardware`, `simulator`, or `recording` (a file played back).
    simulated
        Whether no specimen was ever looked at: a simulator, or a recording of one.
    field
        Field of view: where positions may lie.
    parameters, detectors
        What can be set and read.
    overview
        Detector that gives the picture to start from; None if there is none.
    expects
        Whether it can give noise-free expectations.
    stopping_time_s
        Within this time after a stop, everything is at rest.
    stage
        The parameters `(y, x)` that move the specimen under the field of view; None if none does.
    beam_current
        The parameter that is the current in the probe, in amperes; None if there is none.
    counts_dose
        Whether its count of electrons is a measurement of its own; if not, exposure times current stands for it.
    timing
        How long its scans take beside the exposure; None if it does not say.
    blanks_between
        Whether the beam may be blanked between two batches of a scan and opened again, without harm to the next:
        done while frames wait for room. If not, the beam stays as the driver leaves it meanwhile.
    processes
        `separate`: driver and server are processes of their own. `one`: they share one, see `guarantee`.
    doc
        One line for a person.
    """

    name: str
    source: Literal["hardware", "simulator", "recording"]
    simulated: bool = False
    field: Region
    parameters: tuple[Parameter, ...]
    detectors: tuple[DetectorInfo, ...]
    overview: str | None = None
    expects: bool = False
    stopping_time_s: PositiveFloat = 0.1
    stage: tuple[str, str] | None = None
    beam_current: str | None = None
    counts_dose: bool = True
    timing: Timing | None = None
    blanks_between: bool = False
    processes: Literal["separate", "one"] = "separate"
    doc: str = ""

    @model_validator(mode="after")
    def _has_what_it_names(self) -> Self:
        known = {parameter.name for parameter in self.parameters}
        for name in (*(self.stage or ()), *([self.beam_current] if self.beam_current else [])):
            if name not in known:
                raise ValueError(f"stage and beam_current name parameters, and there is no {name!r}")
        return self

    @property
    def guarantee(self) -> str:
        """What is not promised here that elsewhere is; empty where nothing is given up."""
        return "" if self.processes == "separate" else _ONE_PROCESS

    def detector(self, name: str) -> DetectorInfo:
        """Return the detector of this name.

        Raises
        ------
        UnknownName
            If there is none; the message names the nearest.
        """
        found = {detector.name: detector for detector in self.detectors}
        if name not in found:
            raise UnknownName(f"{self.name} has no detector {name!r}{nearest(name, found)}")
        return found[name]

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of this name.

        Raises
        ------
        UnknownName
            If there is none; the message names the nearest.
        """
        found = {parameter.name: parameter for parameter in self.parameters}
        if name not in found:
            raise UnknownName(f"{self.name} has no parameter {name!r}{nearest(name, found)}")
        return found[name]
