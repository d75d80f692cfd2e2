"""The five contracts that plugins fulfil: instrument, blanker, reduction, surrogate, policy.

Each has one contract test under `tests/` that every implementation passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .decision import Prediction, Suggestion
from .frame import FrameBatch, Measurement, Scan
from .instrument import InstrumentInfo
from .plan import Acquisition
from .signal import Signal

Buffers = dict[str, NDArray]
"""Named result buffers of one reduction."""


class Instrument(Protocol):
    """The driver's side of an instrument; lives in the driver process, called from one thread.

    A factory registered under `beamloop.instruments` takes the configuration's settings and
    the blanker: `factory(settings: Mapping[str, object], blanker: Blanker) -> Instrument`.
    Plans reach it only after the limits were checked.
    """

    def describe(self) -> InstrumentInfo:
        """Return what the instrument is, with the present values of its parameters."""
        ...

    def write(self, values: Mapping[str, float]) -> float:
        """Set parameters and wait until they are reached; return the instrument seconds it took.

        Raises
        ------
        MotionHalted
            If the blanker's line was halted meanwhile; what moves was stopped where it was, and
            `describe` tells where that is.
        """
        ...

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        """Return the header of the scan this plan asks for; expose nothing yet.

        Raises
        ------
        BeamloopError
            If the plan cannot be done, for example `NotRecorded`.
        """
        ...

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        """Expose and yield the frames, a batch of 0.5-2 MiB at a time; leave the loop at any time.

        Raises
        ------
        BeamBlanked
            If the beam went dark while it was needed.
        """
        ...

    def now_s(self) -> float:
        """Return the instrument's clock in seconds; a simulator's is virtual."""
        ...

    def dose_electrons(self) -> float:
        """Return all electrons that reached the specimen since the driver started."""
        ...

    def close(self) -> None:
        """Release the hardware or the file."""
        ...


@runtime_checkable
class Blanker(Protocol):
    """The way to a dark beam and to a standstill that works while the driver hangs: a line of its own.

    A factory registered under `beamloop.blankers` takes a folder that guard and driver
    share: `factory(folder: Path) -> Blanker`. The guard imports it, so it must be light.
    A line that can only blank derives from this class and inherits the rest: then a stop does
    not reach what moves, and its motion is reported as unknown.
    """

    def open(self) -> None:
        """Let the beam through."""
        ...

    def close(self) -> None:
        """Blank the beam; must never raise and never wait."""
        ...

    def is_open(self) -> bool | None:
        """Read back whether the beam is through; None if that cannot be known."""
        ...

    def halt(self) -> None:
        """Stop whatever moves and hold it until `free`; must never raise and never wait."""
        return

    def free(self) -> None:
        """Let things move again."""
        return

    def is_halted(self) -> bool:
        """Tell whether nothing may move; a driver looks at it before and during every move."""
        return False

    def moves(self, moving: bool) -> None:
        """Say, from the driver, that a move begins or is over; for a line that cannot see it by itself."""
        return

    def is_moving(self) -> bool | None:
        """Read back whether anything moves; None if that cannot be known."""
        return None


class Reduction(Protocol):
    """What to compute from frames; an immutable description, its numbers live in buffers.

    Buffers whose first axis is the flat scan index are per position (`nav`), others are
    per detector pixel (`sig`) or single.
    """

    def empty(self, scan: Scan) -> Buffers:
        """Return the buffers before any frame.

        Raises
        ------
        FrameShapeWrong
            If the reduction does not fit the scan's frames.
        """
        ...

    def add(self, buffers: Buffers, batch: FrameBatch) -> None:
        """Add some frames, in place; every frame comes once, in any order."""
        ...

    def merge(self, left: Buffers, right: Buffers) -> Buffers:
        """Return the buffers of both parts together; the parts share no frame."""
        ...

    def result(self, scan: Scan, buffers: Buffers) -> dict[str, Signal]:
        """Return the results so far, by name, with calibrated axes."""
        ...


class Surrogate(Protocol):
    """A belief about the property over a fixed set of candidates.

    Built from the candidates' coordinates or features, shape (m, d). Rows are candidate
    indices, shape (n,); values and std have shape (n,); a std of nan means "learn it".
    """

    def fit(self, rows: NDArray[np.intp], values: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        """Learn hyperparameters and belief from all data anew."""
        ...

    def update(self, row: int, value: float, std: float) -> None:
        """Add one measurement; hyperparameters stay."""
        ...

    def predict(self) -> Prediction:
        """Return the belief at all m candidates.

        Raises
        ------
        NotEnoughData
            Before the first fit.
        """
        ...


class Policy(Protocol):
    """Chooses where to measure next. Same seed and same calls give the same choices.

    A factory registered under `beamloop.policies` takes the pool, a seed and the policy's
    own settings: `factory(pool: Pool, seed: int, **settings) -> Policy`.
    """

    def observe(self, measurement: Measurement) -> None:
        """Learn from one finished measurement."""
        ...

    def suggest(self, taken: Collection[int], closed: Collection[int] = ()) -> Suggestion | None:
        """Return the next candidate that is neither measured nor in `taken`; None if none is left.

        `taken` holds candidates that are being measured, were refused, or failed; `closed` those that are not to be
        measured at all, because their dose is used up. A policy may foretell what comes of the first, not of these.
        """
        ...

    def belief(self) -> Prediction | None:
        """Return the present belief over the pool; None if this policy has none (yet)."""
        ...
