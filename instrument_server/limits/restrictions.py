"""Limits and budgets that an engineer narrowed while the instrument runs, kept across a restart.

They have the keys of the configuration (`limits.bias_v.high`, `dose.budget_per_m2`) and lie on top of
it: they can only narrow it, and to restore one is to fall back to it. Narrowing holds after a
restart, because whoever narrowed it had a reason that a restart does not know of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...core import Limit, SettingsInvalid
from ...core.limits_table import Restriction
from ...core.settings import checked
from ...core.storage import storing, sync_folder

Held = Mapping[str, Restriction]

PARTS = ("low", "high", "rate_per_s", "step")
_HELD = TypeAdapter(dict[str, Restriction])


def narrower(held: Held) -> dict[str, Limit]:
    """Return the limits among some restrictions, by parameter name.

    Raises
    ------
    SettingsInvalid
        If a key is none of a limit or budget, or a value makes no sense there.
    """
    found: dict[str, dict[str, float]] = {}
    for key, restriction in held.items():
        name, part = _parameter(key)
        if name:
            found.setdefault(name, {})[part] = restriction.value
    return {name: checked(parts, Limit, f"limits.{name}") for name, parts in found.items()}


def budgets(held: Held) -> dict[str, float]:
    """Return the dose budgets among some restrictions, by configuration key."""
    return {key: restriction.value for key, restriction in held.items() if key.startswith("dose.")}


def remarks(held: Held) -> dict[str, str]:
    """Return what to add to a refusal by each restricted limit, by the key that it names."""
    said = {}
    for key, restriction in held.items():
        name, part = _parameter(key)
        said[f"limits.{name}" if part in ("low", "high") else key] = str(restriction)
    return said


def without(held: Held, restored: Iterable[str]) -> dict[str, Restriction]:
    """Return the restrictions that are left; a key restores itself and all below it, `all` everything.

    Raises
    ------
    SettingsInvalid
        If a key restores nothing.
    """
    left = dict(held)
    for key in restored:
        gone = [name for name in left if key == "all" or name == key or name.startswith(f"{key}.")]
        if not gone and key != "all":
            raise SettingsInvalid(f"{key!r} is not narrowed; narrowed are: {', '.join(held) or 'none'}")
        left = {name: restriction for name, restriction in left.items() if name not in gone}
    return left


def read(file: Path) -> dict[str, Restriction]:
    """Return the restrictions in a file; none if it is not there.

    Raises
    ------
    SettingsInvalid
        If it is damaged.
    """
    if not file.exists():
        return {}
    try:
        return _HELD.validate_json(file.read_bytes())
    except ValidationError:
        raise SettingsInvalid(
            f"{file} is damaged, so what was narrowed is not known: see the audit, and move the file away"
        ) from None


def write(file: Path, held: Held) -> None:
    """Keep restrictions in a file, in one step.

    Raises
    ------
    StorageFailed
        If the disk does not take it.
    """
    new = file.with_suffix(".new")
    with storing(file):
        with new.open("w", encoding="utf-8") as out:
            json.dump({key: restriction.model_dump() for key, restriction in held.items()}, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
        sync_folder(file.resolve().parent)


def _parameter(key: str) -> tuple[str, str]:
    """Return the parameter and part that a key means; both empty for a key of the dose."""
    words = key.split(".")
    if words[0] == "dose" and len(words) > 1:
        return "", ""
    if words[0] != "limits" or len(words) != 3 or words[2] not in PARTS:
        raise SettingsInvalid(
            f"{key!r} is no limit; give limits.NAME.PART with PART one of {', '.join(PARTS)}, dose.budget_per_m2 or "
            "dose.regions.NAME.budget_per_m2"
        )
    return words[1], words[2]
