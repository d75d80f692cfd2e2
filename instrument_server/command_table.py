"""Every command once: asked again it gets its first answer, and one that nobody knows the end of is never repeated.

A state machine without clock, sockets or threads of its own, which any thread may call; what must outlive the
process is kept by a `Ledger`. A command is noted before it is begun and its answer before it is announced, so
whoever asks again, also after the server was killed, is answered as the first time or told that the outcome is
not known.

Words about the lease are kept only as long as this process lives, because the lease does not live longer:
a restarted server has none, and takes such a word anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ..core import Interruption, Reply, Request, RequestReused, StorageFailed
from .asked import Asked, asked_by
from .outcome import interruption, refusal

MOST_FLEETING = 10_000
"""Answers kept in memory only; older ones are forgotten."""


class Ledger(Protocol):
    """Keeps begun commands and their answers: `Answers` in the server."""

    def kept(self, request_id: str) -> tuple[Asked | None, Reply | None]:
        """Return what was asked under this id, and the answer: an interruption if it was begun only.

        Both are None if it never was begun; what was asked is None as well if it was not kept.
        """
        ...

    def begin(self, request_id: str, asked: Asked) -> None:
        """Keep that a request is going to be done."""
        ...

    def store(self, request_id: str, reply: Reply, goes_on: bool) -> None:
        """Keep its answer, and whether what it began goes on after it."""
        ...

    def settle(self, *request_ids: str) -> None:
        """Keep that nothing of these requests is under way or untold any more."""
        ...

    def unsettled(self) -> tuple[Interruption, ...]:
        """Return what an earlier process had under way."""
        ...


class CommandTable:
    """Which commands were begun, and what became of them.

    Parameters
    ----------
    ledger
        Keeps them, also when this process is gone.
    session
        With what the names of this server's scans begin; a scan of another was begun by a driver that is gone.
    """

    def __init__(self, ledger: Ledger, session: str) -> None:
        self._ledger, self._session = ledger, session
        self._lock = threading.RLock()
        self._under_way: dict[str, Asked] = {}
        self._fleeting: dict[str, tuple[Asked, Reply]] = {}
        # Scans under way by name; one that ended before its beginning was answered has no request yet.
        self._scans: dict[str, str | None] = {}
        # One request is looked up several times on its way; its digest is taken once.
        self._last: tuple[Request, Asked] | None = None
        self._interrupted = ledger.unsettled()

    def interrupted(self) -> tuple[Interruption, ...]:
        """Return what an earlier process had under way, as far as nobody has asked about it since."""
        return self._interrupted

    def known(self, request: Request) -> Reply | None:
        """Return what became of this request, None if it was never begun; another's answer is never given."""
        name, asked = request.request_id, self._asked(request)
        with self._lock:
            before, reply = self._kept(name)
            if before is not None and before.digest != asked.digest:
                return refusal(_reused(name, before, asked))
            if any(one.request_id == name for one in self._interrupted):
                # Who asked for it knows now; nobody else need charge or repeat it.
                self._settle(name)
        scan = None if reply is None else reply.value.get("scan")
        if scan is not None and not scan["scan_id"].startswith(self._session):
            return interruption(f"scan {scan['scan_id']} was begun before this server was restarted")
        return reply

    def once(self, request: Request, deed: Callable[[], Reply], lasting: bool) -> Reply:
        """Return what became of this request; do it if it was never begun.

        Two requests of the same content and id must not be asked at once; the desk's locks see to that.

        Parameters
        ----------
        request
            What is asked.
        deed
            Does it.
        lasting
            Whether it is kept on the disk; a disk that takes no note refuses it then.
        """
        name, asked = request.request_id, self._asked(request)
        with self._lock:
            known = self.known(request)
            if known is not None:
                return known
            try:
                if lasting:
                    self._ledger.begin(name, asked)
            except StorageFailed as full:
                return refusal(full)
            self._under_way[name] = asked
        try:
            reply = deed()
            with self._lock:
                return self._stored(name, reply) if lasting else self._remembered(name, asked, reply)
        finally:
            del self._under_way[name]

    def scan_ended(self, scan_id: str, complete: bool) -> None:
        """Note that a scan has ended; one that is complete supersedes what was interrupted before."""
        with self._lock:
            if scan_id not in self._scans:
                self._scans[scan_id] = None
            request_id = self._scans[scan_id]
            if request_id is not None:
                del self._scans[scan_id]
                self._settle(request_id)
            if complete:
                self._settle(*(one.request_id for one in self._interrupted))

    def _asked(self, request: Request) -> Asked:
        last = self._last
        if last is None or last[0] is not request:
            last = self._last = (request, asked_by(request))
        return last[1]

    def _kept(self, name: str) -> tuple[Asked | None, Reply | None]:
        if name in self._under_way:
            return self._under_way[name], None
        if name in self._fleeting:
            return self._fleeting[name]
        return self._ledger.kept(name)

    def _stored(self, name: str, reply: Reply) -> Reply:
        scan = str(reply.value.get("scan", {}).get("scan_id", ""))
        goes_on = scan != "" and scan not in self._scans
        try:
            self._ledger.store(name, reply, goes_on)
        except StorageFailed as full:
            told = f"{full}. The command was {reply.status}; asked again, its outcome will be told as not known"
            reply = Reply(status="failed", error=type(full).__name__, message=told)
        if goes_on:
            self._scans[scan] = name
        else:
            self._scans.pop(scan, None)
        return reply

    def _remembered(self, name: str, asked: Asked, reply: Reply) -> Reply:
        self._fleeting[name] = (asked, reply)
        if len(self._fleeting) > MOST_FLEETING:
            del self._fleeting[next(iter(self._fleeting))]
        return reply

    def _settle(self, *request_ids: str) -> None:
        if request_ids:
            self._ledger.settle(*request_ids)
            self._interrupted = tuple(one for one in self._interrupted if one.request_id not in request_ids)


def _reused(name: str, before: Asked, asked: Asked) -> RequestReused:
    return RequestReused(
        f"request {name!r} was used before, for {before.what!r} of {before.client}; now it asks for {asked.what!r} of "
        f"{asked.client}. Give every request an id of its own"
    )
