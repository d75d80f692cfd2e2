"""Three neighbouring free ports for one instrument: control, frames, guard."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

from ...core import OutputExists
from ...core.control import FRAMES_OFFSET, GUARD_OFFSET

TRIES = 50

FREE = range(20_000, 32_000)
"""Where free ports are looked for: below those that operating systems give to connections that leave.

Between this look and the moment when guard and driver listen, a connection of any program could take one of those.
"""


def free_port(wanted: int, host: str = "127.0.0.1") -> int:
    """Return `wanted` if it and its two neighbours are free; 0 looks for three free ones.

    Raises
    ------
    OutputExists
        If a wanted port is taken.
    """
    for _ in range(TRIES if wanted == 0 else 1):
        with ExitStack() as taken:
            try:
                base = wanted or random.choice(FREE)
                for offset in (0, FRAMES_OFFSET, GUARD_OFFSET):
                    _bind(taken, host, base + offset)
            except (OSError, OverflowError):
                continue
            return base
    raise OutputExists(
        f"ports {wanted}, {wanted + FRAMES_OFFSET} and {wanted + GUARD_OFFSET} on {host} are not all free; "
        "another instrument may be running: see 'beamloop info localhost', or name another port"
    )


def _bind(taken: ExitStack, host: str, port: int) -> None:
    listener = taken.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
