"""What a sender keeps until its receiver has stored it: in memory, then on disk.

The bound is in bytes of memory: at most `bound_bytes` are held for one receiver, and
beside them what may not wait (the begin and end of a scan, a loss, or one batch that alone
is larger than the bound). Every message is charged `OVERHEAD_BYTES` for its own objects, so
that very small batches cannot outgrow the bound unseen. What finds no room in memory goes
to a `Store` with a bound of its own; numbers keep their order whichever holds them. At both
bounds the source is paused; nothing is ever dropped to make room but what `lose` is called for.

A batch that is a slice of a larger array keeps all of that array alive; give the channel
arrays of their own where that matters.
"""

from __future__ import annotations

from typing import Protocol

from ..core.frame import Scan
from .loss import Loss, loss_of
from .wire import Batch, Begin, End, Lost, Numbered, buffer_bytes

OVERHEAD_BYTES = 1024
RUN_BYTES = 128
"""What naming one run of lost frames takes, as Python keeps two numbers."""


def weight_bytes(message: Numbered) -> int:
    """Return what a message is charged against the bound."""
    match message:
        case Batch(batch=batch):
            return OVERHEAD_BYTES + buffer_bytes(batch)
        case Lost(loss=loss):
            return OVERHEAD_BYTES + RUN_BYTES * len(loss.runs)
        case _:
            return OVERHEAD_BYTES


class Store(Protocol):
    """Where batches go that memory has no room for: `Spill`, or what a simulation injects."""

    @property
    def held_bytes(self) -> int:
        """Bytes taken."""
        ...

    @property
    def fault(self) -> str:
        """Why it takes nothing now, as after a full disk; empty if it does."""
        ...

    def __len__(self) -> int:
        """Return how many batches it holds."""
        ...

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a batch of this size would be taken now."""
        ...

    def begin(self, scan: Scan) -> None:
        """Note the header of a scan of which batches may come."""
        ...

    def end(self, scan_id: str) -> None:
        """Note that no batch of a scan will come any more."""
        ...

    def put(self, message: Batch) -> bool:
        """Keep a batch under its number; False, with nothing kept, if the disk refuses."""
        ...

    def get(self, seq: int) -> Batch | Loss:
        """Return a batch that it holds; what is lost, if it is not what was put in.

        Raises
        ------
        StorageFailed
            If the disk does not give it now, but may later.
        """
        ...

    def loss(self, seq: int) -> Loss:
        """Return what is lost with a batch that it holds."""
        ...

    def drop(self, seq: int) -> None:
        """Let go of a batch."""
        ...

    def clear(self) -> None:
        """Let go of all."""
        ...

    def close(self) -> None:
        """Take and give nothing more; what is held stays where it is."""
        ...


class Retention:
    """Numbered messages in order until they are released.

    Not thread-safe; the channel that owns it is guarded by its sender.

    Parameters
    ----------
    bound_bytes
        Bytes of memory that may be held before batches go to the store.
    store
        Takes what memory has no room for; None: nothing does.

    Attributes
    ----------
    held_bytes
        Bytes of memory held.
    lost
        Frames that were let go, or that the store did not give back as they were.
    """

    def __init__(self, bound_bytes: int, store: Store | None = None) -> None:
        self.bound_bytes = bound_bytes
        self.held_bytes = self.lost = 0
        self.store = store
        # None: the store holds it.
        self._messages: dict[int, Numbered | None] = {}
        # Number of the batch that the store refused although it had room; 0 if there is none.
        self._refused = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __contains__(self, seq: int) -> bool:
        return seq in self._messages

    @property
    def spilled(self) -> int:
        """Messages that the store holds."""
        return 0 if self.store is None else len(self.store)

    @property
    def spilled_bytes(self) -> int:
        """Bytes that the store holds."""
        return 0 if self.store is None else self.store.held_bytes

    @property
    def fault(self) -> str:
        """Why the store takes nothing now; empty if it does, or there is none."""
        return "" if self.store is None else self.store.fault

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether so many more bytes fit; an empty retention takes any message.

        What the store refused before goes there first, so that memory exceeds its bound by one batch at most.
        """
        if self._fits(size_bytes):
            return True
        return self.store is not None and self._spills_refused() and self.store.has_room(size_bytes)

    def keep(self, message: Numbered) -> None:
        """Hold a message, whose number follows that of the one before."""
        weight = weight_bytes(message)
        if isinstance(message, Begin) and self.store is not None:
            self.store.begin(message.scan)
        if isinstance(message, Batch) and not self._fits(weight) and self.store is not None:
            if self.store.has_room(weight) and self.store.put(message):
                self._messages[message.seq] = None
                return
            # It had room and has just failed: memory holds this one beyond its bound.
            self._refused = message.seq
        self._messages[message.seq] = message
        self.held_bytes += weight

    def keep_stored(self, seq: int) -> None:
        """Hold a batch that the store holds under this number already."""
        self._messages[seq] = None

    def message(self, seq: int) -> Numbered:
        """Return the message of this number, which must be held.

        Raises
        ------
        StorageFailed
            If the store does not give it now.
        """
        held = self._messages[seq]
        if held is not None:
            return held
        assert self.store is not None
        found = self.store.get(seq)
        if isinstance(found, Batch):
            return found
        # Damaged on the disk.
        return self._lose(seq, found)

    def lose(self) -> None:
        """Let go of every batch; what is lost stands for it."""
        for seq, held in list(self._messages.items()):
            if isinstance(held, Batch):
                self._lose(seq, loss_of(held.batch))
            elif held is None and self.store is not None:
                self._lose(seq, self.store.loss(seq))

    def release(self, seq: int) -> list[Numbered]:
        """Let go of every message up to and with `seq`; return those that were in memory."""
        numbers = []
        for number in self._messages:
            if number > seq:
                break
            numbers.append(number)
        return [message for number in numbers if (message := self.release_one(number)) is not None]

    def release_one(self, seq: int) -> Numbered | None:
        """Let go of one message, if it is held; return it if it was in memory."""
        if seq not in self._messages:
            return None
        message = self._messages.pop(seq)
        if isinstance(message, End) and self.store is not None:
            self.store.end(message.end.scan_id)
        if message is not None:
            self.held_bytes -= weight_bytes(message)
        elif self.store is not None:
            self.store.drop(seq)
        return message

    def clear(self) -> None:
        """Let go of all."""
        self._messages.clear()
        self.held_bytes = self._refused = 0
        if self.store is not None:
            self.store.clear()

    def _lose(self, seq: int, loss: Loss) -> Lost:
        """Put into memory what was lost, in place of a batch wherever that was."""
        held = self._messages[seq]
        if held is not None:
            self.held_bytes -= weight_bytes(held)
        elif self.store is not None:
            self.store.drop(seq)
        lost = self._messages[seq] = Lost(seq, loss)
        self.lost += loss.count
        self.held_bytes += weight_bytes(lost)
        return lost

    def _fits(self, size_bytes: int) -> bool:
        return not self._messages or self.held_bytes + size_bytes <= self.bound_bytes

    def _spills_refused(self) -> bool:
        """Try to put into the store what it refused; tell whether nothing of that kind is left."""
        held = self._messages.get(self._refused)
        if self.store is not None and isinstance(held, Batch):
            weight = weight_bytes(held)
            if not (self.store.has_room(weight) and self.store.put(held)):
                return False
            self._messages[self._refused] = None
            self.held_bytes -= weight
        self._refused = 0
        return True
