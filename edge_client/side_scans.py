"""The scans of a run that are no steps of its loop: the overview before, the truth after.

Both are in the journal before they are asked for, with the checksum of what came.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..core import GridScan, ScanIncomplete, Signal
from ..streaming.incoming import IncomingScan, collect
from .instrument import LONGEST_WAIT_S, RemoteInstrument, raise_unless_whole
from .preparation import Preparation
from .record.checksum import digest
from .record.events import Acquired, Asked
from .record.journal import Journal
from .record.run_file import RunFile

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
    """

    def __init__(self, instrument: RemoteInstrument, prepared: Preparation, journal: Journal, asker: str) -> None:
        self._instrument, self._prepared, self._journal = instrument, prepared, journal
        self._asker = asker

    def overview(self, file: RunFile) -> Signal | None:
        """Take the first picture and keep it in the run file; None where the experiment wants none.

        Raises
        ------
        BeamloopError
            If it is refused or does not come whole.
        """
        plan = self._prepared.overview
        if plan is None:
            return None
        incoming = self._asked("overview", plan)
        try:
            signal = collect(incoming, LONGEST_WAIT_S, allow_incomplete=True)
            raise_unless_whole(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        file.put_overview(signal)
        self._settled("overview", incoming, signal.data)
        return signal

    def truth(self) -> NDArray[np.float64]:
        """Return the noise-free property at every candidate, shape (m,), at no dose.

        Raises
        ------
        BeamloopError
            If it is refused, does not come whole, or comes at other places.
        """
        incoming = self._asked("truth", self._prepared.expectation())
        try:
            values = self._expected(incoming)
        except BaseException:
            self._instrument.discard(incoming)
            raise
        self._settled("truth", incoming, values)
        return values

    def _expected(self, incoming: IncomingScan) -> NDArray[np.float64]:
        target = self._prepared.target
        reducing = target.begin(incoming.header)
        for batch in incoming.batches(LONGEST_WAIT_S):
            reducing.add(batch)
        raise_unless_whole(incoming)
        steps = np.array([axis.scale for axis in self._prepared.axes])
        off = np.abs(reducing.positions - self._prepared.pool.positions) / np.abs(steps)
        if off.max() > MISSED:
            raise ScanIncomplete(
                f"the truth came up to {off.max():.2g} steps beside the candidates; beyond {MISSED:g} steps it cannot "
                "be compared with them"
            )
        return target.values(reducing)[0]

    def _asked(self, name: Literal["overview", "truth"], plan: GridScan) -> IncomingScan:
        request_id = f"{self._asker}/{name}"
        self._journal.write(Asked(name=name, measurement_id=name, request_id=request_id))
        return self._instrument.start(plan, name, request_id)

    def _settled(self, name: Literal["overview", "truth"], incoming: IncomingScan, data: NDArray) -> None:
        incoming.stored()
        assert incoming.end is not None
        self._journal.write(Acquired(name=name, scan=incoming.header, end=incoming.end, sha256=digest(data)))
