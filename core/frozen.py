"""The value that crosses wires and files: immutable, validated, no unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A checked, immutable record; `model_dump()` gives what msgpack and JSON carry."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
