"""Make a policy or a reduction from a name and settings of an experiment file, checked before use.

A plugin is a Frozen class, which checks itself, or a function whose keyword-only
parameters are its settings; either way a misspelt key is answered with the nearest one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import create_model

from ..core import Frozen
from ..core.registry import Group, find, known
from ..core.settings import checked
from .record.events import Plugin


def made(group: Group, name: str, settings: Mapping[str, object], where: str, *given: object) -> Any:
    """Return what the plugin `name` makes of `given` and its settings.

    Raises
    ------
    UnknownName
        If nothing of that name is registered.
    SettingsInvalid
        If a setting is unknown or wrong; `where` names its place in the message.
    """
    factory = find(group, name)
    if isinstance(factory, type) and issubclass(factory, Frozen):
        return checked(settings, factory, where)
    return factory(*given, **_checked_keywords(factory, settings, where))


def installed(group: Group, name: str, settings: Mapping[str, object]) -> Plugin:
    """Return what a journal keeps of a plugin: where it came from, in which version."""
    entry = known(group)[name]
    version = "unknown" if entry.dist is None else entry.dist.version
    return Plugin(name=name, entry=entry.value, version=version, settings=dict(settings))


def _checked_keywords(factory: Callable[..., Any], settings: Mapping[str, object], where: str) -> dict[str, object]:
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(settings)
    types = get_type_hints(factory)
    fields: dict[str, Any] = {
        p.name: (types.get(p.name, object), ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }
    values = checked(settings, create_model("PluginSettings", __base__=Frozen, **fields), where)
    return {name: getattr(values, name) for name in fields}
