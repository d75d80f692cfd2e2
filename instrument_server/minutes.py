"""What the server writes into its audit about requests: asked before anything is done, how it ended before the answer.

A disk that takes no line refuses what is asked, and leads to rest: what can no longer be written down does not go on.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core import Reply, Request, StorageFailed
from .audit import Audit
from .guard.spoken import Word
from .outcome import refusal


class Minutes:
    """Takes the minutes of one desk; any thread may call.

    Parameters
    ----------
    audit
        Where they are kept.
    rest
        Blanks and ends a scan under way; called when something could not be written down.
    """

    def __init__(self, audit: Audit, rest: Callable[[], None]) -> None:
        self._audit, self._rest = audit, rest

    def head(self) -> str:
        """Return how far the audit has come, as `NUMBER:HASH`: a witness for whoever keeps it."""
        return str(self._audit.head())

    def mark(self, event: str, /, **facts: object) -> None:
        """Write down what happened by itself, for which nobody waits."""
        try:
            self._audit.note(event, **facts)
        except StorageFailed:
            self._rest()

    def said(self, word: Word) -> bool:
        """Write down a word that was said at the guard; tell whether the disk took it."""
        try:
            self._audit.note("said at the guard", word=word.word, by=word.by, ago_s=round(word.ago_s, 3))
        except StorageFailed:
            return False
        return True

    def refused(self, request: Request, reply: Reply) -> Reply:
        """Write down what was refused before anything was done, and return it."""
        self.mark(reply.status, **_who(request), error=reply.error, message=reply.message, arguments=request.arguments)
        return reply

    def kept(self, request: Request, deed: Callable[[], Reply]) -> Reply:
        """Do what is asked between two lines; without the first nothing is done, without the second it is said so."""
        try:
            self._audit.note("asked", **_who(request), arguments=request.arguments)
        except StorageFailed as full:
            self._rest()
            return refusal(full)
        reply = deed()
        scan = reply.value.get("scan")
        try:
            self._audit.note(
                reply.status, **_who(request), error=reply.error, message=reply.message,
                **({} if scan is None else {"scan": scan["scan_id"]}),
            )  # fmt: skip
        except StorageFailed as full:
            self._rest()
            told = f"{full}. What was asked is {reply.status}, and that could not be written down: {reply.message}"
            return Reply(status="failed", error=type(full).__name__, message=told.removesuffix(": "))
        return reply


def _who(request: Request) -> dict[str, str]:
    return {"client": request.client, "verb": request.verb, "request": request.request_id}
