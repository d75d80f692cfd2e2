"""Small msgpack messages between the three processes of one instrument, over loopback.

The private lines carry a token that only these processes know, so another user of the
machine cannot open the beam. The guard's public line carries none: anybody may stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from ...core import WireInvalid

LOOPBACK = "tcp://127.0.0.1:*"


def pack(message: Mapping[str, object]) -> bytes:
    """Return the bytes of one message."""
    return msgpack.Packer().pack(dict(message))


def unpack(payload: bytes) -> dict[str, Any]:
    """Return the message in these bytes.

    Raises
    ------
    WireInvalid
        If they are not one msgpack mapping with text keys.
    """
    try:
        message = msgpack.unpackb(payload, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise WireInvalid(f"{len(payload)} bytes are not msgpack: {error}") from None
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireInvalid(f"a message must be a mapping with text keys, got {type(message).__name__}")
    return message
