"""Who may command the instrument: one holder at a time, visible to all, gone when silent.

A state machine without clock or sockets: every call is told the time. Any thread may call;
a heartbeat never waits for a command.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ..core import LeaseHeld, LeaseInfo


@dataclass(slots=True)
class _Held:
    holder: str
    purpose: str
    expires_s: float


class Lease:
    """The lease on one instrument.

    Parameters
    ----------
    length_s
        How long the holder may be silent before the lease is free again.
    """

    def __init__(self, length_s: float = 5.0) -> None:
        self.length_s = length_s
        self._lock = threading.RLock()
        self._held: _Held | None = None

    def take(self, client: str, purpose: str, now_s: float) -> LeaseInfo:
        """Give the lease to `client`, or renew it if it is theirs.

        Raises
        ------
        LeaseHeld
            If another client holds it.
        """
        with self._lock:
            held = self._live(now_s)
            if held is not None and held.holder != client:
                raise LeaseHeld(self._taken_by(held, now_s))
            self._held = _Held(client, purpose, now_s + self.length_s)
            return self._info(self._held, now_s)

    def renew(self, client: str, now_s: float) -> LeaseInfo:
        """Extend the lease of `client` by its full length.

        Raises
        ------
        LeaseHeld
            If `client` does not hold it (any more).
        """
        with self._lock:
            held = self.require(client, now_s)
            held.expires_s = now_s + self.length_s
            return self._info(held, now_s)

    def release(self, client: str, now_s: float) -> bool:
        """Give the lease back; tell whether it was theirs."""
        with self._lock:
            held = self._live(now_s)
            was_theirs = held is not None and held.holder == client
            if was_theirs:
                self._held = None
            return was_theirs

    def require(self, client: str, now_s: float) -> _Held:
        """Raise unless `client` holds the lease now.

        Raises
        ------
        LeaseHeld
            If another client holds it, or nobody does.
        """
        with self._lock:
            held = self._live(now_s)
        if held is None:
            raise LeaseHeld(
                f"{client} holds no lease; take one first (it expires after {self.length_s:g} s of silence)"
            )
        if held.holder != client:
            raise LeaseHeld(self._taken_by(held, now_s))
        return held

    def info(self, now_s: float) -> LeaseInfo | None:
        """Return who holds the lease; None if nobody does."""
        with self._lock:
            held = self._live(now_s)
            return None if held is None else self._info(held, now_s)

    def _live(self, now_s: float) -> _Held | None:
        if self._held is not None and now_s >= self._held.expires_s:
            self._held = None
        return self._held

    def _info(self, held: _Held, now_s: float) -> LeaseInfo:
        return LeaseInfo(holder=held.holder, purpose=held.purpose, expires_in_s=held.expires_s - now_s)

    def _taken_by(self, held: _Held, now_s: float) -> str:
        return (
            f"the lease is held by {held.holder} ({held.purpose or 'no purpose given'}) and expires in "
            f"{held.expires_s - now_s:.1f} s unless renewed; wait, or ask them to release it"
        )
