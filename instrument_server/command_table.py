"""Every command once: asked again it gets its first answer, and one that nobody knows the end of is never repeated.

A state machine without clock, sockets or threads of its own; what must outlive the process is kept by a
`Ledger`. A command is noted before it is begun and its answer before it is announced, so whoever asks again,
also after the server was killed, is answered as the first time or told that the outcome is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core import Reply, Request, StorageFailed
from .outcome import interruption, refusal


class Ledger(Protocol):
    """Keeps begun commands and their answers: `Answers` in the server."""

    def of(self, request_id: str) -> Reply | None:
        """Return the answer to a request, an interruption if it was begun only, None if it never was."""
        ...

    def begin(self, request_id: str) -> None:
        """Keep that a request is going to be done."""
        ...

    def store(self, request_id: str, reply: Reply) -> None:
        """Keep its answer."""
        ...


class CommandTable:
    """Which commands were begun, and what became of them; called under the lock of whoever does them.

    Parameters
    ----------
    ledger
        Keeps them, also when this process is gone.
    session
        With what the names of this server's scans begin; a scan of another was begun by a driver that is gone.
    """

    def __init__(self, ledger: Ledger, session: str) -> None:
        self._ledger, self._session = ledger, session

    def known(self, request: Request) -> Reply | None:
        """Return what became of this request, None if it was never begun."""
        reply = self._ledger.of(request.request_id)
        scan = None if reply is None else reply.value.get("scan")
        if scan is not None and not scan["scan_id"].startswith(self._session):
            return interruption(f"scan {scan['scan_id']} was begun before this server was restarted")
        return reply

    def once(self, request: Request, deed: Callable[[], Reply]) -> Reply:
        """Return what became of this request; do it if it was never begun. A disk that takes no note refuses it."""
        known = self.known(request)
        if known is not None:
            return known
        try:
            self._ledger.begin(request.request_id)
        except StorageFailed as full:
            return refusal(full)
        reply = deed()
        try:
            self._ledger.store(request.request_id, reply)
        except StorageFailed as full:
            told = f"{full}. The command was {reply.status}; asked again, its outcome will be told as not known"
            return Reply(status="failed", error=type(full).__name__, message=told)
        return reply
