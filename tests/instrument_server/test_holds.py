"""A stop holds whatever goes on: threads taken, a driver that hangs, a full disk, a crowd, kills; real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import zmq

from beamloop.core import BeamloopError, MotionHalted, NotArmed
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.guard_line import reports, say

from .test_processes import Served, acquire, client, end_of, served, set_values, until

ANSWERED_S = 2.0
"""Far above the promised 0.1 s and far below any hang: tells an answer from waiting, on a busy machine too."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def answered_in_time(bench: Served) -> float:
    """Stop, check that the first answer has the beam confirmed blanked, and return how long it took."""
    began_s = time.monotonic()
    first = next(reports(bench.address, "stop"))
    took_s = time.monotonic() - began_s
    assert first.beam == "confirmed"
    assert not bench.beam_is_open()
    assert took_s < ANSWERED_S
    return took_s


def test_a_stop_halts_a_move_that_is_under_way(bench: Served) -> None:
    with client(bench) as (line, _):
        set_values(line, move_s=30.0)
        failed: list[BeamloopError] = []

        def move() -> None:
            try:
                set_values(line, stage_m=10.0)
            except BeamloopError as error:
                failed.append(error)

        moving = threading.Thread(target=move)
        moving.start()
        until(lambda: say(bench.address, "state").motion == "active", within_s=5.0)
        told = list(reports(bench.address, "stop"))
        assert told[-1].motion == "confirmed"
        moving.join(10.0)
        assert isinstance(failed[0], MotionHalted)
        where = line.ask("state")["parameters"]["stage_m"]
        assert 0 < where < 10
        assert f"halted at {where:.6g} m" in str(failed[0])
        with pytest.raises(NotArmed, match="nothing may move"):
            set_values(line, stage_m=0.0)
        line.ask("arm")
        set_values(line, move_s=0.0)
        set_values(line, stage_m=0.0)


def test_a_stop_holds_while_every_thread_of_the_server_is_taken(bench: Served) -> None:
    with client(bench) as (line, _), ExitStack() as stack:
        set_values(line, hold_lock_s=1.5)
        acquire(line)
        waiting = [ControlLine(bench.address, "ada") for _ in range(45)]

        def ask(other: ControlLine) -> None:
            # What becomes of them is not what this is about; they only take the server's threads.
            with suppress(BeamloopError):
                acquire(other)

        threads = [threading.Thread(target=ask, args=(other,)) for other in waiting]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        time.sleep(0.3)
        answered_in_time(bench)
    for other in waiting:
        other.close()


def test_a_stop_holds_while_the_driver_hangs_and_says_what_it_cannot_know(bench: Served) -> None:
    with client(bench) as (line, receiver):
        set_values(line, hold_lock_s=3.0)
        scan_id = acquire(line)
        until(bench.beam_is_open, within_s=5.0)
        told = list(reports(bench.address, "stop"))
        assert [report.beam for report in told] == ["confirmed"] * len(told)
        assert (told[0].acquisition, told[-1].acquisition) in (("commanded", "unknown"), ("unknown", "unknown"))
        assert "the acquisition was not read back at rest" in told[-1].reason
        end_of(receiver, scan_id)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a disk of 2 MiB; skips, loudly, where this user may not mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this user may not mount a small disk, so none can be filled")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no way to mount a small disk here")
def test_a_stop_holds_while_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, served(disk) as bench, client(bench) as (line, receiver):
        set_values(line, frame_s=0.05)
        scan_id = acquire(line, points=400)
        until(bench.beam_is_open, within_s=5.0)
        with suppress(OSError), (disk / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(bytes(4096))
        answered_in_time(bench)
        end_of(receiver, scan_id)
        assert say(bench.address, "stop").beam == "confirmed"
        (disk / "rest").unlink()


def test_silent_peers_and_a_flood_of_rubbish_do_not_slow_a_stop(bench: Served) -> None:
    port = int(bench.address.guard.rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        context = stack.enter_context(zmq.Context())
        flood = stack.enter_context(context.socket(zmq.DEALER))
        flood.linger = 0
        flood.connect(bench.address.guard)
        for _ in range(2000):
            with suppress(zmq.Again):
                flood.send_multipart([b"", b"\xc1" * 300], zmq.NOBLOCK)
        for _ in range(20):
            answered_in_time(bench)


def test_the_death_of_the_guard_blanks_while_the_driver_hangs(bench: Served) -> None:
    with client(bench) as (line, _):
        set_values(line, hold_lock_s=3.0)
        acquire(line)
        until(bench.beam_is_open, within_s=5.0)
        os.kill(bench.pid_of("instrument_server.guard"), signal.SIGKILL)
        until(lambda: not bench.beam_is_open(), within_s=2.5)


def test_a_guard_that_is_late_spoils_no_scan_and_one_that_hangs_is_blanked_for(bench: Served) -> None:
    with client(bench) as (line, receiver):
        set_values(line, frame_s=0.02)
        scan_id = acquire(line, points=60)
        until(bench.beam_is_open, within_s=5.0)
        guard = bench.pid_of("instrument_server.guard")
        os.kill(guard, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(guard, signal.SIGCONT)
        assert end_of(receiver, scan_id)[1].status == "complete"
        acquire(line, points=500)
        until(bench.beam_is_open, within_s=5.0)
        os.kill(guard, signal.SIGSTOP)
        try:
            until(lambda: not bench.beam_is_open(), within_s=3.0)
        finally:
            os.kill(guard, signal.SIGCONT)


def test_nothing_is_exposed_without_a_proof_so_one_is_made(bench: Served) -> None:
    line = ControlLine(bench.address, "ada")
    line.ask("lease", {"purpose": "test"})
    assert line.ask("state")["proof"] is None
    acquire(line)
    proof = line.ask("state")["proof"]
    assert (proof["passed"], proof["counts"], proof["beam"], proof["open_s"]) == (True, True, "dark", 0.0)
    line.close()


def test_a_stop_outlives_the_server(tmp_path: Path) -> None:
    with served(tmp_path) as bench:
        say(bench.address, "stop")
    with served(tmp_path) as bench:
        report = say(bench.address, "state")
        assert (report.armed, report.reason.startswith("stopped before this server was started")) == (False, True)
