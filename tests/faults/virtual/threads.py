"""What programs take from `threading`, `time`, `queue`, `secrets` and `datetime`, in virtual time.

Each class stands in for the one of the same name; a killed process's locks and events do nothing any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any, Self

from greenlet import getcurrent

from .hub import Hub, Killed, Task, current_living, current_node, current_task


def _is_ghost() -> bool:
    node = current_node()
    return node is not None and not node.alive


class _Waiting:
    """Tasks that wait for something, first come, first woken."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def wait(self, timeout_s: float | None) -> bool:
        task = current_task()
        self._tasks.append(task)
        try:
            return task.block(timeout_s)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)

    def wake(self, count: int | None = None) -> None:
        if not self._tasks:
            return
        for _ in range(len(self._tasks) if count is None else min(count, len(self._tasks))):
            self._tasks.popleft().wake()


class RLock:
    """A lock that its holder may take again."""

    AGAIN = True

    def __init__(self) -> None:
        self._owner: Task | None = None
        self._depth = 0
        self._waiting = _Waiting()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = current_living()
        if me is None:
            return True
        assert me is not self._owner or self.AGAIN, "a lock was taken twice"
        while self._owner is not None and self._owner is not me:
            if not blocking:
                return False
            if not self._waiting.wait(None if timeout < 0 else timeout) and timeout >= 0:
                return False
        self._owner = me
        self._depth += 1
        return True

    def release(self, *_: object) -> None:
        if current_living() is None:
            return
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._waiting.wake(1)

    __enter__, __exit__ = acquire, release

    def let_go(self) -> int:
        depth, self._depth, self._owner = self._depth, 0, None
        self._waiting.wake(1)
        return depth

    def take_back(self, depth: int) -> None:
        self.acquire()
        self._depth = depth


class Lock(RLock):
    """A lock; to take it twice in one thread would hang, so it is an error here."""

    AGAIN = False

    def locked(self) -> bool:
        return self._owner is not None


class Condition:
    """A lock with a place to wait for news."""

    def __init__(self, lock: RLock | None = None) -> None:
        self._lock = lock or RLock()
        self._news = _Waiting()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        depth = self._lock.let_go()
        try:
            return self._news.wait(timeout)
        finally:
            if not _is_ghost():
                self._lock.take_back(depth)

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        until = None if timeout is None else current_task().node.clock() + timeout
        while not predicate():
            left = None if until is None else until - current_task().node.clock()
            if left is not None and left <= 0:
                return predicate()
            self.wait(left)
        return True

    def notify(self, n: int = 1) -> None:
        self._news.wake(n)

    def notify_all(self) -> None:
        self._news.wake()


class Event:
    """A flag to wait for."""

    def __init__(self) -> None:
        self._is_set = False
        self._news = _Waiting()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._news.wake()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._news.wait(timeout)
        return self._is_set


class Thread:
    """A thread of the process that starts it."""

    def __init__(
        self, group: None = None, target: Callable[..., object] = lambda: None, name: str = "",
        args: tuple[Any, ...] = (), *, daemon: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.daemon = name, daemon
        self._work = lambda: target(*args)
        self._task: Task | None = None

    def start(self) -> None:
        self._task = current_task().node.spawn(self._work)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.dead

    def join(self, timeout: float | None = None) -> None:
        if self._task is None or self._task.dead or _is_ghost():
            return
        self._task.joiners.append(current_task())
        current_task().block(timeout)


class SimpleQueue:
    """Things handed from one thread to another."""

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._things: deque[Any] = deque()
        self._news = _Waiting()

    def put(self, thing: Any) -> None:
        self._things.append(thing)
        self._news.wake(1)

    def put_nowait(self, thing: Any) -> None:
        if self._most and len(self._things) >= self._most:
            raise Full
        self.put(thing)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        while not self._things:
            if not block or (not self._news.wait(timeout) and timeout is not None):
                raise Empty
        return self._things.popleft()

    def empty(self) -> bool:
        return not self._things

    def __class_getitem__(cls, _: object) -> type[Self]:
        return cls


class Empty(Exception):
    """Nothing was in the queue."""


class Full(Exception):
    """No place was in the queue."""


class Future:
    """A result that comes later."""

    def __init__(self) -> None:
        self._set, self._value, self._error = Event(), None, None

    def __class_getitem__(cls, _: object) -> type[Self]:
        return cls

    def set_result(self, value: Any) -> None:
        self._value = value
        self._set.set()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._set.set()

    def done(self) -> bool:
        return self._set.is_set()

    def result(self, timeout: float | None = None) -> Any:
        if not self._set.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


THREADING = SimpleNamespace(
    Lock=Lock, RLock=RLock, Condition=Condition, Event=Event, Thread=Thread, current_thread=current_task,
    get_ident=lambda: id(current_task()),
)  # fmt: skip
QUEUE = SimpleNamespace(SimpleQueue=SimpleQueue, Queue=SimpleQueue, Empty=Empty, Full=Full)


class Clock:
    """The clocks and the dice that programs see, of the process that looks."""

    def __init__(self, world: Hub) -> None:
        self._world = world

    def monotonic(self) -> float:
        node = getattr(getcurrent(), "node", None)
        return self._world.now_s if node is None else node.clock()

    def monotonic_ns(self) -> int:
        return round(1e9 * self.monotonic())

    def sleep(self, seconds: float) -> None:
        if _is_ghost():
            raise Killed
        current_task().block(seconds)

    def as_time(self) -> SimpleNamespace:
        clock = self.monotonic
        return SimpleNamespace(
            monotonic=clock, perf_counter=clock, time=clock, monotonic_ns=self.monotonic_ns,
            perf_counter_ns=self.monotonic_ns, time_ns=self.monotonic_ns, sleep=self.sleep,
        )  # fmt: skip

    def as_secrets(self) -> SimpleNamespace:
        rng = self._world.rng
        return SimpleNamespace(
            token_hex=lambda count=16: rng.randbytes(count).hex(), token_bytes=rng.randbytes, randbits=rng.getrandbits,
            compare_digest=lambda left, right: left == right, choice=rng.choice, randbelow=rng.randrange,
        )  # fmt: skip

    def as_datetime(self) -> type[datetime]:
        world = self._world

        class Calendar(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime(2030, 1, 1, tzinfo=tz or UTC) + timedelta(seconds=world.now_s)

        return Calendar
