"""Local override: while the switch at the instrument is on, it wins over any remote.

Turning it on blanks, halts the scan under way and ends every remote lease; while it is on, a remote client may
look and may stop, and every command is refused with who turned it and why.
"""

from __future__ import annotations

from typing import Protocol

from ...core import LocalControl, LocalOverride, Request
from ...core.control import belongs
from ..beam import Beam
from ..minutes import Minutes
from ..rights import RIGHTS
from .local_switch import Seen
from .succession import Succession

HARMLESS = frozenset({"release"})
"""What may be said in spite of it, beside what an observer may ask."""


class Switch(Protocol):
    """Knows how the switch stands: `LocalSwitch` in the server."""

    def position(self) -> LocalControl | None:
        """Return who has turned it on; None while it is off."""
        ...

    def confirm(self, seen: Seen | None) -> None:
        """Say that it was seen turned on, or off again (None)."""
        ...


class NoSwitch:
    """A switch that is always off, for a server without a folder."""

    def position(self) -> LocalControl | None:
        """Return None: it is off."""
        return None

    def confirm(self, seen: Seen | None) -> None:
        """Do nothing; nobody waits for it."""


class Override:
    """What the server does about the switch; any thread may call.

    Attributes
    ----------
    control
        Who has turned it on, as last seen; None while it is off.
    """

    def __init__(self, switch: Switch, succession: Succession, beam: Beam, minutes: Minutes) -> None:
        self._switch, self._succession, self._beam, self._minutes = switch, succession, beam, minutes
        self.control: LocalControl | None = None

    def look(self) -> None:
        """See how the switch stands, and act if it was turned; call it often."""
        with self._succession.lock:
            found = self._switch.position()
            if found == self.control:
                return
            self.control = found
            if found is not None:
                self._succession.end_all(_words(found), lambda client: _admits(found, client))
        if found is None:
            self._switch.confirm(None)
            self._minutes.mark("local override off")
        else:
            self._switch.confirm(Seen(since=found.since, beam=self._beam.seen()))
            self._minutes.mark("local override on", **found.model_dump())

    def refuse(self, request: Request) -> None:
        """Raise if the switch is on and this request is a command of somebody whom it does not admit.

        Raises
        ------
        LocalOverride
            With who turned it, since when and why.
        """
        self.look()
        looks = RIGHTS[request.verb].role == "observer" or request.verb in HARMLESS
        if self.control is not None and not looks and not _admits(self.control, request.client):
            raise LocalOverride(f"{request.verb!r} of {request.client} refused: {_words(self.control)}")


def _admits(control: LocalControl, client: str) -> bool:
    return control.admits != "" and belongs(client, control.admits)


def _words(control: LocalControl) -> str:
    since = f" since {control.since}" if control.since else ""
    return (
        f"the instrument is under local control{since}, by {control.by}: {control.reason}. You may look and stop; "
        "commands are taken again when they turn the switch back (`beamloop local off` at the instrument)"
    )
