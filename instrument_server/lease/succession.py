"""The words about the lease, and what a change of its holder means for beam and frames.

A scan goes on only while the lease of whoever began it lives, or of whom it was handed over to; when the
lease goes to anybody else, by silence or break-glass, the beam is blanked and the scan halted first. Frames that
wait for a former holder stay until they come for them, but once they gave the lease back, or somebody else holds it,
they share memory and disk with other former holders (`streaming.lapsed`). Whoever handed it over, or lost it to
a person, is still there and keeps their own until a third takes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...core import LeaseInfo, PlanInvalid, Request
from ...core.control import MOST_WORDS, Verb
from ..beam import Beam
from ..minutes import Minutes
from ..voices import DriverVoice
from .lease import Lease


class Succession:
    """Who holds the lease, one after another. Any thread may call.

    Parameters
    ----------
    lease, beam, driver, minutes
        What a change of the holder touches.
    clock
        Monotonic seconds.

    Attributes
    ----------
    lock
        Held only for moments, by whoever changes the holder or opens the beam: between looking who holds the
        lease and opening the beam for them nobody else may take it.
    """

    def __init__(
        self, lease: Lease, beam: Beam, driver: DriverVoice, minutes: Minutes, clock: Callable[[], float]
    ) -> None:
        self._lease, self._beam, self._driver, self._minutes, self._clock = lease, beam, driver, minutes, clock
        self.lock = threading.RLock()
        self._holder: str | None = None
        self._served: set[str] = set()
        self.deeds: Mapping[Verb, Callable[[Request], dict[str, Any]]] = {
            "lease": self._take, "renew": self._renew, "release": self._release, "hand_over": self._hand_over,
            "break_glass": self._break_glass,
        }  # fmt: skip

    def notice(self, spare: str | None = None) -> None:
        """See whether somebody else holds the lease now, as after a silence, and draw the consequences.

        Parameters
        ----------
        spare
            A former holder who is still there, and whose frames lapse later.
        """
        with self.lock:
            lease = self._lease.info(self._clock())
            holder = None if lease is None else lease.holder
            if self._beam.running is not None and holder != self._beam.keeper:
                self._beam.halt()
            if holder == self._holder:
                return
            before, self._holder = self._holder, holder
            if holder is not None:
                self._lapse(self._served - {holder, spare})
                self._served.add(holder)
        self._minutes.mark(
            "lease", holder=holder, before=before, purpose=lease and lease.purpose, how=lease and lease.how
        )

    def end_all(self, why: str, admits: Callable[[str], bool]) -> None:
        """Blank, and end every claim on the lease but of those whom `admits` lets stay; the others are told why."""
        with self.lock:
            now_s = self._clock()
            holder = self._lease.holder(now_s)
            if holder is None or not admits(holder):
                self._beam.halt()
            self._lease.clear(why, now_s, admits)
            self.notice(spare=holder)

    def _take(self, request: Request) -> dict[str, Any]:
        purpose, wait = _words(request, "purpose"), bool(request.arguments.get("wait", False))
        return self._changed(lambda: self._lease.take(request.client, purpose, self._clock(), wait))

    def _renew(self, request: Request) -> dict[str, Any]:
        # Behind nothing, so that no lease runs out while somebody else's word waits for the guard.
        return self._lease.renew(request.client, self._clock()).model_dump()

    def _release(self, request: Request) -> dict[str, Any]:
        with self.lock:
            if self._lease.release(request.client, self._clock()):
                self._beam.halt()
            self._lapse(self._served & {request.client})
            self.notice()
        return {}

    def _hand_over(self, request: Request) -> dict[str, Any]:
        client, to = request.client, _words(request, "to")
        if not to:
            raise PlanInvalid("'hand_over' was asked without a client to hand the lease over to; name one")

        def hand_over() -> LeaseInfo:
            given = self._lease.hand_over(client, to, self._clock())
            if self._beam.keeper == client:
                # Without a gap: a scan under way goes on, and its frames still go to who began it.
                self._beam.keeper = to
            return given

        return self._changed(hand_over, spare=client)

    def _break_glass(self, request: Request) -> dict[str, Any]:
        client, purpose, reason = request.client, _words(request, "purpose"), _words(request, "reason")
        if not reason.strip():
            raise PlanInvalid("break-glass needs a reason; it is told to whom the lease is taken from, and kept")

        def break_glass() -> LeaseInfo:
            if self._lease.holder(self._clock()) not in (None, client):
                self._beam.halt()
            return self._lease.break_glass(client, purpose or reason, reason, self._clock())

        with self.lock:
            return self._changed(break_glass, spare=self._lease.holder(self._clock()))

    def _changed(self, change: Callable[[], LeaseInfo], spare: str | None = None) -> dict[str, Any]:
        with self.lock:
            # A silence that ended in the meantime comes before what is asked now.
            self.notice()
            told = change()
            self.notice(spare)
        return told.model_dump()

    def _lapse(self, clients: set[str]) -> None:
        for client in sorted(clients):
            self._driver.tell("lapse", receiver=client)
        self._served -= clients


def _words(request: Request, name: str) -> str:
    """Return one of a request's words, which others will see: short, and without control characters."""
    words = request.arguments.get(name, "")
    if not isinstance(words, str) or len(words) > MOST_WORDS or not (words == "" or words.isprintable()):
        raise PlanInvalid(f"{name} must be printable text of at most {MOST_WORDS} characters, got {words!r:.60}")
    return words
