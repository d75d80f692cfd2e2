"""The one folder of an instrument's keys: what lies where, and how it is written.

    authority.pem, authority.key   who signs; `beamloop keys add` needs the private half, the server does not
    server.pem                     certificate and private key of the control line
    frames.curve, guard.curve      CURVE pairs of the data channel and the guard
    listed/NAME.json               a key that is let in: its role, its expiry, its two public halves
    revoked/NAME-TIME.json         one that is not any more

To revoke is to move one small file, which works on a full disk; removing it by hand does as well.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from ...core import OutputExists, SettingsInvalid, StorageFailed
from ...core.storage import sync_folder

Line = Literal["frames", "guard"]


class Pair(NamedTuple):
    """A CURVE pair, Z85."""

    public: str
    secret: str


class Place:
    """The folder, and where things are in it.

    Parameters
    ----------
    folder
        The folder; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.authority_key = folder / "authority.pem", folder / "authority.key"
        self.server = folder / "server.pem"
        self.listed, self.revoked = folder / "listed", folder / "revoked"

    def pair(self, line: Line) -> Pair:
        """Return the server's CURVE pair of a line.

        Raises
        ------
        SettingsInvalid
            If there is none.
        """
        try:
            return Pair(**json.loads(self.pair_file(line).read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            raise SettingsInvalid(self._lacking(f"a readable {self.pair_file(line).name}")) from None

    def pair_file(self, line: Line) -> Path:
        """Return where the pair of a line is."""
        return self.folder / f"{line}.curve"

    def require(self) -> None:
        """Raise unless all that a server needs is there.

        Raises
        ------
        SettingsInvalid
            If something lacks.
        """
        wanted = (self.authority, self.server, self.listed, self.pair_file("frames"), self.pair_file("guard"))
        for path in wanted:
            if not path.exists():
                raise SettingsInvalid(self._lacking(path.name))

    def _lacking(self, what: str) -> str:
        making = f"beamloop keys init --folder {self.folder}"
        return f"{self.folder} holds no keys: {what} is missing; make them with: {making}"


def write_new(file: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, whole or not at all.

    Raises
    ------
    OutputExists, StorageFailed
        If it exists, or cannot be written.
    """
    if file.exists():
        raise OutputExists(f"{file} exists already and is not overwritten; move it away, or choose another name")
    write(file, text, mode)


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Write or replace a file, whole or not at all.

    Raises
    ------
    StorageFailed
        If the disk does not take it.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as writing:
            writing.write(text)
            writing.flush()
            os.fsync(writing.fileno())
        new.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise StorageFailed(f"{file} cannot be written: {error.strerror}; nothing was changed") from None
