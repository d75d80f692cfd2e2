"""One instrument computer in the virtual world: the real server, guard and driver, on a simulated machine.

`serving` of the instrument server runs as it is, in a node; its children are nodes of their own that run the real
`main` of guard and driver. Blanker and instrument are simulated, and tell the witness what happens to them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beamloop.core import Blanker, DriverFailed, Frozen, StorageFailed
from beamloop.core.registry import BLANKERS, INSTRUMENTS, Group
from beamloop.instrument_server import driver
from beamloop.instrument_server.face import Face
from beamloop.instrument_server.guard import process as guard_process
from beamloop.instrument_server.rights import LOOPBACK
from beamloop.instrument_server.server import serving
from beamloop.instrument_server.settings import ServerSettings

from .calls import Faces
from .disk import Disk
from .hub import Hub, Node, current_node, current_task
from .installed import REAL
from .sockets import Net
from .threads import Event

PORT = 7440
MAINS = {
    "beamloop.instrument_server.guard.process": ("guard", guard_process.main),
    "beamloop.instrument_server.driver": ("driver", driver.main),
}
"""What runs in each child, and under which name it is known here."""


class Pipe:
    """A child's standard output, read line by line, and its standard input, which can only be closed."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def readline(self) -> str:
        while not self._child.node.lines:
            if not self._child.node.alive:
                return ""
            current_task().block(0.001)
        return self._child.node.lines.pop(0)

    def close(self) -> None:
        self._child.orphaned.set()


class Child:
    """A process as its parent sees it."""

    def __init__(self, node: Node, orders: Frozen) -> None:
        self.node, self.orders = node, orders
        self.orphaned = Event()
        self.stdout = self.stdin = Pipe(self)
        self.pid = 0

    def poll(self) -> int | None:
        return None if self.node.alive else 1

    def wait(self, timeout: float | None = None) -> int:
        until = current_task().node.clock() + (timeout or 1e9)
        while self.node.alive and current_task().node.clock() < until:
            current_task().block(0.01)
        return 0


class Line(Blanker):
    """The beam's blanker, shared by the instrument's processes; a dead process moves nothing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def _may(self) -> bool:
        node = current_node()
        return node is None or node.alive

    def open(self) -> None:
        if self._may():
            self._site.move_beam(True)

    def close(self) -> None:
        if self._may():
            self._site.move_beam(False)

    def is_open(self) -> bool | None:
        return self._site.beam_is_open

    def halt(self) -> None:
        if self._may():
            self._site.is_halted = True

    def free(self) -> None:
        if self._may():
            self._site.is_halted = False

    def is_halted(self) -> bool:
        return self._site.is_halted


class Site:
    """The instrument computer.

    Attributes
    ----------
    beam_is_open
        Whether the beam is through.
    server, guard, driver
        The processes that run now; None before the first start.
    disk
        Where its processes write.
    at_beam
        Told each change of the beam.
    """

    def __init__(
        self, world: Hub, net: Net, faces: Faces, make: Callable[[Site], Any], settings: Mapping[str, Any] | None = None
    ) -> None:
        self._world, self._net, self._faces, self._make = world, net, faces, make
        self._settings = ServerSettings.model_validate({
            "instrument": {"plugin": "virtual", "blanker": "virtual"}, "lease_s": 1.0, **(settings or {}),
        })  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="beamloop-world-", dir=_memory()))
        self.disk = Disk()
        self.beam_is_open = self.is_halted = False
        self.at_beam: Callable[[bool], None] = lambda is_open: None
        self.nodes: dict[str, Node] = {}
        self._children: list[Child] = []
        self._leave = Event()
        self.is_served = False
        net.near |= {"server", "guard", "driver"}

    def places(self) -> dict[Any, Any]:
        """Return what of the programs has its place in this computer."""
        return {
            REAL["child"]: self._child, REAL["free_port"]: lambda *_: PORT, REAL["shown"]: self._shown,
            REAL["find"]: self._find, REAL["hear"]: lambda *_: None, REAL["take_orders"]: self._take_orders,
            **self.disk.places(),
        }  # fmt: skip

    def start(self) -> None:
        """Start the server, which starts the others."""
        self.nodes["server"] = node = self._world.node("server")
        self._leave, self.is_served = Event(), False
        node.spawn(lambda: self._serve(node, self._leave))
        node.at_death.append(self._server_died)

    def _serve(self, node: Node, leave: Event) -> None:
        try:
            with serving(self._settings, self.folder):
                self.is_served = True
                self._world.note("served")
                leave.wait()
        except (DriverFailed, StorageFailed) as failure:
            self._world.note(f"not served: {failure}")
        node.exit()

    def terminate(self) -> None:
        """Ask the server to leave, as Ctrl-C does."""
        self._leave.set()

    def whole(self) -> bool:
        """Tell whether all three processes run."""
        nodes = [self.nodes.get(name) for name in ("server", "guard", "driver")]
        return self.is_served and all(node is not None and node.alive for node in nodes)

    def someone_runs(self) -> bool:
        """Tell whether any process is there and not paused."""
        return any(node.alive and not node.paused for node in self.nodes.values())

    def _server_died(self) -> None:
        self.is_served = False
        for child in self._children:
            child.orphaned.set()

    def move_beam(self, is_open: bool) -> None:
        if is_open != self.beam_is_open:
            self.beam_is_open = is_open
            self._world.note(f"beam {'open' if is_open else 'dark'}")
            self.at_beam(is_open)

    def remove(self) -> None:
        """Delete its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- in the place of the operating system

    @contextmanager
    def _child(self, module: str, orders: Frozen, complaints: Path) -> Iterator[Child]:
        name = MAINS[module][0]
        self.nodes[name] = node = self._world.node(name, on=self.nodes["server"])
        child = Child(node, orders)
        self._children.append(child)
        node.spawn(lambda: self._main(module, child))
        try:
            yield child
        finally:
            parent = current_node()
            child.orphaned.set()
            if parent is not None and parent.alive:
                child.wait(3.0)
                if node.alive:
                    self._world.after(0.0, node.kill)
                    child.wait(1.0)

    def _main(self, module: str, child: Child) -> None:
        MAINS[module][1]()
        child.node.exit()

    def _take_orders(self, kind: type[Frozen]) -> tuple[Frozen, Event]:
        child = next(child for child in self._children if child.node is current_node())
        return kind.model_validate_json(child.orders.model_dump_json()), child.orphaned

    def _shown(self, answer: Any, address: tuple[str, int], *_: object) -> Any:
        return self._faces.shown(Face(answer, lambda: LOOPBACK, lambda reason: None), address[1])

    def _find(self, group: Group, name: str) -> Callable[..., Any]:
        if group == BLANKERS:
            return lambda folder: Line(self)
        assert group == INSTRUMENTS
        return lambda settings, blanker: self._make(self)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
