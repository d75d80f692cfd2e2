"""Keeps the memory of large messages with the process, instead of fetching it from the kernel for each.

A receiver takes memory for a message of 2 MiB and gives it back a moment later. The allocator of glibc
hands such blocks to the kernel again and again, and each new one then costs 512 page faults, which took
a quarter of a receiver's time. At most `KEPT_BYTES` that are free stay with the process.

Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

KEPT_BYTES = 256 * 2**20
LARGEST_BYTES = 32 * 2**20
"""The most that glibc takes for the first of the two; larger blocks come from the kernel each time."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@cache
def keep_large_memory() -> bool:
    """Let this process keep what large messages used; tell whether its allocator can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_BYTES) and mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
