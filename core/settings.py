"""Read a TOML file into a checked, immutable value, and say what is wrong with it in one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import SettingsInvalid
from .frozen import Frozen
from .nearest import nearest

Settings = TypeVar("Settings", bound=Frozen)


def load(path: Path, kind: type[Settings]) -> Settings:
    """Return the settings of `kind` in a TOML file.

    Raises
    ------
    SettingsInvalid
        If the file is missing, is not TOML, or has a wrong key (the nearest valid one is named) or value.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsInvalid(f"{path} is not a readable TOML file: {error}") from None
    return checked(data, kind, str(path))


def checked(data: Mapping[str, Any], kind: type[Settings], where: str) -> Settings:
    """Return `data` as a checked value of `kind`; `where` names its origin in messages.

    Raises
    ------
    SettingsInvalid
        If a key is unknown (the nearest valid one is named) or a value is wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise SettingsInvalid(f"{where}: " + "; ".join(_sentence(e, kind) for e in error.errors())) from None


def _sentence(error: Any, kind: type[BaseModel]) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}{nearest(error['loc'][-1], _keys(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"missing key {place!r}"
    return f"{place} = {error['input']!r:.60}: {error['msg'].removeprefix('Value error, ')}"


def _keys(kind: Any, path: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the table at `path`; names of union members and indices are stepped over."""
    for name in path:
        field = getattr(kind, "model_fields", {}).get(name)
        kind = _model_in(field.annotation) if field else kind
    return list(getattr(kind, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
