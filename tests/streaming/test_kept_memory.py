"""Where glibc allocates, large blocks come back without the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from beamloop.streaming.kept_memory import keep_large_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [bytes(b"x") * (2 * 2**20) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if KEEP:
    assert keep_large_memory()
faults()
print(faults())
"""


def faults(keep: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", f"KEEP = {keep}\n{FAULTS}"], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_large_blocks_that_come_and_go_cost_no_page_faults() -> None:
    assert faults(keep=True) < 2000
    assert faults(keep=False) > 10_000
