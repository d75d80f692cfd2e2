"""Fixtures for every test: recorded data, and a check that nothing is left running."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Return the folder of recorded data; skips, loudly, where BEAMLOOP_DATA is not set."""
    folder = os.environ.get("BEAMLOOP_DATA")
    if not folder:
        pytest.skip("BEAMLOOP_DATA is not set: this test needs recorded data")
    return Path(folder)


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a test that leaves a thread of ours running."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 2.0
    while True:
        left = [t for t in threading.enumerate() if t not in before and t.is_alive() and not t.daemon]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.01)
    assert not left, f"threads left running: {left}"
