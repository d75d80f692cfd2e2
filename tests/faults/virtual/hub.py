"""Virtual time: one thread, one clock that only this hub moves, every happening in one order.

Each process of the simulated world is a `Node`; each of its threads is a `Task`, a greenlet that runs until it
waits. Nothing runs while something else does, so the order of all that happens depends on the seed alone. A node
can be paused (its tasks wait, its sockets still fill, as after SIGSTOP) and killed (its tasks are gone at once).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

import greenlet


class Killed(greenlet.GreenletExit):
    """Unwinds the stack of a task whose process was killed; what it does meanwhile has no effect."""


class Stuck(AssertionError):
    """Nothing was done in the time in which something had to be."""


class Node:
    """One process: its tasks, its clock, whether it lives and runs, and from when to when it was last held up."""

    def __init__(self, world: Hub, name: str, offset_s: float = 0.0, drift: float = 0.0) -> None:
        self.world, self.name = world, name
        self._offset_s, self._rate, self.ticks = offset_s, 1.0 + drift, (offset_s, drift)
        self.alive, self.paused = True, False
        self.down_since: float | None = None
        self.held_up = (float("-inf"), float("-inf"))
        self.tasks: list[Task] = []
        self.at_death: list[Callable[[], None]] = []
        self.lines: list[str] = []
        self._backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def clock(self) -> float:
        """Return this computer's monotonic seconds; no two nodes agree."""
        return self._offset_s + self._rate * self.world.now_s

    def world_seconds(self, seconds: float) -> float:
        """Return how long the world takes for so many seconds of this node's clock."""
        return seconds / self._rate

    def spawn(self, work: Callable[[], object]) -> Task:
        """Start a thread of this process."""
        task = Task(self, work)
        self.tasks.append(task)
        self.world.after(0.0, task.begin)
        return task

    def run(self, step: Callable[..., None], *how: Any) -> None:
        """Run a step of one of its tasks now, or when the process goes on, or never if it is dead."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append((step, how))
        else:
            step(*how)

    def pause(self) -> None:
        """Stop it as SIGSTOP does."""
        if self.alive and not self.paused:
            self.paused, self.down_since = True, self.world.now_s
            self.world.upheavals += 1

    def resume(self) -> None:
        """Let it go on as SIGCONT does."""
        if not self.paused:
            return
        self.paused = False
        self.world.upheavals += 1
        if self.alive and self.down_since is not None:
            self.held_up, self.down_since = (self.down_since, self.world.now_s), None
        steps, self._backlog = self._backlog, []
        for step, how in steps:
            self.world.after(0.0, self.run, step, *how)

    def kill(self) -> None:
        """End it as SIGKILL does. Call it from the hub only."""
        if not self.alive:
            return
        if self.down_since is None:
            self.down_since = self.world.now_s
        self.alive = False
        self.world.upheavals += 1
        for task in self.tasks:
            if task and not task.dead:
                task.throw(Killed)
        self.tasks.clear()
        for action in list(self.at_death):
            action()

    def exit(self) -> None:
        """End it as its main thread does when it returns."""
        self.world.after(0.0, self.kill)


class Task(greenlet.greenlet):
    """One thread of a process."""

    def __init__(self, node: Node, work: Callable[[], object]) -> None:
        super().__init__(run=work, parent=node.world.hub)
        self.node = node
        self._ticket = 0
        self.ended = False
        self.joiners: list[Task] = []

    def begin(self) -> None:
        """Run for the first time."""
        self.node.run(self._start)

    def _start(self) -> None:
        self.switch()
        self._look()

    def _look(self) -> None:
        if self.dead and not self.ended:
            self.ended = True
            for joiner in self.joiners:
                joiner.wake()

    def block(self, timeout_s: float | None) -> bool:
        """Wait until somebody calls `wake`, or so many seconds of the node's clock; tell which. Own task only."""
        if not self.node.alive:
            raise Killed
        self._ticket += 1
        world = self.node.world
        if timeout_s is not None:
            world.after(self.node.world_seconds(max(0.0, timeout_s)), self._come, self._ticket, False)
        return bool(world.hub.switch())

    def wake(self) -> None:
        """Let it go on, if it waits."""
        self.node.world.after(0.0, self._come, self._ticket, True)

    def _come(self, ticket: int, woken: bool) -> None:
        # Most time-outs are of a wait that is over long since.
        if ticket != self._ticket or self.dead:
            return
        if self.node.paused:
            self.node.run(self._come, ticket, woken)
            return
        self._ticket += 1
        self.switch(woken)
        if self.dead:
            self._look()


class Hub:
    """The world's clock and the list of what happens next.

    Parameters
    ----------
    seed
        Everything that is random comes from it.

    Attributes
    ----------
    log
        What happened, one line each; the same seed gives the same lines.
    watchers
        Called after every happening, to hold the world against its promises.
    upheavals
        How often a process began, paused, went on or died, so that watchers need not look at all of them each time.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.steps = self.upheavals = 0
        self.log: list[str] = []
        self.watchers: list[Callable[[], None]] = []
        self.nodes: list[Node] = []
        self.hub = greenlet.getcurrent()
        self._next: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self.outside = Node(self, "outside")

    def node(self, name: str, on: Node | None = None) -> Node:
        """Start a process: on the computer of another, whose clock it shares, or on one of its own."""
        offset_s, drift = (self.rng.uniform(0.0, 1e5), self.rng.uniform(-1e-3, 1e-3)) if on is None else on.ticks
        node = Node(self, name, offset_s, drift)
        self.nodes.append(node)
        self.upheavals += 1
        return node

    def outside_dead(self) -> Node:
        """Return a process that is not there: what is done to it has no effect."""
        gone = Node(self, "gone")
        gone.alive = False
        return gone

    def after(self, delay_s: float, action: Callable[..., None], *how: Any) -> None:
        """Let something happen later."""
        self._count += 1
        heapq.heappush(self._next, (self.now_s + delay_s, self._count, action, how))

    def note(self, text: str) -> None:
        """Write a line into the log."""
        self.log.append(f"{self.now_s:.6f} {text}")

    def run(self, until_s: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let everything happen up to a time, or until it is done; tell whether it is."""
        coming, watchers, pop = self._next, self.watchers, heapq.heappop
        while coming and coming[0][0] <= until_s:
            if done():
                return True
            self.now_s, _, action, how = pop(coming)
            self.steps += 1
            action(*how)
            for watcher in watchers:
                watcher()
        self.now_s = max(self.now_s, until_s)
        return done()

    def end(self) -> None:
        """Kill everything that still lives, so that files are closed and nothing is left."""
        self.watchers.clear()
        for node in self.nodes:
            node.kill()


def current_task() -> Task:
    """Return the running thread of the world."""
    task = greenlet.getcurrent()
    assert isinstance(task, Task), "only threads of the simulated world can wait in virtual time"
    return task


def current_living() -> Task | None:
    """Return the running thread; None outside of all, and in a process that was killed."""
    task: Any = greenlet.getcurrent()
    node = getattr(task, "node", None)
    return None if node is None or not node.alive else task


def current_node() -> Node | None:
    """Return the process of the running thread; None outside of all."""
    return getattr(greenlet.getcurrent(), "node", None)
