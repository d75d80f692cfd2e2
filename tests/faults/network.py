"""A network of one cable: the instrument in a network namespace of its own, and every packet through our hands.

At each end of the cable stands a network interface (TUN), and this process carries the packets from one to the other:
late, out of order, twice or never, as the weather says and a seed decides. So the kernel's own TCP on both sides meets
what a proxy above TCP cannot show it: lost and overtaking segments, a silent partition, a link that is down. What
`tc netem` does over a veth pair is the same; it needs a module of the kernel that many machines lack.

Linux only; it needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN), `ip` (iproute2) and /dev/net/tun.
"""

from __future__ import annotations

import heapq
import os
import random
import selectors
import shutil
import struct
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TUN = Path("/dev/net/tun")
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

HERE, THERE = "198.18.74.1", "198.18.74.2"
"""Addresses of the two ends, from those set aside for trying networks (RFC 2544)."""

MOST_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class Weather:
    """What becomes of the packets.

    Attributes
    ----------
    late_s, uneven_s
        How long each takes at least, and by how much more at most; the more uneven, the more overtake others.
    lost, doubled
        Which part is lost, and which comes twice.
    """

    late_s: float = 0.0
    uneven_s: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0


CALM = Weather()
PARTED = Weather(lost=1.0)
"""Nothing passes, and nobody is told."""


def lacking() -> str:
    """Return why no such network can be made here; empty if it can."""
    if shutil.which("ip") is None:
        return "no network of our own without the command `ip` (package iproute2)"
    try:
        with Network():
            return ""
    except (OSError, ImportError, AssertionError) as error:
        return f"no network of our own: it needs Linux, root and {TUN}; here: {error}"


class Network:
    """The namespace, the cable, and whoever carries the packets; a context. Any thread may change the weather.

    Attributes
    ----------
    inside
        Command line before a command that is to run in the instrument's namespace.
    weather
        What becomes of the packets from now on, those under way too if they come to nothing.
    carried
        Packets that arrived.
    """

    def __init__(self, seed: int = 0) -> None:
        self.name, self.weather, self.carried = _name("there"), CALM, 0
        self.inside = ("ip", "netns", "exec", self.name)
        self._dice, self._over = random.Random(seed), threading.Event()
        self._air: list[tuple[float, int, int, bytes]] = []
        self._number = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            _ip("netns", "add", self.name)
            stack.callback(_ip, "netns", "del", self.name)
            _ip("-n", self.name, "link", "set", "lo", "up")
            self._ends = [self._end(stack, *one) for one in ((HERE, THERE, ""), (THERE, HERE, self.name))]
            self._thread = threading.Thread(target=self._carry, name="network")
            self._thread.start()
            stack.callback(self._thread.join)
            stack.callback(self._over.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def link(self, end: str, up: bool) -> None:
        """Take the interface at one end, `HERE` or `THERE`, down or up again; programs there are told so."""
        where = () if end == HERE else ("-n", self.name)
        _ip(*where, "link", "set", _interface(end), "up" if up else "down")

    def mend(self) -> None:
        """Let both links be up and the weather calm."""
        self.weather = CALM
        for end in (HERE, THERE):
            self.link(end, up=True)

    def _end(self, stack: ExitStack, own: str, other: str, namespace: str) -> int:
        import fcntl  # Not on Windows, where the tests skip.

        interface = _interface(own)
        descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, descriptor)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
        where = ("-n", namespace) if namespace else ()
        if namespace:
            _ip("link", "set", interface, "netns", namespace)
        _ip(*where, "addr", "add", own, "peer", other, "dev", interface)
        _ip(*where, "link", "set", interface, "up")
        return descriptor

    def _carry(self) -> None:
        here, there = self._ends
        across = {here: there, there: here}
        with selectors.DefaultSelector() as selector:
            for end in across:
                selector.register(end, selectors.EVENT_READ)
            while not self._over.is_set():
                due_s = self._air[0][0] - time.monotonic() if self._air else 0.05
                for key, _ in selector.select(min(max(due_s, 0.0), 0.05)):
                    # A link that is down gives and takes nothing.
                    with suppress(OSError):
                        self._send(across[key.fd], os.read(key.fd, MOST_BYTES))
                self._arrive()

    def _send(self, to: int, packet: bytes) -> None:
        weather, now_s = self.weather, time.monotonic()
        for _ in range(1 + (self._dice.random() < weather.doubled)):
            self._number += 1
            due_s = now_s + weather.late_s + self._dice.uniform(0.0, weather.uneven_s)
            heapq.heappush(self._air, (due_s, self._number, to, packet))

    def _arrive(self) -> None:
        while self._air and self._air[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(self._air)
            if self._dice.random() >= self.weather.lost:
                with suppress(OSError):
                    os.write(to, packet)
                    self.carried += 1


def _name(what: str) -> str:
    return f"beamloop-{what}-{os.getpid()}"


def _interface(end: str) -> str:
    # Fifteen letters at most.
    return f"bl{os.getpid()}{'h' if end == HERE else 't'}"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"
