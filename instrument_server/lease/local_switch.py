"""The switch at the instrument: a file in the server's folder that only somebody with access to that computer can make.

No network message turns it. While the file is there the server takes no remote commands, also after a
restart; one that cannot be read counts as turned on. The server says in a second file that it has seen it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from ...core import Frozen, LocalControl

SWITCH = "local-control.json"
SEEN = "local-control.seen.json"


class Seen(Frozen):
    """What the server says once it has seen the switch turned on: since when, and the beam after that."""

    since: str
    beam: str


class LocalSwitch:
    """The two files in one server's folder; read by the server, turned by `beamloop local`."""

    def __init__(self, folder: Path) -> None:
        self._file, self._seen = folder / SWITCH, folder / SEEN

    def position(self) -> LocalControl | None:
        """Return who has turned it on; None while it is off."""
        try:
            return LocalControl.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            return LocalControl(by="unknown", reason=f"{self._file} cannot be read; turn it off and on", since="")

    def turn_on(self, control: LocalControl) -> None:
        """Turn it on, for this reason."""
        new = self._file.with_suffix(".new")
        new.write_text(control.model_dump_json())
        os.replace(new, self._file)

    def turn_off(self) -> bool:
        """Turn it off; tell whether it was on."""
        was_on = self._file.exists()
        self._file.unlink(missing_ok=True)
        return was_on

    def confirm(self, seen: Seen | None) -> None:
        """Say, as the server, that the switch was seen turned on, or off again (None)."""
        # The refusals do not depend on it: a folder that takes nothing must not keep the server from them.
        with suppress(OSError):
            if seen is None:
                self._seen.unlink(missing_ok=True)
            else:
                self._seen.write_text(seen.model_dump_json())

    def confirmed(self) -> Seen | None:
        """Return what the server says of the switch; None if it has not seen it, or seen it turned off."""
        try:
            return Seen.model_validate_json(self._seen.read_bytes())
        except (OSError, ValidationError):
            return None
