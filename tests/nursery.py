"""Clients that start at once and can be killed: forks of one process that has everything imported.

Started as a program it reads one line of JSON after another from standard input, `{"run": ...}`,
`{"resume": ...}`, `{"scan": ...}` or `{"wait": PID, "within_s": ...}`, and answers each with a line: the child's PID,
or how it ended. It has one thread only, so a fork of it is a whole, clean process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from beamloop.core import PointScan
from beamloop.edge_client.experiment import read_experiment
from beamloop.edge_client.instrument import connect
from beamloop.edge_client.reporting import page
from beamloop.edge_client.resuming import resume_run, unfinished
from beamloop.edge_client.runner import RunRequest, run_experiment

LONG_SCAN = 600
"""Points of a long scan, at 20 a second where the instrument takes its time."""


class Nursery:
    """The process that clients are forks of, as its starter sees it."""

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def run(self, experiment: Path, address: str, parent: Path) -> int:
        """Begin a run in a process of its own and return its number."""
        return self._ask(run=[str(experiment), address, str(parent)])

    def resume(self, folder: Path, address: str) -> int:
        """Go on with a run in a process of its own and return its number."""
        return self._ask(resume=[str(folder), address])

    def scan(self, address: str) -> int:
        """Take the lease and scan for a long time, in a process of its own; return its number."""
        return self._ask(scan=[address])

    def ended(self, process: int, within_s: float) -> int | None:
        """Wait for a client to end and return its status, negative for a signal; None if it did not in time."""
        return self._ask(wait=process, within_s=within_s)

    def _ask(self, **words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def begin(words: dict[str, Any]) -> int:
    """Fork a client and return its number."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        os.setsid()
        # The answers to the starter are the parent's alone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        (what, arguments), *_ = words.items()
        finished = {"run": _run, "resume": _resumed, "scan": _scanned}[what](*arguments)
        status = {"finished": 0, "stopped": 2, "failed": 1}[finished]
    except BaseException as error:
        print(f"client {os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        status = 70
    finally:
        os._exit(status)


def _run(experiment: str, address: str, parent: str) -> str:
    asked, text = read_experiment(Path(experiment))
    with connect(address) as instrument:
        return run_experiment(RunRequest(asked, text, address, Path(parent)), instrument).ended.outcome


def _resumed(folder: str, address: str) -> str:
    run = unfinished(Path(folder))
    with connect(address, name=run.client) as instrument:
        return resume_run(run, instrument, address).ended.outcome


def _scanned(address: str) -> str:
    points = tuple((1e-9 * (i % 50), 1e-9 * (i // 50)) for i in range(LONG_SCAN))
    with connect(address, name=f"scanner-{os.getpid()}") as instrument, instrument.lease("a long scan"):
        instrument.acquire(PointScan(detector="haadf", points=points, dwell_s=0.05))
    return "finished"


def _wait(process: int, within_s: float) -> int | None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def main() -> None:
    """Answer one line after another until standard input is closed."""
    torch.set_num_threads(1)
    page.DOTS_PER_INCH = 30
    for line in sys.stdin:
        words = json.loads(line)
        answer = _wait(words["wait"], words["within_s"]) if "wait" in words else begin(words)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
