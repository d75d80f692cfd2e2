"""Start guard and driver as processes of their own, and see them off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core import Frozen

LEAVE_S = 3.0
"""How long a child may take to leave before it is killed."""


@contextmanager
def child(module: str, orders: Frozen, complaints: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m module` with its orders; on leaving, let it go and kill it if it stays.

    Parameters
    ----------
    module
        The module to run, for example `beamloop.instrument_server.guard.process`.
    orders
        Written to the child's standard input, which stays open as long as the server lives.
    complaints
        File that takes the child's standard error.
    """
    with complaints.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(orders.model_dump_json() + "\n")
            process.stdin.flush()
            yield process
        finally:
            # A child that died at once has closed the pipe's other end already.
            try:
                process.stdin.close()
            except BrokenPipeError:
                process.stdin = None
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
