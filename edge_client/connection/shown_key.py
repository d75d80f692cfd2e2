"""The key that this side shows, from the file that a person was given.

It is named where one connects (`key=FILE`, `--key FILE`), or once for all programs in the environment
variable BEAMLOOP_KEY; `none` shows no key whatever the environment says.
"""

from __future__ import annotations

import os
import ssl
from functools import cached_property
from pathlib import Path

from ...core.control import belongs
from ...core.key_file import read_key
from ...streaming.admittance import CurveKey

VARIABLE = "BEAMLOOP_KEY"
NONE = "none"


class ShownKey:
    """One key, for all three lines.

    Parameters
    ----------
    file
        The key file.

    Raises
    ------
    SettingsInvalid
        If it is none.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.absolute()
        self._facts = read_key(file)

    @property
    def name(self) -> str:
        """The name of the key."""
        return self._facts.name

    @property
    def frames(self) -> CurveKey:
        """What is shown on the data channel."""
        return CurveKey(self._facts.public, self._facts.secret, self._facts.frames)

    @property
    def guard(self) -> CurveKey:
        """What is shown to the guard."""
        return CurveKey(self._facts.public, self._facts.secret, self._facts.guard)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """How this side shakes hands on the control line: TLS 1.3, with nobody but the key's own instrument."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self._facts.authority)
        context.load_cert_chain(self.file)
        return context

    def own(self, name: str) -> str:
        """Return a name for a client that the instrument lets this key have."""
        return name if belongs(name, self.name) else f"{self.name}/{name}"


def key_from(key: str | Path | None) -> ShownKey | None:
    """Return the key that a person named, or the environment; None if none is to be shown.

    Raises
    ------
    SettingsInvalid
        If the file is missing or no key.
    """
    named = str(key) if key is not None else os.environ.get(VARIABLE, NONE)
    return None if named in ("", NONE) else ShownKey(Path(named).expanduser())


def key_from_anywhere(key: str | None) -> str | None:
    """Return the name of a key file so that it also holds in another working folder."""
    return key if key in (None, "", NONE) else str(Path(key).expanduser().absolute())
