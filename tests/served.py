"""A served instrument as three real processes, for tests that kill or stop some of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class Served:
    """A served instrument that can be killed in parts and starts again in the same folder.

    Parameters
    ----------
    folder
        Where it keeps its state.
    config
        What is served: a configuration file, or `simulator`.
    host, inside
        Where it listens, and the command line that takes it there, as into a network namespace.
    """

    def __init__(
        self, folder: Path, config: str = "simulator", host: str = "127.0.0.1", inside: Sequence[str] = ()
    ) -> None:
        self.folder, self._config, self._host, self._inside = folder, config, host, inside
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def up(self) -> str:
        """Start it, if it is not up and whole, and return its address."""
        if self._process is not None and self._process.poll() is None and len(self._children()) == 2:
            return self.address
        self.down()
        command = [*self._inside, sys.executable, "-m", "beamloop", "serve", self._config, "--port", "0", "--json"]
        complaints = self.folder.with_name(f"{self.folder.name}.complaints")
        with complaints.open("w") as file:
            self._process = subprocess.Popen(
                [*command, "--folder", str(self.folder)], stdout=subprocess.PIPE, stderr=file, text=True
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, f"the instrument did not start: {complaints.read_text()}"
        self.address = f"{self._host}:{json.loads(said)['port']}"
        return self.address

    def kill(self, victim: str) -> None:
        """Kill the server, its driver, its guard, or all of them."""
        assert self._process is not None
        for process in self.pids(victim):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def pids(self, victim: str) -> list[int]:
        """Return the process numbers of `server`, `driver`, `guard` or `all` that are there."""
        assert self._process is not None
        there = {"server": self._process.pid, **self._children()}
        return list(there.values()) if victim == "all" else [there[victim]] if victim in there else []

    def beam_is_open(self) -> bool:
        """Tell whether the beam is through, from the line's own file."""
        return (self.folder / "beam").read_bytes()[0] != 0

    def down(self) -> None:
        """End it and wait until all its processes are gone."""
        if self._process is None:
            return
        children = self._children()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)
        assert self._process.stdout is not None
        self._process.stdout.close()
        until = time.monotonic() + 15
        while any(Path(f"/proc/{process}").exists() for process in children.values()) and time.monotonic() < until:
            time.sleep(0.02)

    def requests(self) -> Counter[str]:
        """Return how often each request to acquire was done, as the audit tells."""
        lines = (json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines())
        return Counter(line["request"] for line in lines if line["event"] == "done" and line.get("verb") == "acquire")

    def _children(self) -> dict[str, int]:
        assert self._process is not None
        try:
            numbers = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except OSError:
            return {}
        found = {}
        for number in numbers:
            with suppress(OSError):
                words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
                module = next((word.decode() for word in words if b"instrument_server" in word), "")
                # `beamloop.instrument_server.driver` and `beamloop.instrument_server.guard.process`.
                name = module.removesuffix(".process").rpartition(".")[2]
                found |= {name: int(number)} if name else {}
        return found
