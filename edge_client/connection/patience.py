"""Wait for frames as long as the instrument is at work, and not much longer.

A slow exposure and a dead instrument look the same on the data channel. So a silence is
followed by a question on the control line: whoever is still acquiring may take longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ...core import InstrumentState, InstrumentUnreachable
from ...streaming.incoming import Arrivals, Item
from ...streaming.receiver import Receiver

LOOK_S = 2.0
"""Silence after which the instrument's state is asked."""

LOOKS = 3
"""So often in a row it may be silent without acquiring, before the wait ends."""


class Patience:
    """The inlet of an incoming scan that asks how the instrument is when nothing comes.

    Parameters
    ----------
    receiver
        Where the messages come in.
    state
        Asks the instrument; raises `InstrumentUnreachable` if it is gone.
    """

    def __init__(self, receiver: Receiver, state: Callable[[], InstrumentState]) -> None:
        self._receiver, self._state = receiver, state

    def next_message(self, arrivals: Arrivals, timeout_s: float) -> Item:
        """Take the next message; `timeout_s` bounds the wait even while the instrument is acquiring.

        Raises
        ------
        InstrumentUnreachable
            If the instrument is gone, its driver lost, or nothing comes although it has stopped acquiring.
        ChannelClosed
            As `Receiver.next_message`.
        """
        deadline, looks = time.monotonic() + timeout_s, 0
        while True:
            left_s = deadline - time.monotonic()
            try:
                return self._receiver.next_message(arrivals, max(0.0, min(LOOK_S, left_s)))
            except InstrumentUnreachable as silence:
                activity = self._state().activity
                looks += activity != "acquiring"
                if left_s <= LOOK_S or looks >= LOOKS:
                    raise InstrumentUnreachable(f"{silence}; the instrument says it is {activity}") from None

    def acknowledge(self, arrivals: Arrivals) -> None:
        """Tell the sender that everything taken is stored."""
        self._receiver.acknowledge(arrivals)
