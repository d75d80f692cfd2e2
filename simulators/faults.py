"""An instrument that misbehaves as vendors' software does, to rehearse what then happens: the plugin `chaos`.

It wraps any other instrument plugin and passes everything on, until one of its faults strikes: it hangs (also with
Python's interpreter lock held), raises, dies, is slow, lies about its state, gives frames that are NaN, of another
shape or type, too few, too many or old ones, has a stage that does not move, or does not stop when it is told.
Faults are written in the configuration, strike at a stated occasion or by chance, and chance comes from a seed.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..core.frame import FrameBatch, Scan
from ..core.frozen import Frozen
from ..core.instrument import InstrumentInfo
from ..core.plan import Acquisition
from ..core.protocols import Blanker, Instrument
from ..core.registry import INSTRUMENTS, find
from ..core.settings import checked

Kind = Literal[
    "hang", "slow", "raise", "die", "lie", "nan", "shape", "dtype", "few", "many", "stale", "stuck", "deaf"
]  # fmt: skip
Place = Literal["write", "begin", "frames", "describe", "close"]

_PLACES: Mapping[Kind, Place] = {"stuck": "write", "lie": "describe"}
"""Where a fault strikes that can strike in one place only; others name it, or strike in `frames`."""


class Fault(Frozen):
    """One thing that goes wrong.

    Attributes
    ----------
    kind
        `hang` (waits `for_s`), `slow` (waits `for_s` before every batch), `raise`, `die` (the driver's process ends),
        `lie` (false parameter values, no dose), `nan`, `shape`, `dtype` (frames that are not what was announced),
        `few` (ends early as if all were well), `many` (the last batch comes twice), `stale` (frames of the
        acquisition before), `stuck` (a move is confirmed and not made), `deaf` (goes on for `for_s` when it should
        end).
    place
        Where `hang`, `raise` and `die` strike: in `write`, `begin`, `frames`, `describe` or `close`.
    at
        Strikes the so-many-th time that this place is reached, counted from 1; None leaves it to chance.
    chance
        How likely it strikes each time, where `at` is not given.
    frame
        In an acquisition, strikes when so many frames have been given.
    for_s
        How long it lasts, real seconds.
    holds_lock
        Whether it hangs with the interpreter lock held, so that no other thread of the driver runs.
    """

    kind: Kind
    place: Place = "frames"
    at: PositiveInt | None = None
    chance: float = Field(default=0.0, ge=0.0, le=1.0)
    frame: NonNegativeInt = 0
    for_s: NonNegativeFloat = 2.0
    holds_lock: bool = False

    @property
    def where(self) -> Place:
        """Where it strikes."""
        return _PLACES.get(self.kind, self.place)


class ChaosSettings(Frozen):
    """What misbehaves, and how.

    Attributes
    ----------
    plugin, settings
        The instrument that is wrapped, by its name under `beamloop.instruments`, and its own settings.
    seed
        Where chance comes from.
    faults
        What goes wrong.
    """

    plugin: str = "simulator"
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: NonNegativeInt = 0
    faults: tuple[Fault, ...] = ()


class VendorError(RuntimeError):
    """What the misbehaving instrument raises; no error of ours, as a vendor's would be."""


def chaos(settings: Mapping[str, object], blanker: Blanker) -> Instrument:
    """Return an instrument that misbehaves, the plugin `chaos`.

    Parameters
    ----------
    settings
        Keys of `ChaosSettings`.
    blanker
        Given to the instrument that is wrapped.

    Raises
    ------
    SettingsInvalid
        If a key or value is wrong; the message names the nearest key.
    BeamloopError
        As the wrapped plugin.
    """
    asked = checked(settings, ChaosSettings, "chaos")
    return Chaos(find(INSTRUMENTS, asked.plugin)(asked.settings, blanker), asked)


class Chaos:
    """An `Instrument` that passes everything on to another, until a fault strikes; for one thread.

    Parameters
    ----------
    instrument
        What is wrapped.
    settings
        What goes wrong.
    """

    def __init__(self, instrument: Instrument, settings: ChaosSettings) -> None:
        self._instrument, self._faults = instrument, settings.faults
        self._dice = random.Random(settings.seed)
        self._times: Counter[Place] = Counter()
        self._announced: Scan | None = None
        self._last: FrameBatch | None = None
        self._lies = False

    def describe(self) -> InstrumentInfo:
        """Return the instrument's description, with false values if it lies."""
        self._lies = bool(self._struck("describe"))
        info = self._instrument.describe()
        if not self._lies:
            return info
        false = (p.model_copy(update={"value": self._dice.uniform(p.low, p.high)}) for p in info.parameters)
        return info.model_copy(update={"parameters": tuple(false)})

    def write(self, values: Mapping[str, float]) -> float:
        """Set parameters, or say so."""
        struck = self._struck("write")
        return 0.0 if "stuck" in {fault.kind for fault in struck} else self._instrument.write(values)

    def begin(self, plan: Acquisition, scan_id: str, measurement_id: str, receiver: str) -> Scan:
        """Return the header of the scan that is asked for."""
        self._struck("begin")
        self._announced = self._instrument.begin(plan, scan_id, measurement_id, receiver)
        return self._announced

    def frames(self, plan: Acquisition, scan: Scan) -> Iterator[FrameBatch]:
        """Give the frames, and everything that is wrong with them."""
        drawn, given, batch = self._drawn("frames"), 0, None
        deaf_s = max((fault.for_s for fault in drawn if fault.kind == "deaf"), default=0.0)
        waiting = [fault for fault in drawn if fault.kind != "deaf"]
        try:
            for batch in self._instrument.frames(plan, scan):
                due = [fault for fault in waiting if given + len(batch.indices) > fault.frame]
                waiting = [fault for fault in waiting if fault not in due or fault.kind in _LASTING]
                for fault in due:
                    _strike(fault)
                if any(fault.kind == "few" for fault in due):
                    return
                yield self._spoilt(batch, {fault.kind for fault in due})
                given += len(batch.indices)
                deaf_s = deaf_s if given < scan.n_frames else 0.0
            if batch is not None and any(fault.kind == "many" for fault in drawn):
                yield batch
        finally:
            self._last = batch
            # Also when the driver leaves the loop: what hears nothing goes on.
            time.sleep(deaf_s)

    def now_s(self) -> float:
        """Return the instrument's clock in seconds."""
        return self._instrument.now_s()

    def dose_electrons(self) -> float:
        """Return the dose; none while it lies."""
        return 0.0 if self._lies else self._instrument.dose_electrons()

    def close(self) -> None:
        """Close the instrument that is wrapped."""
        self._struck("close")
        self._instrument.close()

    def _drawn(self, place: Place) -> list[Fault]:
        """Return the faults that strike this time that a place is reached."""
        self._times[place] += 1
        here = [fault for fault in self._faults if fault.where == place]
        return [f for f in here if (f.at == self._times[place] if f.at else self._dice.random() < f.chance)]

    def _struck(self, place: Place) -> list[Fault]:
        drawn = self._drawn(place)
        for fault in drawn:
            _strike(fault)
        return drawn

    def _spoilt(self, batch: FrameBatch, kinds: set[Kind]) -> FrameBatch:
        frames = batch.frames
        if "stale" in kinds and self._last is not None and self._last.frames.shape == frames.shape:
            frames = self._last.frames.astype(frames.dtype)
        if "shape" in kinds:
            frames = frames[..., None]
        if "dtype" in kinds:
            frames = frames.astype(">i8")
        if "nan" in kinds:
            frames = np.full_like(frames, np.nan, dtype=frames.dtype if frames.dtype.kind == "f" else "<f4")
        return replace(batch, frames=frames)


_LASTING = ("slow", "nan", "shape", "dtype", "stale")
"""Faults that last to the end of an acquisition."""


def _strike(fault: Fault) -> None:
    match fault.kind:
        case "hang" | "slow":
            _hang(fault.for_s, fault.holds_lock)
        case "raise":
            raise VendorError("error 0x80004005: the operation could not be completed")
        case "die":
            sys.stderr.write("chaos: the driver dies now\n")
            sys.stderr.flush()
            os._exit(70)
        case _:
            return


def _hang(for_s: float, holds_lock: bool) -> None:
    """Wait; through a PyDLL, as C code does that forgets to let go of the interpreter lock."""
    if not holds_lock:
        time.sleep(for_s)
    elif sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(round(1e3 * for_s))
    else:
        ctypes.PyDLL(None).usleep(round(1e6 * for_s))
