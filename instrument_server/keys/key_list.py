"""The live list of keys: who is let in at this moment, in which role.

The list is a folder of small files, looked at again all the time, so that a key that is revoked,
expires or changes its role does so within a second on connections that are open, too. A list that
cannot be read for a second lets nobody in.

A certificate or CURVE key says who somebody is. What they may do, and until when, is said here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from ...core import Frozen, KeyRefused
from ...core.control import Role
from .place import Place

LOOK_S = 0.2
"""How old the list may be when somebody asks."""

STALE_S = 1.0
"""So long a list that cannot be read is still believed."""


def _utc() -> datetime:
    return datetime.now(UTC)


Signature = frozenset[tuple[str, int, int, int, int]]


class Key(Frozen):
    """One key, as its file in the list says.

    Attributes
    ----------
    name
        Its name, which is the file's.
    role
        What it may do.
    expires
        When it ends.
    certificate
        SHA-256 of its certificate, in hexadecimal.
    curve
        Public half of its CURVE pair, Z85.
    """

    name: str
    role: Role
    expires: AwareDatetime
    certificate: str
    curve: str


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, by both public halves of each key, and the names of the revoked."""

    signature: Signature = frozenset()
    keys: tuple[Key, ...] = ()
    by_half: Mapping[str, Key] = field(default_factory=dict)
    revoked: Mapping[str, Key] = field(default_factory=dict)


class KeyList:
    """The keys in one folder; any thread may ask.

    Parameters
    ----------
    place
        The folder.
    reads
        Whether a question about an open connection may read the disk when the list is older than `LOOK_S`.
        Where it may not, another thread calls `look`, and the last list is believed however old it is.
    clock, now
        Monotonic seconds, and the time of day.

    Attributes
    ----------
    place
        The folder.
    """

    def __init__(
        self,
        place: Place,
        reads: bool = True,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc,
    ) -> None:
        self.place, self._reads, self._clock, self._now = place, reads, clock, now
        self._looking = threading.Lock()
        self._read = _Read()
        self._looked_s = float("-inf")
        self._trouble = "it was never read"
        self.look()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys on the list, by name, expired ones among them."""
        return self._read.keys

    def look(self) -> bool:
        """Read the list if it has changed; tell whether it has."""
        # Whoever comes while another thread is looking goes on with the last list.
        if not self._looking.acquire(blocking=False):
            return False
        try:
            started_s = self._clock()
            changed = self._looked()
            self._looked_s = started_s
            return changed
        except OSError as error:
            self._trouble = str(error)
            return False
        finally:
            self._looking.release()

    def admit(self, curve: str) -> str:
        """Return the name of the key with this CURVE half; see `key_of`."""
        return self.key_of(curve).name

    def admit_new(self, curve: str) -> str:
        """Return the name of the key that a new connection shows; reads the disk whoever asks."""
        self._keep_fresh()
        self._expect(curve)
        return self.key_of(curve).name

    def key_of(self, half: str) -> Key:
        """Return the key of a public half: the SHA-256 of its certificate, or its CURVE half.

        Raises
        ------
        KeyRefused
            If it is not on the list, was revoked or has expired, or the list cannot be read.
        """
        if self._reads:
            self._keep_fresh()
            self._expect(half)
        key = self._read.by_half.get(half)
        if key is None:
            was = self._read.revoked.get(half)
            raise KeyRefused(
                "that key is not on this instrument's list" if was is None else f"{_name(was)} was revoked"
            )
        if self._now() >= key.expires:
            raise KeyRefused(
                f"{_name(key)} expired on {key.expires:%Y-%m-%d %H:%M} UTC; an engineer can renew it with "
                f"'beamloop keys change {key.name} --days 365'"
            )
        return key

    def _expect(self, half: str) -> None:
        """Look at once for a key that is not known: it may have been made just now."""
        if half not in self._read.by_half:
            self.look()

    def _keep_fresh(self) -> None:
        if self._clock() - self._looked_s > LOOK_S:
            self.look()
        if self._clock() - self._looked_s > STALE_S:
            raise KeyRefused(f"the list of keys cannot be read, so nobody is let in: {self._trouble}")

    def _looked(self) -> bool:
        folders = (self.place.listed, self.place.revoked)
        signature = frozenset(mark for folder in folders for mark in _marks(folder))
        if signature == self._read.signature:
            return False
        keys, revoked = (_keys_in(folder) for folder in folders)
        self._read = _Read(signature, keys, _by_half(keys), _by_half(revoked))
        return True


def _name(key: Key) -> str:
    return f"the key {key.name!r}"


def _by_half(keys: tuple[Key, ...]) -> dict[str, Key]:
    return {half: key for key in keys for half in (key.certificate, key.curve)}


def _marks(folder: Path) -> list[tuple[str, int, int, int, int]]:
    """Return what changes when a file in the folder does."""
    with os.scandir(folder) as entries:
        found = [(entry.path, entry.stat()) for entry in entries if entry.name.endswith(".json")]
    return [(path, s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino) for path, s in found]


def _keys_in(folder: Path) -> tuple[Key, ...]:
    """Return the keys in a folder; a file that is damaged, or named as another key, is none."""
    found = (_key_in(file) for file in sorted(folder.glob("*.json")))
    return tuple(key for key in found if key is not None)


def _key_in(file: Path) -> Key | None:
    try:
        key = Key.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return key if file.stem == key.name or file.parent.name == "revoked" else None
