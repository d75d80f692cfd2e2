"""ZeroMQ as the programs use it, over virtual links: sockets, contexts, pollers.

Only what beamloop uses: ROUTER, DEALER, REQ, PUSH, PULL and inproc PAIR. A connection is a TCP connection: in order
and whole while it lasts, and whatever was on its way is lost when it breaks. A socket that connects tries again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import zmq

from .hub import Hub, Node, Task, current_node, current_task
from .links import Link

AGAIN_S = (0.05, 1.0)
"""Shortest and longest wait before a connection is tried again."""

Parts = list[bytes]

NAMES = {name: value for name, value in vars(zmq).items() if name.isupper() or name in ("Again", "ZMQError")}
NAMES |= {name: int(value) for name, value in NAMES.items() if isinstance(value, int)}
"""What programs take from zmq by name; plain numbers, because its own are looked up one by one for every `&`."""

EVENTS, NOBLOCK, POLLIN, RCVMORE, SNDMORE = (NAMES[n] for n in ("EVENTS", "NOBLOCK", "POLLIN", "RCVMORE", "SNDMORE"))


class Nothing(zmq.Again):
    """There is nothing to receive; made without asking the system for the words."""

    def __init__(self) -> None:
        self.errno, self.strerror = zmq.EAGAIN, "Resource temporarily unavailable"


class Frame:
    """One part of a message, and whether more of its parts follow."""

    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes, self.buffer, self.more = data, memoryview(data), more


class Connection:
    """A connection from the socket that connected, `near`, to the one that is bound, `far`."""

    def __init__(self, net: Net, link: Link, near: Socket, far: Socket, identity: bytes) -> None:
        self.net, self.link, self.near, self.far, self.identity = net, link, near, far, identity
        self.up = True
        self.known = {near: True, far: True}
        self._not_before = {near: 0.0, far: 0.0}
        self.waiting = {near: 0, far: 0}
        link.at_cut.append(self._cut)
        link.at_heal.append(self._healed)

    def other(self, end: Socket) -> Socket:
        return self.far if end is self.near else self.near

    def send(self, sender: Socket, parts: Parts) -> None:
        """Put a message on its way; into a connection that broke unnoticed it goes and is lost."""
        if not self.up:
            return
        target = self.other(sender)
        self.waiting[target] += 1
        self._not_before[target] = self.link.carry(lambda: self._deliver(target, parts), self._not_before[target])

    def _deliver(self, target: Socket, parts: Parts) -> None:
        self.waiting[target] -= 1
        if self.up and target.is_open:
            target.take_in(self, parts)

    def _cut(self, told: bool) -> None:
        self.up = False
        if told:
            self.broken()

    def _healed(self) -> None:
        if not self.up:
            self.broken()

    def broken(self) -> None:
        """Let both ends know that it is over."""
        self.up = False
        if self._cut in self.link.at_cut:
            self.link.at_cut.remove(self._cut)
            self.link.at_heal.remove(self._healed)
        for end in (self.near, self.far):
            if self.known[end]:
                self.known[end] = False
                end.lost(self)

    def closed_by(self, end: Socket) -> None:
        """One end is gone; the other learns it, unless the link is cut or clogged: then when it is whole again."""
        self.known[end] = False
        if self.link.passes:
            self.net.world.after(self.link.delay(), self.broken)
        else:
            self.up = False


class Socket:
    """One socket of one process."""

    def __init__(self, net: Net, context: Context, kind: int, node: Node) -> None:
        self._net, self._context, self.kind, self.node = net, context, kind, node
        self.is_open = True
        self.linger = self.sndtimeo = self.rcvtimeo = -1
        self._options: dict[int, Any] = {}
        self._inbox: deque[Parts] = deque()
        self._watchers: list[Task] = []
        self._connections: list[Connection] = []
        self._by_identity: dict[bytes, Connection] = {}
        self._unsent: deque[Parts] = deque()
        self._begun: Parts = []
        self._rest: deque[bytes] = deque()
        self._targets: list[tuple[str, float]] = []
        self._endpoint = ""
        self._pair: Socket | None = None
        self._asked = 0
        node.at_death.append(self.close)

    # ---- what programs call

    def setsockopt(self, option: int, value: Any) -> None:
        self._options[option] = value

    setsockopt_string = set = setsockopt

    def getsockopt_string(self, option: int) -> str:
        assert option == zmq.LAST_ENDPOINT
        return self._endpoint

    def getsockopt(self, option: int) -> Any:
        if option == RCVMORE:
            return int(bool(self._rest))
        if option == EVENTS:
            return POLLIN if self._inbox else 0
        # A program that polls the descriptor means this socket.
        assert option == zmq.FD
        return self

    def bind(self, endpoint: str) -> None:
        if endpoint.startswith("inproc"):
            self._context.inproc[endpoint] = self
            return
        self._endpoint = self._net.listen(endpoint, self)

    def connect(self, endpoint: str) -> None:
        if endpoint.startswith("inproc"):
            self._pair = self._context.inproc[endpoint]
            self._pair._pair = self
            return
        self._try(endpoint.replace("localhost", "127.0.0.1"), AGAIN_S[0])

    def monitor(self, endpoint: str, events: int) -> None:
        """Let somebody watch the handshakes; here they have no keys and never fail."""
        self._context.inproc[endpoint] = Socket(self._net, self._context, zmq.PAIR, self.node)

    def disable_monitor(self) -> None:
        return

    def send(self, data: bytes, flags: int = 0, copy: bool = True, track: bool = False) -> None:
        parts, self._begun = [*self._begun, bytes(data)], []
        if flags & SNDMORE:
            self._begun = parts
        else:
            self.send_multipart(parts, flags)

    def send_multipart(self, parts: Sequence[Any], flags: int = 0, copy: bool = True, track: bool = False) -> None:
        if not self.node.alive or not self.is_open:
            return
        data = [bytes(part) for part in parts]
        if self._pair is not None:
            self._pair._arrived(data)
        elif self.kind == zmq.ROUTER:
            self._route(data)
        elif self.kind == zmq.REQ:
            self._asked += 1
            # As libzmq does: an answer to an earlier question is thrown away, never taken for this one's.
            self._inbox.clear()
            correlates = [self._asked.to_bytes(4)] if self._options.get(zmq.REQ_CORRELATE) else []
            self._put([*correlates, b"", *data])
        else:
            self._put(data)

    def recv(self, flags: int = 0, copy: bool = True) -> Any:
        if not self._rest:
            self._rest.extend(self.recv_multipart(flags))
        part = self._rest.popleft()
        return part if copy else Frame(part, bool(self._rest))

    def recv_multipart(self, flags: int = 0, copy: bool = True) -> list[Any]:
        if not self._inbox and not flags & NOBLOCK:
            wait_ready([self], None)
        if not self._inbox:
            raise Nothing
        parts = self._inbox.popleft()
        return parts if copy else [Frame(part, place < len(parts) - 1) for place, part in enumerate(parts)]

    def poll(self, timeout: float | None = None, flags: int = POLLIN) -> int:
        return POLLIN if wait_ready([self], None if timeout is None else timeout / 1000) else 0

    def close(self, linger: int | None = None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._net.forget(self)
        for connection in list(self._connections):
            connection.closed_by(self)
        self._connections.clear()
        if self.close in self.node.at_death:
            self.node.at_death.remove(self.close)

    @property
    def closed(self) -> bool:
        return not self.is_open

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what the network calls

    def _try(self, endpoint: str, again_s: float) -> None:
        if not self.is_open:
            return
        link, far = self._net.link(self.node, endpoint), self._net.bound.get(endpoint)
        if far is None or not link.passes:
            most = self._options.get(zmq.RECONNECT_IVL_MAX, 0) / 1000 or AGAIN_S[0]
            self._net.world.after(again_s, lambda: self._try(endpoint, min(2 * again_s, most)))
            return
        self._net.world.after(link.delay(), lambda: self._made(endpoint, link, far))

    def _made(self, endpoint: str, link: Link, far: Socket) -> None:
        if not (self.is_open and far.is_open and link.passes):
            self._try(endpoint, AGAIN_S[0])
            return
        connection = Connection(self._net, link, self, far, self._net.identity())
        self._targets.append((endpoint, id(connection)))
        self._connections.append(connection)
        far.accept(connection)
        while self._unsent:
            connection.send(self, self._unsent.popleft())

    def accept(self, connection: Connection) -> None:
        """Take a connection in; a ROUTER that probes says hello with an empty message."""
        self._connections.append(connection)
        self._by_identity[connection.identity] = connection
        if self._options.get(zmq.PROBE_ROUTER):
            connection.send(self, [b""])

    def lost(self, connection: Connection) -> None:
        """Note that a connection is over, and make it anew if it was ours."""
        if not self.is_open:
            return
        if connection in self._connections:
            self._connections.remove(connection)
        self._by_identity.pop(connection.identity, None)
        for endpoint, number in self._targets:
            if number == id(connection):
                self._targets.remove((endpoint, number))
                self._try(endpoint, AGAIN_S[0])
                return

    def take_in(self, connection: Connection, parts: Parts) -> None:
        """Receive a message from the other end."""
        if self.kind == zmq.ROUTER:
            self._arrived([connection.identity, *parts])
        elif self.kind == zmq.REQ:
            correlates = self._options.get(zmq.REQ_CORRELATE)
            if correlates and parts[0] != self._asked.to_bytes(4):
                return
            self._arrived(parts[2:] if correlates else parts[1:])
        else:
            self._arrived(parts)

    def _arrived(self, parts: Parts) -> None:
        self._inbox.append(parts)
        for task in self._watchers:
            task.wake()

    def _route(self, data: Parts) -> None:
        connection = self._by_identity.get(data[0])
        mandatory = self._options.get(zmq.ROUTER_MANDATORY)
        if connection is None:
            if mandatory:
                raise zmq.ZMQError(zmq.EHOSTUNREACH)
            return
        if mandatory and connection.waiting[connection.near] >= self._options.get(zmq.SNDHWM, 1000):
            raise Nothing
        connection.send(self, data[1:])

    def _put(self, data: Parts) -> None:
        if self._connections:
            self._connections[0].send(self, data)
        elif self._endpoint or self._options.get(zmq.IMMEDIATE):
            raise Nothing
        else:
            self._unsent.append(data)


class Context:
    """A process's sockets."""

    net: Net

    def __init__(self, io_threads: int = 1) -> None:
        self.inproc: dict[str, Socket] = {}
        self._sockets: list[Socket] = []

    def __class_getitem__(cls, _: object) -> type[Self]:
        return cls

    def socket(self, kind: int) -> Socket:
        node = current_node()
        assert node is not None
        made = Socket(self.net, self, kind, node)
        self._sockets.append(made)
        return made

    def destroy(self, linger: int | None = None) -> None:
        for socket in self._sockets:
            socket.close()

    def term(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()


class Poller:
    """Waits for several sockets."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []

    def register(self, socket: Socket, flags: int = POLLIN) -> None:
        self._sockets.append(socket)

    def unregister(self, socket: Socket) -> None:
        self._sockets.remove(socket)

    def poll(self, timeout: float | None = None) -> list[tuple[Socket, int]]:
        ready = wait_ready(self._sockets, None if timeout is None or timeout < 0 else timeout / 1000)
        return [(socket, POLLIN) for socket in ready]


def wait_ready(sockets: list[Socket], timeout_s: float | None) -> list[Socket]:
    """Wait until one of the sockets has a message; return those that have."""
    ready = [socket for socket in sockets if socket._inbox]
    if ready or (timeout_s is not None and timeout_s <= 0):
        return ready
    task = current_task()
    left, until = timeout_s, None if timeout_s is None else task.node.clock() + timeout_s
    for socket in sockets:
        socket._watchers.append(task)
    try:
        while not ready and (left is None or left > 1e-9):
            task.block(left)
            ready = [socket for socket in sockets if socket._inbox]
            left = None if until is None else until - task.node.clock()
    finally:
        for socket in sockets:
            socket._watchers.remove(task)
    return ready


class Net:
    """All endpoints and links of a world."""

    def __init__(self, world: Hub) -> None:
        self.world = world
        self.bound: dict[str, Socket] = {}
        self.links: dict[tuple[str, int], Link] = {}
        self.inside = Link(world, "inside")
        self.near: set[str] = set()
        self._count = 0

    def identity(self) -> bytes:
        """Return the name of a new connection."""
        self._count += 1
        return b"\0" + self._count.to_bytes(4)

    def listen(self, endpoint: str, socket: Socket) -> str:
        """Bind a socket to an endpoint and return it with its port."""
        if endpoint.endswith("*"):
            self._count += 1
            endpoint = endpoint[:-1] + str(50_000 + self._count)
        if endpoint in self.bound:
            raise zmq.ZMQError(zmq.EADDRINUSE)
        self.bound[endpoint] = socket
        return endpoint

    def forget(self, socket: Socket) -> None:
        """Free the endpoint of a socket."""
        for endpoint, there in list(self.bound.items()):
            if there is socket:
                del self.bound[endpoint]

    def link(self, node: Node, endpoint: str) -> Link:
        """Return the way from a process to a port; the instrument's own processes are inside."""
        if node.name in self.near:
            return self.inside
        return self.way(node.name, int(endpoint.rpartition(":")[2]))

    def way(self, name: str, port: int) -> Link:
        """Return the link between a client and a port, made when it is first asked for."""
        if (name, port) not in self.links:
            self.links[name, port] = Link(self.world, f"{name}:{port}")
        return self.links[name, port]


def as_zmq(net: Net) -> SimpleNamespace:
    """Return a module like zmq for the programs of a world."""
    context = type("Context", (Context,), {"net": net})
    return SimpleNamespace(**NAMES, Context=context, Poller=Poller, Socket=Socket, error=zmq.error)
