"""The server's eye on the list of keys: changes go into the audit, and nobody refused keeps the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...core import KeyRefused
from ...core.control import belongs
from .key_list import LOOK_S, Key, KeyList


@contextmanager
def watched(
    keys: KeyList, changed: Callable[[tuple[Key, ...]], None], holder: Callable[[], str], dismiss: Callable[[str], None]
) -> Iterator[None]:
    """Watch the list until the context is left.

    Parameters
    ----------
    keys
        The list.
    changed
        Called with the list when it has changed.
    holder
        Returns who holds the lease; empty if nobody does.
    dismiss
        Takes the lease from a holder whose key is not let in any more.
    """
    done = threading.Event()

    def watch() -> None:
        seen = keys.keys
        while not done.wait(LOOK_S):
            keys.look()
            if keys.keys != seen:
                seen = keys.keys
                changed(seen)
            if (who := holder()) and not _is_let_in(keys, who):
                dismiss(who)

    thread = threading.Thread(target=watch, name="keys")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_let_in(keys: KeyList, client: str) -> bool:
    for key in keys.keys:
        if belongs(client, key.name):
            try:
                keys.key_of(key.curve)
            except KeyRefused:
                return False
            return True
    return False
