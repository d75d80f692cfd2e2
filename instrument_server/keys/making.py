"""Making, listing and revoking keys: what `beamloop keys` does to the folder."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import zmq

from ...core import OutputExists, SettingsInvalid, StorageFailed, UnknownName
from ...core.control import Role
from ...core.key_file import KeyFile, key_text
from ...core.nearest import nearest
from ...core.storage import sync_folder
from .certificates import Certified, client_certificate, new_authority, server_certificate
from .key_list import Key, KeyList
from .place import Line, Pair, Place, write, write_new

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


def make_folder(place: Place) -> None:
    """Make the folder of an instrument's keys, with authority, server's keys and an empty list.

    Raises
    ------
    OutputExists
        If there are keys already.
    """
    if place.authority.exists() or place.listed.exists():
        raise OutputExists(f"{place.folder} holds keys already; new ones would shut out everybody who has one")
    for folder in (place.folder, place.revoked, place.listed):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = new_authority()
    write_new(place.authority, authority.certificate, 0o644)
    write_new(place.authority_key, authority.private)
    write_new(place.server, "".join(server_certificate(authority)))
    lines: tuple[Line, ...] = ("frames", "guard")
    for line in lines:
        write_new(place.pair_file(line), json.dumps(_new_pair()._asdict()))


def add_key(place: Place, name: str, role: Role, days: float, file: Path) -> Key:
    """List a new key and write the file that its owner carries to the client.

    Raises
    ------
    OutputExists
        If a key of this name is listed, or the file exists.
    SettingsInvalid
        If the name cannot be one, or the folder holds no keys.
    """
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(f"{name!r} cannot be the name of a key; letters, digits, '_', '-' and '.' can")
    place.require()
    if (place.listed / f"{name}.json").exists():
        raise OutputExists(f"a key {name!r} is listed already; change it ('beamloop keys change {name}'), or revoke it")
    shown, pair = client_certificate(_authority(place), name), _new_pair()
    facts = KeyFile(
        name=name, authority=place.authority.read_text(), public=pair.public, secret=pair.secret,
        frames=place.pair("frames").public, guard=place.pair("guard").public,
    )  # fmt: skip
    write_new(file, key_text(facts, *shown))
    key = Key(name=name, role=role, expires=_after(days), certificate=shown.fingerprint, curve=pair.public)
    try:
        _list(place, key)
    except StorageFailed:
        file.unlink()
        raise
    return key


def change_key(place: Place, name: str, role: Role | None, days: float | None) -> Key:
    """Change the role of a key, or let it last `days` from now; its file stays as it is.

    Raises
    ------
    UnknownName
        If no key of this name is listed.
    """
    key = _listed(place, name)
    news = {"role": role or key.role, "expires": key.expires if days is None else _after(days)}
    changed = key.model_copy(update=news)
    _list(place, changed)
    return changed


def revoke_key(place: Place, name: str) -> None:
    """Take a key off the list; works on a full disk.

    Raises
    ------
    UnknownName
        If no key of this name is listed.
    StorageFailed
        If its file can neither be moved nor removed.
    """
    _listed(place, name)
    file = place.listed / f"{name}.json"
    try:
        try:
            file.rename(place.revoked / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.json")
        except OSError:
            file.unlink()
        # A power cut must not let it in again.
        sync_folder(place.listed)
    except OSError as error:
        told = f"{file} cannot be removed for good: {error.strerror}; remove it by hand, or stop the server"
        raise StorageFailed(told) from None


def _listed(place: Place, name: str) -> Key:
    place.require()
    keys = {key.name: key for key in KeyList(place).keys}
    if name not in keys:
        raise UnknownName(f"no key {name!r} is listed in {place.folder}{nearest(name, list(keys))}")
    return keys[name]


def _list(place: Place, key: Key) -> None:
    write(place.listed / f"{key.name}.json", key.model_dump_json(indent=1))


def _authority(place: Place) -> Certified:
    try:
        return Certified(place.authority.read_text(), place.authority_key.read_text())
    except OSError as error:
        raise SettingsInvalid(
            f"{place.authority_key} is needed to make a key and cannot be read ({error.strerror}); bring it back"
        ) from None


def _new_pair() -> Pair:
    public, secret = zmq.curve_keypair()
    return Pair(public.decode(), secret.decode())


def _after(days: float) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
