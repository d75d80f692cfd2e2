"""The last proof of the chain that stops the instrument, and whether an exposure may rest on it.

Nothing is exposed on a proof that failed, until somebody has seen to the instrument and proved it again. One that
is old, or was made before this server's start, is made anew when an exposure is asked for: the processes that
it proved are gone. Whoever began on a good one goes on, however long it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...core import Proof, ProofFailed
from ..audit import wall_clock
from ..dose.parked import ParkedBeam
from .proving import MOST_OPEN_S, Chain, Proved, prove


class Proofs:
    """Makes proofs and remembers the last; called under the lock of whoever commands.

    Parameters
    ----------
    chain
        What is proved.
    hours
        How old a proof may be on which a client begins.
    file
        Where the last is kept, to be told after a restart.
    today
        Date and time.
    parked
        Charges what a proof exposes; None where its beam falls on no specimen, or nobody can count it.
    """

    def __init__(
        self, chain: Chain, hours: float, file: Path, today: Callable[[], datetime] = wall_clock,
        parked: ParkedBeam | None = None,
    ) -> None:  # fmt: skip
        self._chain, self._hours, self._file, self._today = chain, hours, file, today
        self._parked = parked
        self._last = _kept(file)
        # Only what this server proved counts.
        self._made_s: float | None = None
        self._resting = ""

    def prove(self) -> Proof:
        """Prove the chain now and return how it went; in the dark where the parked probe's place has no dose left.

        Raises
        ------
        ProofFailed
            If it failed; nothing is exposed until a proof has passed.
        NotArmed
            If the instrument is stopped, before or meanwhile; the last proof stands.
        """
        chain = replace(self._chain, opens=self._may_open())
        beam: Literal["open", "dark"] = "open" if chain.opens else "dark"
        try:
            proved = self._charged(chain)
        except ProofFailed as failure:
            self._keep(Proof(passed=False, at=self._now(), beam=beam, failure=str(failure)))
            raise ProofFailed(f"{failure}. Nothing is exposed until a proof passes: see to the instrument") from None
        return self._keep(
            Proof(
                passed=True, at=self._now(), beam=beam, expiry_s=proved.expiry_s, blank_s=proved.blank_s,
                stop_s=proved.stop_s, open_s=proved.open_s,
            )
        )  # fmt: skip

    def _may_open(self) -> bool:
        return self._chain.opens and (self._parked is None or self._parked.may_open(MOST_OPEN_S))

    def _charged(self, chain: Chain) -> Proved:
        """Prove the chain, and charge the beam for as long as that took: it was not open for longer."""
        began_s = chain.clock()
        try:
            return prove(chain)
        finally:
            if chain.opens and self._parked is not None:
                # One that does not read back as dark stays charged in full.
                is_dark = chain.line.is_open() is False
                self._parked.was_open(chain.clock() - began_s if is_dark else MOST_OPEN_S)

    def rest_on(self, client: str) -> None:
        """Make sure that this client's exposures may rest on a proof; make one if there is none that counts.

        Raises
        ------
        ProofFailed
            If the last proof failed, or the one that was made now.
        NotArmed
            If a proof is needed and the instrument is stopped.
        """
        told = self.told()
        if told is not None and self._made_s is not None and not told.passed:
            raise ProofFailed(f"the last proof failed: {told.failure}. See to the instrument and prove it again")
        if told is None or (client != self._resting and not told.counts):
            self.prove()
        self._resting = client

    def void(self, failure: str) -> None:
        """Let the last proof count no longer: something was read back that must not be."""
        if self._made_s is not None and self._last is not None:
            self._keep(self._last.model_copy(update={"passed": False, "failure": failure}))

    def told(self) -> Proof | None:
        """Return the last proof with its age; None if there never was one."""
        if self._last is None or self._made_s is None:
            return self._last
        age_s = self._chain.clock() - self._made_s
        counts = self._last.passed and age_s < 3600 * self._hours
        return self._last.model_copy(update={"age_s": age_s, "counts": counts})

    def _now(self) -> str:
        return self._today().isoformat(timespec="seconds")

    def _keep(self, proof: Proof) -> Proof:
        self._last, self._made_s, self._resting = proof, self._chain.clock(), ""
        # It holds for this server only, so a disk that takes nothing takes nothing from it.
        with suppress(OSError):
            self._file.write_text(proof.model_dump_json())
        return self.told() or proof


def _kept(file: Path) -> Proof | None:
    """Return what an earlier server proved, to be told and not to be relied on."""
    try:
        return Proof.model_validate_json(file.read_bytes()).model_copy(update={"counts": False, "age_s": None})
    except (OSError, ValidationError):
        return None
