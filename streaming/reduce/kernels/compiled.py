"""How a kernel is compiled: for each dtype when it first comes, once on a machine, without the interpreter lock.

The machine code is kept beside the source, or in the user's cache folder where that is
read-only (`NUMBA_CACHE_DIR` names another). Kernels see no Python object while they run, so
other threads go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core import event

P = ParamSpec("P")
R = TypeVar("R")

REORDERED = {"reassoc", "nsz"}
"""What a sum may do to be spread over the lanes of a vector: change its order, and take -0 for 0; nan stays nan."""


def compiled(kernel: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and numbers; sums of floats may take any order that the frame alone decides."""
    settings: dict[str, Any] = {"nogil": True, "fastmath": REORDERED}
    try:
        return njit(cache=True, **settings)(kernel)
    except RuntimeError:
        # Nowhere to keep it: every process compiles anew.
        return njit(**settings)(kernel)


@contextmanager
def compilations(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with the kernel's name, in words, before it is compiled inside this context; not if the cache has it.

    Parts that numba compiles for it on the way, its own among them, are not told.
    """
    with event.install_listener("numba:compile", _Told(tell)):
        yield


class _Told(event.Listener):
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: event.Event) -> None:
        kernel = (event.data or {})["dispatcher"].py_func
        if kernel.__module__.startswith(__package__):
            self._tell(kernel.__name__.strip("_").replace("_", " "))

    def on_end(self, event: event.Event) -> None:
        """Nothing follows: what was compiled runs."""
