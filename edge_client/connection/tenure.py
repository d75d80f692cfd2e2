"""This side's lease: taken, waited for, handed over, broken or given back, and kept by a heartbeat meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...core import BeamloopError, LeaseHeld, LeaseInfo, LeaseTaken, LocalOverride
from ...core.hearing import heard
from .control_line import ControlLine
from .heartbeat import Heartbeat

LOOK_S = 0.5
"""How often a waiting client looks whether it is its turn; also keeps its place."""


class Tenure:
    """One client's claim on the lease of one instrument; any thread may call.

    Parameters
    ----------
    control
        The line to the instrument.
    """

    def __init__(self, control: ControlLine) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._heartbeat: Heartbeat | None = None

    @property
    def lost(self) -> BeamloopError | None:
        """What ended the lease, as the heartbeat knows; None while it is held or was never taken."""
        with self._lock:
            return None if self._heartbeat is None else self._heartbeat.lost

    def take(self, purpose: str, break_glass: str = "") -> LeaseInfo:
        """Take the lease and keep it; with a reason to break glass, whoever holds it. See `RemoteInstrument`."""
        if break_glass:
            return self._kept(self._control.ask("break_glass", {"purpose": purpose, "reason": break_glass}))
        return self._kept(self._control.ask("lease", {"purpose": purpose}))

    def wait(
        self, purpose: str, timeout_s: float | None = None, waiting: Callable[[LeaseInfo, int], None] | None = None
    ) -> LeaseInfo:
        """Stand in the queue until the lease is ours, and keep it then; see `RemoteInstrument.wait_for_lease`."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        told: tuple[str, int | None] | None = None
        try:
            info = self._queued(purpose)
            while (place := info.position(self._control.client)) != 0:
                if waiting is not None and place is not None and told != (info.holder, place):
                    told = (info.holder, place)
                    waiting(info, place)
                if until_s is not None and time.monotonic() >= until_s:
                    raise LeaseHeld(
                        f"waited {timeout_s:g} s for the lease and left the queue at place {place}: it is held by "
                        f"{info.holder} ({info.purpose or 'no purpose given'})"
                    )
                time.sleep(LOOK_S if until_s is None else max(0.0, min(LOOK_S, until_s - time.monotonic())))
                info = self._still_queued(purpose)
        except BaseException:
            # Whoever stands behind us need not wait until our place runs out.
            with suppress(BeamloopError):
                self._control.ask("release")
            raise
        return self._kept(info.model_dump())

    def hand_over(self, to: str) -> LeaseInfo:
        """Give the lease to another client, without a gap."""
        given = heard(LeaseInfo, self._control.ask("hand_over", {"to": to}))
        self._stop()
        return given

    def look(self) -> BeamloopError | None:
        """Ask whether the lease is still ours; return what ended it, None if nothing has."""
        try:
            self._control.ask("renew")
        except BeamloopError as error:
            return error
        return None

    def release(self) -> None:
        """Give the lease back, if it was taken."""
        if self._stop():
            self._control.ask("release")

    def _queued(self, purpose: str) -> LeaseInfo:
        return heard(LeaseInfo, self._control.ask("lease", {"purpose": purpose, "wait": True}))

    def _still_queued(self, purpose: str) -> LeaseInfo:
        """Keep the place; one that was lost, because either side was asleep or restarted, is asked for anew."""
        try:
            return heard(LeaseInfo, self._control.ask("renew"))
        except (LeaseTaken, LocalOverride):
            raise
        except LeaseHeld:
            return self._queued(purpose)

    def _kept(self, answer: dict[str, object]) -> LeaseInfo:
        lease = heard(LeaseInfo, answer)
        with self._lock:
            if self._heartbeat is None or isinstance(self._heartbeat.lost, LeaseHeld):
                # One that lost the lease before has ended, so a lease that was taken again gets another.
                self._heartbeat = Heartbeat(lambda: self._control.ask("renew"), lease.expires_in_s)
        return lease

    def _stop(self) -> bool:
        with self._lock:
            heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.stop()
        return heartbeat is not None
