"""The guard's judgement: how long the beam may stay open, and who has gone silent.

A state machine without clock, sockets or blanker: it is told the time and what happened,
and says whether the beam must be dark now. `guard.py` carries out what it says.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...core import NotArmed


class Watch:
    """Beam permission that must be actively held.

    Parameters
    ----------
    watched
        Processes that must be heard from while the beam is open.
    silence_s
        How long each may be silent.
    now_s
        The time.
    """

    def __init__(self, watched: Iterable[str], silence_s: float, now_s: float) -> None:
        self.silence_s = silence_s
        self._heard = dict.fromkeys(watched, now_s)
        self._open_until_s: float | None = None
        self._said_s = now_s
        self._stopped = ""

    def heard(self, who: str, said_s: float) -> None:
        """Note a sign of life, as old as it is: a message may have waited until this guard could hear it."""
        self._heard[who] = max(said_s, self._heard.get(who, said_s))

    def silent(self, now_s: float) -> dict[str, float]:
        """Return the silent processes and the seconds since each was heard."""
        ages = {who: now_s - then for who, then in self._heard.items()}
        return {who: age for who, age in ages.items() if age > self.silence_s}

    def open(self, lease_s: float, now_s: float, said_s: float) -> None:
        """Permit the beam for `lease_s` from when that was asked for; renewing is opening again.

        Raises
        ------
        NotArmed
            After a stop or pause, or while a watched process is silent.
        """
        reason = self.reason(now_s)
        if reason:
            raise NotArmed(f"the beam stays blanked: {reason}")
        self._open_until_s, self._said_s = said_s + lease_s, said_s

    def renew(self, lease_s: float, now_s: float, said_s: float) -> None:
        """Let a permission that is still open end `lease_s` after this was said; a closed one stays closed.

        What was said before the permission was asked for says nothing about it.
        """
        if self.may_be_open(now_s) and said_s >= self._said_s:
            self._open_until_s, self._said_s = said_s + lease_s, said_s

    def close(self) -> None:
        """Withdraw the permission."""
        self._open_until_s = None

    def stop(self, reason: str) -> None:
        """Withdraw the permission and refuse another until `arm`."""
        self.close()
        self._stopped = reason

    def arm(self) -> None:
        """Allow the beam to be opened again after a stop or pause."""
        self._stopped = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop or pause holds."""
        return bool(self._stopped)

    def may_be_open(self, now_s: float) -> bool:
        """Tell whether the beam may be open now; once it may not, it stays so until opened anew."""
        if self._open_until_s is not None and (now_s >= self._open_until_s or self.silent(now_s)):
            self._open_until_s = None
        return self._open_until_s is not None

    @property
    def open_until_s(self) -> float | None:
        """Until when the beam may stay open unrenewed; None if it may not be open."""
        return self._open_until_s

    def reason(self, now_s: float) -> str:
        """Return why the beam may not be opened; empty if it may."""
        if self._stopped:
            return self._stopped
        return "; ".join(f"{who} silent for {age:.1f} s" for who, age in sorted(self.silent(now_s).items()))
