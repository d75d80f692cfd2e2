"""Every test here must end its I/O threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_channel_threads_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(("sender", "receiver"))]
    assert not left, f"I/O threads left running: {left}"
