"""Who may command the instrument: one holder at a time, visible to all, gone when silent.

One line of claims: whoever stands first holds the lease, the others wait in the order in which they
asked. Every claim runs out unless it is renewed, the holder's like a waiting client's, so the next one
holds the lease from the moment on that the one before gives it back or falls silent. Hand-over and break-glass
change the order of the line, and whoever loses the lease by them is told so when they next speak.

A state machine without clock or sockets: every call is told the time. Any thread may call;
a heartbeat never waits for a command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ...core import LeaseHeld, LeaseInfo, LeaseTaken, UnknownName, Waiting
from ...core.nearest import nearest

MOST_CLAIMS = 64
"""Holder and waiting clients together; more are refused."""


@dataclass(slots=True)
class _Claim:
    client: str
    purpose: str
    expires_s: float
    how: str = ""


class Lease:
    """The lease on one instrument, and who waits for it.

    Parameters
    ----------
    length_s
        How long holder and waiting clients may be silent before their claim is gone.
    """

    def __init__(self, length_s: float = 5.0) -> None:
        self.length_s = length_s
        self._lock = threading.RLock()
        self._line: list[_Claim] = []
        self._taken: dict[str, str] = {}

    def take(self, client: str, purpose: str, now_s: float, wait: bool = False) -> LeaseInfo:
        """Give the lease to `client`, or renew it if it is theirs; if it is held, let them wait where `wait` says so.

        Raises
        ------
        LeaseHeld
            If another client holds it and `wait` is false, or too many wait already.
        """
        with self._lock:
            line, own = self._living(now_s), self._claim_of(client, now_s)
            if line and line[0] is not own and not wait:
                raise LeaseHeld(self._held_by(line[0], now_s))
            if own is None and len(line) >= MOST_CLAIMS:
                raise LeaseHeld(f"{self._held_by(line[0], now_s)}; {len(line) - 1} wait already, no more are taken")
            if own is None:
                own = _Claim(client, purpose, now_s)
                self._line.append(own)
            own.purpose, own.expires_s = purpose, now_s + self.length_s
            self._taken.pop(client, None)
            return self._told(now_s)

    def renew(self, client: str, now_s: float) -> LeaseInfo:
        """Extend the claim of `client`, be it the lease or a place in the queue, by its full length.

        Raises
        ------
        LeaseTaken
            If it was taken from them.
        LeaseHeld
            If they have none (any more).
        """
        with self._lock:
            own = self._claim_of(client, now_s)
            if own is None:
                raise self._lacking(client, now_s)
            own.expires_s = now_s + self.length_s
            return self._told(now_s)

    def release(self, client: str, now_s: float) -> bool:
        """Give the lease or the place in the queue back; tell whether it was the lease."""
        with self._lock:
            was_theirs = self.holder(now_s) == client
            self._line = [claim for claim in self._line if claim.client != client]
            self._taken.pop(client, None)
            return was_theirs

    def hand_over(self, client: str, to: str, now_s: float) -> LeaseInfo:
        """Give the lease of `client` to another, without a gap; it runs out unless they renew it within its length.

        Others are those who wait, whose heartbeat takes it up, and those who had it and lost it to somebody, so that
        it can be given back. Any other name may be nobody's, and would leave the instrument with nobody.

        Raises
        ------
        LeaseHeld
            If `client` does not hold it, or is to be given what they have.
        UnknownName
            If `to` neither waits for it nor lost it to another.
        """
        with self._lock:
            own = self.require(client, now_s)
            if to == client:
                raise LeaseHeld(f"{client} holds the lease already; name somebody else to hand it over to")
            waiting = self._claim_of(to, now_s)
            if waiting is None and to not in self._taken:
                present = [*(claim.client for claim in self._living(now_s)[1:]), *self._taken]
                raise UnknownName(
                    f"nobody named {to!r:.80} waits for the lease or has lost it to another{nearest(to, present)}. Who "
                    "is to have it asks with `beamloop lease HOST wait`, or any program with `wait_for_lease`"
                )
            purpose = own.purpose if waiting is None else waiting.purpose
            self._line = [claim for claim in self._line if claim not in (own, waiting)]
            self._line.insert(0, _Claim(to, purpose, now_s + self.length_s, f"handed over by {client}"))
            self._taken.pop(to, None)
            self._remember(client, f"the lease of {client} was handed over to {to}")
            return self._told(now_s)

    def break_glass(self, client: str, purpose: str, reason: str, now_s: float) -> LeaseInfo:
        """Give the lease to `client` whoever holds it; the one before is told who took it and why.

        The others who wait keep their places behind them.
        """
        with self._lock:
            line, own = self._living(now_s), self._claim_of(client, now_s)
            before = line[0] if line and line[0] is not own else None
            how = "" if before is None else f"taken from {before.client} by break-glass: {reason}"
            self._line = [claim for claim in line if claim not in (own, before)]
            self._line.insert(0, _Claim(client, purpose, now_s + self.length_s, how))
            self._taken.pop(client, None)
            if before is not None:
                told = f"{client} took the lease from {before.client} by break-glass, saying: {reason}"
                self._remember(before.client, f"{told}. The beam was blanked; speak with them before you take it again")
            return self._told(now_s)

    def clear(self, why: str, now_s: float, stays: Callable[[str], bool]) -> None:
        """End the claims of all clients but those of whom `stays` says so, and tell them why when they next speak."""
        with self._lock:
            for claim in self._living(now_s):
                if not stays(claim.client):
                    self._remember(claim.client, why)
            self._line = [claim for claim in self._line if stays(claim.client)]

    def require(self, client: str, now_s: float) -> _Claim:
        """Raise unless `client` holds the lease now.

        Raises
        ------
        LeaseTaken
            If it was taken from them.
        LeaseHeld
            If another client holds it, or nobody does.
        """
        with self._lock:
            line = self._living(now_s)
            if not line or line[0].client != client:
                raise self._lacking(client, now_s)
            return line[0]

    def holder(self, now_s: float) -> str | None:
        """Return who holds the lease; None if nobody does."""
        with self._lock:
            line = self._living(now_s)
            return line[0].client if line else None

    def info(self, now_s: float) -> LeaseInfo | None:
        """Return who holds the lease and who waits for it; None if nobody does."""
        with self._lock:
            return self._told(now_s) if self._living(now_s) else None

    def _living(self, now_s: float) -> list[_Claim]:
        self._line = [claim for claim in self._line if now_s < claim.expires_s]
        return self._line

    def _claim_of(self, client: str, now_s: float) -> _Claim | None:
        return next((claim for claim in self._living(now_s) if claim.client == client), None)

    def _told(self, now_s: float) -> LeaseInfo:
        first, *others = self._living(now_s)
        return LeaseInfo(
            holder=first.client, purpose=first.purpose, expires_in_s=first.expires_s - now_s, how=first.how,
            queue=tuple(Waiting(client=c.client, purpose=c.purpose, expires_in_s=c.expires_s - now_s) for c in others),
        )  # fmt: skip

    def _remember(self, client: str, why: str) -> None:
        self._taken[client] = why
        while len(self._taken) > MOST_CLAIMS:
            del self._taken[next(iter(self._taken))]

    def _lacking(self, client: str, now_s: float) -> LeaseHeld:
        line, taken = self._living(now_s), self._taken.get(client)
        if taken is not None:
            return LeaseTaken(taken)
        if not line:
            return LeaseHeld(
                f"{client} holds no lease; take one first (it expires after {self.length_s:g} s of silence)"
            )
        return LeaseHeld(self._held_by(line[0], now_s))

    def _held_by(self, held: _Claim, now_s: float) -> str:
        return (
            f"the lease is held by {held.client} ({held.purpose or 'no purpose given'}) and expires in "
            f"{held.expires_s - now_s:.1f} s unless renewed; wait for it, or ask them to release it or hand it over"
        )
