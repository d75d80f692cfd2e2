"""Hear what another version says: fields that are not known here are passed over, all else must be right.

A reply from a newer side may tell more than this side understands; what it does tell must still be valid.
Requests and plans are never read so: what is asked for is understood whole or refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Record = TypeVar("Record", bound=BaseModel)


def heard(kind: type[Record], said: object) -> Record:
    """Return the record that a reply describes, without the fields that this version does not know.

    Raises
    ------
    ValidationError
        If anything that is known is missing or wrong.
    """
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if not unknown:
            raise
    return kind.model_validate(_without(said, {path for path in unknown if path}))


def _without(said: Any, paths: set[tuple[int | str, ...]]) -> Any:
    if isinstance(said, dict):
        return {key: _without(value, _below(paths, key)) for key, value in said.items() if (key,) not in paths}
    if isinstance(said, list | tuple):
        return [_without(value, _below(paths, index)) for index, value in enumerate(said)]
    return said


def _below(paths: set[tuple[int | str, ...]], key: int | str) -> set[tuple[int | str, ...]]:
    return {path[1:] for path in paths if len(path) > 1 and path[0] == key}
