"""The scans of a run that are no steps of its loop: the overview before, the truth after.

Both are in the journal before they are asked for, with the checksum of what came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..active_learning.loop import REPEAT
from ..core import BeamloopError, GridScan, ScanIncomplete, Signal
from ..streaming.incoming import IncomingScan, collect
from .charge import Charge
from .instrument import LONGEST_WAIT_S, RemoteInstrument
from .measuring import CUT_OFF, NEVER_BEGUN
from .preparation import Preparation
from .record.checksum import digest
from .record.events import Acquired, Asked, Interrupted
from .record.journal import Entry, Journal
from .record.keeping import KeptJournal
from .record.run_file import RunFile

Kind = TypeVar("Kind", Asked, Acquired)

MISSED = 0.01
"""Part of a step by which an expectation may lie beside its candidate."""


class SideScans:
    """Overview and truth of one run.

    Parameters
    ----------
    instrument
        Where, with the lease held.
    prepared
        The experiment made concrete.
    journal
        Where they are written down.
    asker
        Unique name of this run, from which its requests are named.
    past
        What the journal told before; what arrived is not asked for again.
    """

    def __init__(
        self,
        instrument: RemoteInstrument,
        prepared: Preparation,
        journal: Journal | KeptJournal,
        asker: str,
        past: Sequence[Entry] = (),
    ) -> None:
        self._instrument, self._prepared, self._journal = instrument, prepared, journal
        self._asker, self._past = asker, past

    @property
    def has_overview(self) -> bool:
        """Whether the journal tells that the first picture was taken."""
        return self._latest("overview", Acquired) is not None

    def overview(self, file: RunFile) -> Signal | None:
        """Take the first picture and keep it in the run file; None where the experiment wants none.

        One that an earlier process asked for is asked for again under its own name; only if the
        instrument does not know how that ended, it is taken anew.

        Raises
        ------
        BeamloopError
            If it is refused or does not come whole.
        """
        plan = self._prepared.overview
        if plan is None:
            return None
        taken = self._latest("overview", Acquired)
        if taken is not None:
            kept = file.overview()
            # A file's axes are rounded by their nm, and the features must come out to the last bit as they did.
            return None if kept is None else replace(kept, axes=taken.scan.scan_axes)
        before = self._latest("overview", Asked)
        if before is not None:
            try:
                return self._taken(file, plan, before)
            except (*CUT_OFF, *NEVER_BEGUN) as error:
                self._journal.write(self._interrupted(before, plan, error))
        return self._taken(file, plan, self._asked("overview"))

    def truth(self) -> NDArray[np.float64]:
        """Return the noise-free property at every candidate, shape (m,), at no dose.

        Raises
        ------
        BeamloopError
            If it is refused, does not come whole, or comes at other places.
        """
        asked = self._asked("truth")
        incoming = self._instrument.start(self._prepared.expectation(), asked.measurement_id, asked.request_id)
        try:
            values = self._expected(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        self._settled("truth", incoming, values)
        incoming.stored()
        return values

    def _taken(self, file: RunFile, plan: GridScan, asked: Asked) -> Signal:
        incoming = self._instrument.start(plan, asked.measurement_id, asked.request_id)
        try:
            signal = collect(incoming, LONGEST_WAIT_S, allow_incomplete=True)
            self._instrument.require_whole(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        file.put_overview(signal)
        self._settled("overview", incoming, signal.data)
        incoming.stored()
        return signal

    def _interrupted(self, asked: Asked, plan: GridScan, error: BeamloopError) -> Interrupted:
        begun, exposed_s = not isinstance(error, NEVER_BEGUN), plan.dwell_s * plan.shape[0] * plan.shape[1]
        electrons, duration_s = Charge().most(exposed_s, self._instrument) if begun else (0.0, 0.0)
        return Interrupted(
            measurement_id=asked.measurement_id, reason=f"{type(error).__name__}: {error}", electrons=electrons,
            duration_s=duration_s, estimated=begun,
        )  # fmt: skip

    def _latest(self, name: str, kind: type[Kind]) -> Kind | None:
        found = (e.event for e in reversed(self._past) if isinstance(e.event, kind))
        return next((event for event in found if event.name == name), None)

    def _expected(self, incoming: IncomingScan) -> NDArray[np.float64]:
        target = self._prepared.target
        reducing = target.begin(incoming.header)
        for batch in incoming.batches(LONGEST_WAIT_S):
            reducing.add(batch)
        self._instrument.require_whole(incoming)
        steps = np.array([axis.scale for axis in self._prepared.axes])
        off = np.abs(reducing.positions - self._prepared.pool.positions) / np.abs(steps)
        if off.max() > MISSED:
            raise ScanIncomplete(
                f"the truth came up to {off.max():.2g} steps beside the candidates; beyond {MISSED:g} steps it cannot "
                "be compared with them"
            )
        return target.values(reducing)[0]

    def _asked(self, name: Literal["overview", "truth"]) -> Asked:
        """Write down that a scan is asked for, under a name that was not used before."""
        times = sum(isinstance(e.event, Asked) and e.event.name == name for e in self._past)
        measurement_id = f"{name}{REPEAT}{times + 1}" if times else name
        asked = Asked(name=name, measurement_id=measurement_id, request_id=f"{self._asker}/{measurement_id}")
        self._journal.write(asked)
        return asked

    def _settled(self, name: Literal["overview", "truth"], incoming: IncomingScan, data: NDArray) -> None:
        assert incoming.end is not None
        self._journal.write(Acquired(name=name, scan=incoming.header, end=incoming.end, sha256=digest(data)))
