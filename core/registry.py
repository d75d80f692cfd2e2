"""Find plugins by name through entry-point groups, ours and everybody's alike.

A configuration names a plugin; its package registers it under a group. Nothing is
imported until it is asked for, which keeps heavy packages out of light processes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from .errors import NotInstalled, UnknownName
from .nearest import nearest


class Group(NamedTuple):
    """An entry-point group and the noun for one of its plugins."""

    name: str
    noun: str


INSTRUMENTS = Group("beamloop.instruments", "instrument")
BLANKERS = Group("beamloop.blankers", "blanker")
REDUCTIONS = Group("beamloop.reductions", "reduction")
DETECTORS = Group("beamloop.detectors", "detector")
POLICIES = Group("beamloop.policies", "policy")


def known(group: Group) -> dict[str, EntryPoint]:
    """Return the plugins registered under a group, by name."""
    return {entry.name: entry for entry in entry_points(group=group.name)}


def find(group: Group, name: str) -> Callable[..., Any]:
    """Import and return the plugin of this name: a class or a function that makes one.

    Raises
    ------
    UnknownName
        If nothing of that name is registered; the message names the nearest.
    NotInstalled
        If it is registered and a package that it needs is missing.
    """
    plugins = known(group)
    if name not in plugins:
        raise UnknownName(
            f"no {group.noun} named {name!r}{nearest(name, plugins)}. "
            f"Plugins register under the entry-point group {group.name}"
        )
    try:
        return plugins[name].load()
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.split(".")[0] == plugins[name].module.split(".")[0]:
            raise
        raise NotInstalled(
            f"{group.noun} {name!r} needs the package {missing!r}, which is not installed: pip install 'beamloop[all]'"
        ) from None
