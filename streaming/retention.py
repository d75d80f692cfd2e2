"""What a sender keeps until its receiver has stored it.

The bound is in bytes of memory: at most `bound_bytes` are held for one receiver, and
beside them what may not wait (the begin and end of a scan, or one batch that alone is
larger than the bound). Every message is charged `OVERHEAD_BYTES` for its own objects, so
that very small batches cannot outgrow the bound unseen. At the bound the source is
paused; nothing is ever dropped to make room.

A batch that is a slice of a larger array keeps all of that array alive; give the channel
arrays of their own where that matters.
"""

from __future__ import annotations

from .wire import Batch, Numbered, buffer_bytes

OVERHEAD_BYTES = 1024


def weight_bytes(message: Numbered) -> int:
    """Return what a message is charged against the bound."""
    return OVERHEAD_BYTES + (buffer_bytes(message.batch) if isinstance(message, Batch) else 0)


class Retention:
    """Numbered messages in order, without gaps, until they are released from the front.

    Not thread-safe; the channel that owns it is guarded by its sender.

    Parameters
    ----------
    bound_bytes
        Bytes that may be held before `has_room` says no.
    """

    def __init__(self, bound_bytes: int) -> None:
        self.bound_bytes = bound_bytes
        self.held_bytes = 0
        self._messages: dict[int, Numbered] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether so many more bytes fit; an empty retention takes any message."""
        return not self._messages or self.held_bytes + size_bytes <= self.bound_bytes

    def keep(self, message: Numbered) -> None:
        """Hold a message, whose number follows that of the one before."""
        self._messages[message.seq] = message
        self.held_bytes += weight_bytes(message)

    def message(self, seq: int) -> Numbered:
        """Return the message of this number, which must be held."""
        return self._messages[seq]

    def release(self, seq: int) -> list[Numbered]:
        """Let go of every message up to and with `seq`; return them."""
        released = []
        for number in self._messages:
            if number > seq:
                break
            released.append(self._messages[number])
        for message in released:
            del self._messages[message.seq]
            self.held_bytes -= weight_bytes(message)
        return released
