"""The file that a person carries to a client: who they are, on all three lines of one instrument.

One text file, so that it can be carried by any means: a line of JSON with the CURVE keys and the
authority that signs for the instrument, then certificate and private key as TLS wants them.
What the key may do stands on the instrument's own list and not here, so that it can change.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from .errors import SettingsInvalid
from .frozen import Frozen

FORMAT = 1
"""Version of the file; raised whenever its keys or their meaning change."""

MARK = "beamloop-key: "
SERVER_NAME = "instrument.beamloop"
"""The name in every instrument's certificate; people reach it through tunnels and by many addresses."""


class KeyFile(Frozen):
    """What one client shows, and what it expects to be shown.

    Attributes
    ----------
    name
        Name of the key.
    authority
        Certificate of the authority that signs for this instrument, PEM.
    public, secret
        The two halves of the key's CURVE pair, Z85.
    frames, guard
        Public halves of the instrument's CURVE pairs for the data channel and the guard, Z85.
    format
        Version of the file.
    """

    name: str
    authority: str
    public: str
    secret: str
    frames: str
    guard: str
    format: int = FORMAT


def key_text(facts: KeyFile, certificate: str, private: str) -> str:
    """Return the text of a key file; certificate and private key are PEM."""
    told = f"This is the key {facts.name!r} of an instrument. Whoever has this file is {facts.name!r}: keep it private."
    return f"{told}\n{MARK}{json.dumps(facts.model_dump())}\n{certificate}{private}"


def read_key(file: Path) -> KeyFile:
    """Return what a key file says.

    Raises
    ------
    SettingsInvalid
        If it is missing, no key file, of another version, or readable by others.
    """
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        _wrong(file, f"cannot be read: {error}")
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        _wrong(file, f"can be read by others than its owner (mode {stat.S_IMODE(mode):o}): chmod 600 {file}")
    line = next((line for line in text.splitlines() if line.startswith(MARK)), "")
    try:
        facts = json.loads(line.removeprefix(MARK))
        if facts["format"] != FORMAT:
            _wrong(file, f"is of version {facts['format']}, this beamloop reads {FORMAT}; update beamloop")
        return KeyFile.model_validate(facts)
    except (ValueError, TypeError, KeyError, ValidationError):
        _wrong(file, "is no key file; it is what 'beamloop keys add NAME' writes")


def _wrong(file: Path, what: str) -> NoReturn:
    raise SettingsInvalid(f"the key {file} {what}")
